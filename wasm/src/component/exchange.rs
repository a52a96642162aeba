//! A component's part in one exchange: a resource of the guest, whose destructor is the end.

use std::rc::Rc;

use leno_sdk::host::ExchangeHost;
use leno_sdk::plugin::{BodyVerdict, Exchange, HeadersVerdict, TrailersVerdict, Trap};
use wasmtime::component::ResourceAny;

use super::bindings::leno::filter::types;
use super::instance::Instance;

/// The resource of the guest, and the id under which it asks about the exchange.
pub(super) struct Part {
    instance: Rc<Instance>,
    flags: types::Interest,
    id: u64,
    resource: Option<ResourceAny>,
}

/// A method of the resource.
macro_rules! method {
    ($this:ident, $name:literal, $method:ident($($argument:expr),*)) => {{
        let Some(resource) = $this.resource else { return Err(Trap(concat!($name, ": the exchange is over").into())) };
        $this.instance.call($this.id, $name, |guest, store| {
            guest.exchange().$method(store, resource, $($argument),*)
        })
    }};
}

impl Part {
    pub(super) fn begin(
        instance: &Rc<Instance>,
        flags: types::Interest,
        host: Rc<dyn ExchangeHost>,
    ) -> Result<Self, Trap> {
        let Some(id) = instance.enter(host) else {
            return Err(Trap("no exchange can begin: the guest has failed before".into()));
        };
        let mut this = Self {
            instance: Rc::clone(instance),
            flags,
            id,
            resource: None,
        };
        let construct = instance.call(id, "constructor", |guest, store| {
            guest.exchange().call_constructor(store, id)
        });
        this.resource = Some(construct?);
        Ok(this)
    }
}

impl Exchange for Part {
    fn on_request_headers(&mut self, fields: usize, end: bool) -> Result<HeadersVerdict, Trap> {
        method!(
            self,
            "on-request-headers",
            call_on_request_headers(count(fields), end)
        )
        .map(headers)
    }

    fn on_request_body(&mut self, size: usize, end: bool) -> Result<BodyVerdict, Trap> {
        method!(self, "on-request-body", call_on_request_body(count(size), end)).map(body)
    }

    fn on_request_trailers(&mut self, fields: usize) -> Result<TrailersVerdict, Trap> {
        method!(
            self,
            "on-request-trailers",
            call_on_request_trailers(count(fields))
        )
        .map(trailers)
    }

    fn on_response_headers(&mut self, fields: usize, end: bool) -> Result<HeadersVerdict, Trap> {
        method!(
            self,
            "on-response-headers",
            call_on_response_headers(count(fields), end)
        )
        .map(headers)
    }

    fn on_response_body(&mut self, size: usize, end: bool) -> Result<BodyVerdict, Trap> {
        method!(self, "on-response-body", call_on_response_body(count(size), end)).map(body)
    }

    fn on_response_trailers(&mut self, fields: usize) -> Result<TrailersVerdict, Trap> {
        method!(
            self,
            "on-response-trailers",
            call_on_response_trailers(count(fields))
        )
        .map(trailers)
    }

    fn on_log(&mut self) -> Result<(), Trap> {
        if !self.flags.contains(types::Interest::LOG) {
            return Ok(());
        }
        method!(self, "on-log", call_on_log())
    }

    fn finish(self: Box<Self>) {}
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(resource) = self.resource.take() {
            // A guest that breaks in its destructor fails its other exchanges; this one is over.
            let _ = self
                .instance
                .call(self.id, "destructor", |_, store| resource.resource_drop(store));
        }
        self.instance.leave(self.id);
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn headers(verdict: types::HeadersVerdict) -> HeadersVerdict {
    match verdict {
        types::HeadersVerdict::Proceed => HeadersVerdict::Continue,
        types::HeadersVerdict::HoldHeaders => HeadersVerdict::HoldHeaders,
        types::HeadersVerdict::Hold => HeadersVerdict::Hold,
        types::HeadersVerdict::HoldAndBuffer => HeadersVerdict::HoldAndBuffer,
    }
}

fn body(verdict: types::BodyVerdict) -> BodyVerdict {
    match verdict {
        types::BodyVerdict::Proceed => BodyVerdict::Continue,
        types::BodyVerdict::Buffer => BodyVerdict::Buffer,
        types::BodyVerdict::Watermark => BodyVerdict::Watermark,
        types::BodyVerdict::Drop => BodyVerdict::Drop,
    }
}

fn trailers(verdict: types::TrailersVerdict) -> TrailersVerdict {
    match verdict {
        types::TrailersVerdict::Proceed => TrailersVerdict::Continue,
        types::TrailersVerdict::Hold => TrailersVerdict::Hold,
    }
}
