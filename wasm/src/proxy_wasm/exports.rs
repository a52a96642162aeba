//! The callbacks of a guest, looked up once when its VM starts: a look-up by name costs more than a call.

use std::collections::BTreeSet;

use leno_sdk::plugin::Interest;
use wasmtime::{Instance, Store, TypedFunc, WasmParams, WasmResults};

use super::state::State;

type Callback<P, R> = Option<TypedFunc<P, R>>;

/// A headers callback; 0.1.0 does not say whether the message ends.
pub(super) enum HeadersCallback {
    Absent,
    Short(TypedFunc<(u32, u32), u32>),
    Long(TypedFunc<(u32, u32, u32), u32>),
}

/// Absent ones do nothing and continue.
pub(super) struct Exports {
    pub(super) context_create: Callback<(u32, u32), ()>,
    pub(super) vm_start: Callback<(u32, u32), u32>,
    pub(super) configure: Callback<(u32, u32), u32>,
    pub(super) tick: Callback<u32, ()>,
    pub(super) queue_ready: Callback<(u32, u32), ()>,
    pub(super) http_call_response: Callback<(u32, u32, u32, u32, u32), ()>,
    pub(super) request_headers: HeadersCallback,
    pub(super) request_body: Callback<(u32, u32, u32), u32>,
    pub(super) request_trailers: Callback<(u32, u32), u32>,
    pub(super) response_headers: HeadersCallback,
    pub(super) response_body: Callback<(u32, u32, u32), u32>,
    pub(super) response_trailers: Callback<(u32, u32), u32>,
    pub(super) log: Callback<u32, ()>,
    pub(super) done: Callback<u32, u32>,
    pub(super) delete: Callback<u32, ()>,
}

impl Exports {
    /// Looks all of them up; those that are not allowed count as absent.
    ///
    /// # Errors
    /// The name and type of an export that has another signature.
    pub(super) fn find(
        store: &mut Store<State>,
        instance: &Instance,
        allowed: Option<&BTreeSet<String>>,
    ) -> Result<Self, String> {
        let mut find = Finder {
            store,
            instance,
            allowed,
        };
        Ok(Self {
            context_create: find.callback("proxy_on_context_create")?,
            vm_start: find.callback("proxy_on_vm_start")?,
            configure: find.callback("proxy_on_configure")?,
            tick: find.callback("proxy_on_tick")?,
            queue_ready: find.callback("proxy_on_queue_ready")?,
            http_call_response: find.callback("proxy_on_http_call_response")?,
            request_headers: find.headers("proxy_on_request_headers")?,
            request_body: find.callback("proxy_on_request_body")?,
            request_trailers: find.callback("proxy_on_request_trailers")?,
            response_headers: find.headers("proxy_on_response_headers")?,
            response_body: find.callback("proxy_on_response_body")?,
            response_trailers: find.callback("proxy_on_response_trailers")?,
            log: find.callback("proxy_on_log")?,
            done: find.callback("proxy_on_done")?,
            delete: find.callback("proxy_on_delete")?,
        })
    }

    pub(super) fn interest(&self) -> Interest {
        Interest {
            request_headers: !matches!(self.request_headers, HeadersCallback::Absent),
            request_body: self.request_body.is_some(),
            request_trailers: self.request_trailers.is_some(),
            response_headers: !matches!(self.response_headers, HeadersCallback::Absent),
            response_body: self.response_body.is_some(),
            response_trailers: self.response_trailers.is_some(),
        }
    }
}

struct Finder<'a> {
    store: &'a mut Store<State>,
    instance: &'a Instance,
    allowed: Option<&'a BTreeSet<String>>,
}

impl Finder<'_> {
    fn callback<P: WasmParams, R: WasmResults>(&mut self, name: &str) -> Result<Callback<P, R>, String> {
        if self.allowed.is_some_and(|allowed| !allowed.contains(name)) {
            return Ok(None);
        }
        let Some(function) = self.instance.get_func(&mut *self.store, name) else {
            return Ok(None);
        };
        function
            .typed(&*self.store)
            .map(Some)
            .map_err(|error| format!("the export {name}: {error:#}"))
    }

    /// By its type, not by the version: modules that mix them exist.
    fn headers(&mut self, name: &str) -> Result<HeadersCallback, String> {
        if let Ok(Some(short)) = self.callback(name) {
            return Ok(HeadersCallback::Short(short));
        }
        Ok(self
            .callback(name)?
            .map_or(HeadersCallback::Absent, HeadersCallback::Long))
    }
}
