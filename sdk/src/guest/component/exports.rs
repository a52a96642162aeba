//! What a host calls.

use std::cell::RefCell;

use super::bindings::exports::leno::filter::plugin as exported;
use super::bindings::leno::filter::types;
use super::convert::pairs;
use super::{ExchangeRef, PLUGIN, PluginRef, plugin};
use crate::guest::FACTORY;
use crate::host::{CallId, QueueId};
use crate::plugin::{BodyVerdict, CallResponse, Exchange, HeadersVerdict, TrailersVerdict};

pub(super) struct Component;

impl exported::Guest for Component {
    type Exchange = Part;

    fn configure(configuration: Vec<u8>) -> Result<types::Interest, String> {
        let factory = FACTORY.get().ok_or("the module was not initialised")?;
        let plugin = (factory.start)(&configuration, PluginRef)?;
        let interest = plugin.interest();
        PLUGIN.set(Some(plugin));
        let flags = [
            (interest.request_headers, types::Interest::REQUEST_HEADERS),
            (interest.request_body, types::Interest::REQUEST_BODY),
            (interest.request_trailers, types::Interest::REQUEST_TRAILERS),
            (interest.response_headers, types::Interest::RESPONSE_HEADERS),
            (interest.response_body, types::Interest::RESPONSE_BODY),
            (interest.response_trailers, types::Interest::RESPONSE_TRAILERS),
        ];
        let wanted = flags.into_iter().filter(|(wanted, _)| *wanted);
        Ok(wanted.fold(types::Interest::LOG, |all, (_, flag)| all | flag))
    }

    fn on_tick() {
        // Inside of a guest nothing unwinds, so a callback that returns has succeeded.
        let _ = plugin().map(|plugin| plugin.on_tick());
    }

    fn on_queue_ready(queue: u32) {
        let _ = plugin().map(|plugin| plugin.on_queue_ready(QueueId(queue)));
    }

    fn on_call_response(call: u32, headers: Vec<u8>, body: Vec<u8>, trailers: Vec<u8>) {
        let response = CallResponse {
            headers: pairs(&headers),
            body,
            trailers: pairs(&trailers),
        };
        let _ = plugin().map(|plugin| plugin.on_call_response(CallId(call), &response));
    }
}

/// The part of the filter in one exchange.
pub(super) struct Part(RefCell<Option<Box<dyn Exchange>>>);

impl Part {
    fn call<T>(&self, otherwise: T, callback: impl FnOnce(&mut Box<dyn Exchange>) -> Option<T>) -> T {
        let mut exchange = self.0.borrow_mut();
        exchange.as_mut().and_then(callback).unwrap_or(otherwise)
    }
}

impl exported::GuestExchange for Part {
    fn new(id: u64) -> Self {
        Self(RefCell::new(
            plugin().and_then(|plugin| plugin.exchange(ExchangeRef { id }).ok()),
        ))
    }

    fn on_request_headers(&self, fields: u32, end: bool) -> types::HeadersVerdict {
        self.call(types::HeadersVerdict::Proceed, |exchange| {
            exchange
                .on_request_headers(fields as usize, end)
                .ok()
                .map(headers_verdict)
        })
    }

    fn on_request_body(&self, size: u32, end: bool) -> types::BodyVerdict {
        self.call(types::BodyVerdict::Proceed, |exchange| {
            exchange
                .on_request_body(size as usize, end)
                .ok()
                .map(body_verdict)
        })
    }

    fn on_request_trailers(&self, fields: u32) -> types::TrailersVerdict {
        self.call(types::TrailersVerdict::Proceed, |exchange| {
            exchange
                .on_request_trailers(fields as usize)
                .ok()
                .map(trailers_verdict)
        })
    }

    fn on_response_headers(&self, fields: u32, end: bool) -> types::HeadersVerdict {
        self.call(types::HeadersVerdict::Proceed, |exchange| {
            exchange
                .on_response_headers(fields as usize, end)
                .ok()
                .map(headers_verdict)
        })
    }

    fn on_response_body(&self, size: u32, end: bool) -> types::BodyVerdict {
        self.call(types::BodyVerdict::Proceed, |exchange| {
            exchange
                .on_response_body(size as usize, end)
                .ok()
                .map(body_verdict)
        })
    }

    fn on_response_trailers(&self, fields: u32) -> types::TrailersVerdict {
        self.call(types::TrailersVerdict::Proceed, |exchange| {
            exchange
                .on_response_trailers(fields as usize)
                .ok()
                .map(trailers_verdict)
        })
    }

    fn on_log(&self) {
        self.call((), |exchange| exchange.on_log().ok());
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.finish();
        }
    }
}

fn headers_verdict(verdict: HeadersVerdict) -> types::HeadersVerdict {
    match verdict {
        HeadersVerdict::Continue => types::HeadersVerdict::Proceed,
        HeadersVerdict::HoldHeaders => types::HeadersVerdict::HoldHeaders,
        HeadersVerdict::Hold => types::HeadersVerdict::Hold,
        HeadersVerdict::HoldAndBuffer => types::HeadersVerdict::HoldAndBuffer,
    }
}

fn body_verdict(verdict: BodyVerdict) -> types::BodyVerdict {
    match verdict {
        BodyVerdict::Continue => types::BodyVerdict::Proceed,
        BodyVerdict::Buffer => types::BodyVerdict::Buffer,
        BodyVerdict::Watermark => types::BodyVerdict::Watermark,
        BodyVerdict::Drop => types::BodyVerdict::Drop,
    }
}

fn trailers_verdict(verdict: TrailersVerdict) -> types::TrailersVerdict {
    match verdict {
        TrailersVerdict::Continue => types::TrailersVerdict::Proceed,
        TrailersVerdict::Hold => types::TrailersVerdict::Hold,
    }
}
