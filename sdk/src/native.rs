//! A [`Filter`] as the [`Plugin`] that a chain calls. Used natively, and by the guests inside of a module.

use std::cell::Cell;
use std::rc::Rc;

use crate::config::parse;
use crate::context::Context;
use crate::exchange::{Body, Handle, Log, Request, Response};
use crate::filter::Filter;
use crate::host::{CallId, Direction, ExchangeRef, PluginRef, QueueId};
use crate::plugin::{
    BodyVerdict, CallResponse, Exchange, HeadersVerdict, Interest, Plugin, TrailersVerdict, Trap,
};

/// Makes a configured filter from the bytes of its configuration; the error is for the operator.
pub type Start = fn(&[u8], PluginRef) -> Result<Rc<dyn Plugin>, String>;

/// A kind of filter that is linked into the program.
#[derive(Clone, Copy)]
pub struct NativeFactory {
    /// What a configuration names it by.
    pub name: &'static str,
    /// Configures one.
    pub start: Start,
}

impl NativeFactory {
    /// The factory of `F`.
    #[must_use]
    pub const fn of<F: Filter>(name: &'static str) -> Self {
        Self {
            name,
            start: start::<F>,
        }
    }
}

/// Configures a filter of type `F`.
///
/// # Errors
/// What is wrong with the configuration, with the path of the field.
pub fn start<F: Filter>(configuration: &[u8], host: PluginRef) -> Result<Rc<dyn Plugin>, String> {
    let context = Context::new(host);
    let configured = guard(|| {
        let config = parse(configuration)?;
        F::configure(config, &context)
    });
    match configured {
        Ok(Ok(filter)) => Ok(Rc::new(Native(Rc::new(Inner {
            filter,
            context,
            broken: Cell::new(false),
        })))),
        Ok(Err(error)) => Err(error.to_string()),
        Err(trap) => Err(trap.0),
    }
}

/// A filter and what it was configured with.
struct Native<F>(Rc<Inner<F>>);

struct Inner<F> {
    filter: F,
    context: Context,
    broken: Cell<bool>,
}

impl<F> Inner<F> {
    /// Runs a callback. One that panics leaves the filter in an unknown state, so it is the last one.
    fn call<T>(&self, callback: impl FnOnce(&F, &Context) -> T) -> Result<T, Trap> {
        if self.broken.get() {
            return Err(Trap("the filter has panicked before".into()));
        }
        let result = guard(|| callback(&self.filter, &self.context));
        self.broken.set(result.is_err());
        result
    }
}

impl<F: Filter> Plugin for Native<F> {
    fn interest(&self) -> Interest {
        self.0.filter.interest()
    }

    fn exchange(&self, host: ExchangeRef) -> Result<Box<dyn Exchange>, Trap> {
        let state = self.0.call(|_, _| F::Exchange::default())?;
        let handle = Handle::new(host, self.0.context.clone());
        Ok(Box::new(NativeExchange {
            inner: Rc::clone(&self.0),
            handle,
            state,
        }))
    }

    fn on_tick(&self) -> Result<(), Trap> {
        self.0.call(|filter, context| filter.on_tick(context))
    }

    fn on_queue_ready(&self, queue: QueueId) -> Result<(), Trap> {
        self.0
            .call(|filter, context| filter.on_queue_ready(queue, context))
    }

    fn on_call_response(&self, call: CallId, response: &CallResponse) -> Result<(), Trap> {
        self.0
            .call(|filter, context| filter.on_call_response(call, response, context))
    }

    fn on_shutdown(&self) {
        // Nothing is called after it, so a panic in it breaks nothing that still serves.
        let _ = self.0.call(|filter, context| filter.on_shutdown(context));
    }

    fn is_broken(&self) -> bool {
        self.0.broken.get()
    }
}

struct NativeExchange<F: Filter> {
    inner: Rc<Inner<F>>,
    handle: Handle,
    state: F::Exchange,
}

impl<F: Filter> NativeExchange<F> {
    fn call<T>(&mut self, callback: impl FnOnce(&F, &mut F::Exchange, &Handle) -> T) -> Result<T, Trap> {
        let Self { inner, handle, state } = self;
        inner.call(|filter, _| callback(filter, state, handle))
    }
}

impl<F: Filter> Exchange for NativeExchange<F> {
    fn on_request_headers(&mut self, _fields: usize, end: bool) -> Result<HeadersVerdict, Trap> {
        self.call(|filter, state, handle| filter.on_request_headers(state, &Request { handle, end }))
    }

    fn on_request_body(&mut self, size: usize, end: bool) -> Result<BodyVerdict, Trap> {
        let direction = Direction::Request;
        self.call(|filter, state, handle| {
            filter.on_request_body(
                state,
                &Body {
                    handle,
                    direction,
                    size,
                    end,
                },
            )
        })
    }

    fn on_request_trailers(&mut self, _fields: usize) -> Result<TrailersVerdict, Trap> {
        self.call(|filter, state, handle| filter.on_request_trailers(state, &Request { handle, end: true }))
    }

    fn on_response_headers(&mut self, _fields: usize, end: bool) -> Result<HeadersVerdict, Trap> {
        self.call(|filter, state, handle| filter.on_response_headers(state, &Response { handle, end }))
    }

    fn on_response_body(&mut self, size: usize, end: bool) -> Result<BodyVerdict, Trap> {
        let direction = Direction::Response;
        self.call(|filter, state, handle| {
            filter.on_response_body(
                state,
                &Body {
                    handle,
                    direction,
                    size,
                    end,
                },
            )
        })
    }

    fn on_response_trailers(&mut self, _fields: usize) -> Result<TrailersVerdict, Trap> {
        self.call(|filter, state, handle| filter.on_response_trailers(state, &Response { handle, end: true }))
    }

    fn on_log(&mut self) -> Result<(), Trap> {
        self.call(|filter, state, handle| filter.on_log(state, &Log { handle }))
    }

    fn finish(self: Box<Self>) {
        let Self { inner, state, .. } = *self;
        // A broken filter is not called; the chain already knows of a break that happens here from `is_broken`.
        let _ = inner.call(|filter, _| filter.on_end(state));
    }
}

/// Turns a panic into a [`Trap`] where panics unwind. A guest is built to abort, which its host sees as a trap.
#[cfg(panic = "unwind")]
fn guard<T>(callback: impl FnOnce() -> T) -> Result<T, Trap> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(callback)).map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Trap(format!(
            "the filter panicked: {}",
            text.as_deref().unwrap_or("no message")
        ))
    })
}

#[cfg(not(panic = "unwind"))]
#[allow(clippy::unnecessary_wraps, reason = "the other build of it can fail")]
fn guard<T>(callback: impl FnOnce() -> T) -> Result<T, Trap> {
    Ok(callback())
}
