//! A plugin whose guest is a component.

use std::rc::Rc;

use leno_sdk::host::{CallId, ExchangeHost, PluginHost, QueueId};
use leno_sdk::plugin::{CallResponse, Exchange, Interest, Plugin, Trap};

use super::bindings::leno::filter::types::Interest as Flags;
use super::code::Code;
use super::exchange::Part;
use super::instance::Instance;
use super::packed::pack_list;
use crate::engine::Engine;
use crate::worker::{PluginOptions, StartError};

/// Starts an instance and configures it.
pub(crate) fn start(
    engine: &Engine,
    code: &Code,
    options: &PluginOptions,
    host: Rc<dyn PluginHost>,
) -> Result<Rc<dyn Plugin>, StartError> {
    let failed = |trap, log| StartError::Failed { trap, log };
    let instance = Instance::new(engine, code, host).map_err(|trap| failed(trap, Vec::new()))?;
    let answer = instance.call(0, "configure", |guest, store| {
        guest.call_configure(store, &options.configuration)
    });
    let log = instance.started();
    match answer {
        Ok(Ok(flags)) => Ok(Rc::new(ComponentPlugin {
            instance,
            interest: interest(flags),
            flags,
        })),
        Ok(Err(reason)) => Err(StartError::Configuration { reason, log }),
        Err(trap) => Err(failed(trap, log)),
    }
}

fn interest(flags: Flags) -> Interest {
    Interest {
        request_headers: flags.contains(Flags::REQUEST_HEADERS),
        request_body: flags.contains(Flags::REQUEST_BODY),
        request_trailers: flags.contains(Flags::REQUEST_TRAILERS),
        response_headers: flags.contains(Flags::RESPONSE_HEADERS),
        response_body: flags.contains(Flags::RESPONSE_BODY),
        response_trailers: flags.contains(Flags::RESPONSE_TRAILERS),
    }
}

struct ComponentPlugin {
    instance: Rc<Instance>,
    interest: Interest,
    flags: Flags,
}

impl Plugin for ComponentPlugin {
    fn interest(&self) -> Interest {
        self.interest
    }

    fn exchange(&self, host: Rc<dyn ExchangeHost>) -> Result<Box<dyn Exchange>, Trap> {
        Ok(Box::new(Part::begin(&self.instance, self.flags, host)?))
    }

    fn on_tick(&self) -> Result<(), Trap> {
        self.instance
            .call(0, "on-tick", |guest, store| guest.call_on_tick(store))
    }

    fn on_queue_ready(&self, queue: QueueId) -> Result<(), Trap> {
        self.instance.call(0, "on-queue-ready", |guest, store| {
            guest.call_on_queue_ready(store, queue.0)
        })
    }

    fn on_call_response(&self, call: CallId, response: &CallResponse) -> Result<(), Trap> {
        let (headers, trailers) = (pack_list(&response.headers), pack_list(&response.trailers));
        self.instance.call(0, "on-call-response", |guest, store| {
            guest.call_on_call_response(store, call.0, &headers, &response.body, &trailers)
        })
    }

    /// Nothing is said to the component: its exchanges end with their destructors, and it with the last of them.
    fn on_shutdown(&self) {}

    fn is_broken(&self) -> bool {
        self.instance.is_broken()
    }
}
