//! A plugin's part in one exchange: its HTTP context.

use std::rc::Rc;

use leno_sdk::host::ExchangeHost;
use leno_sdk::plugin::{BodyVerdict, Exchange, HeadersVerdict, TrailersVerdict, Trap};
use wasmtime::TypedFunc;

use super::exports::HeadersCallback;
use super::state::{Context, Root};
use super::vm::Vm;

/// Its end is its drop, so that a VM that goes on keeps nothing of it.
pub(super) struct HttpContext {
    vm: Rc<Vm>,
    id: u32,
    context: Context,
}

impl HttpContext {
    pub(super) fn begin(vm: &Rc<Vm>, root: &Rc<Root>, host: Rc<dyn ExchangeHost>) -> Result<Self, Trap> {
        let context = Context {
            root: Rc::clone(root),
            exchange: Some(host),
        };
        let id = vm.with_state(|state| {
            let id = state.new_context_id();
            state.contexts.insert(id, context.clone());
            id
        });
        let Some(id) = id else {
            return Err(Trap("no exchange can begin: the guest has failed before".into()));
        };
        root.open.set(root.open.get() + 1);
        let this = Self {
            vm: Rc::clone(vm),
            id,
            context,
        };
        if let Some(create) = &vm.exports.context_create {
            vm.call(this.on(), "proxy_on_context_create", create, (id, root.id))?;
        }
        Ok(this)
    }

    fn on(&self) -> (u32, &Context) {
        (self.id, &self.context)
    }

    fn headers(
        &self,
        name: &'static str,
        callback: &HeadersCallback,
        fields: usize,
        end: bool,
    ) -> Result<HeadersVerdict, Trap> {
        let action = match callback {
            HeadersCallback::Absent => return Ok(HeadersVerdict::Continue),
            HeadersCallback::Short(call) => self.vm.call(self.on(), name, call, (self.id, count(fields)))?,
            HeadersCallback::Long(call) => {
                self.vm
                    .call(self.on(), name, call, (self.id, count(fields), u32::from(end)))?
            }
        };
        Ok(headers_verdict(
            action,
            self.context.root.options.allow_on_headers_stop_iteration,
        ))
    }

    fn body(
        &self,
        name: &'static str,
        callback: Option<&TypedFunc<(u32, u32, u32), u32>>,
        size: usize,
        end: bool,
    ) -> Result<BodyVerdict, Trap> {
        let Some(call) = callback else {
            return Ok(BodyVerdict::Continue);
        };
        self.vm
            .call(self.on(), name, call, (self.id, count(size), u32::from(end)))
            .map(body_verdict)
    }

    fn trailers(
        &self,
        name: &'static str,
        callback: Option<&TypedFunc<(u32, u32), u32>>,
        fields: usize,
    ) -> Result<TrailersVerdict, Trap> {
        let Some(call) = callback else {
            return Ok(TrailersVerdict::Continue);
        };
        self.vm
            .call(self.on(), name, call, (self.id, count(fields)))
            .map(trailers_verdict)
    }
}

impl Exchange for HttpContext {
    fn on_request_headers(&mut self, fields: usize, end: bool) -> Result<HeadersVerdict, Trap> {
        self.headers(
            "proxy_on_request_headers",
            &self.vm.exports.request_headers,
            fields,
            end,
        )
    }

    fn on_request_body(&mut self, size: usize, end: bool) -> Result<BodyVerdict, Trap> {
        self.body(
            "proxy_on_request_body",
            self.vm.exports.request_body.as_ref(),
            size,
            end,
        )
    }

    fn on_request_trailers(&mut self, fields: usize) -> Result<TrailersVerdict, Trap> {
        self.trailers(
            "proxy_on_request_trailers",
            self.vm.exports.request_trailers.as_ref(),
            fields,
        )
    }

    fn on_response_headers(&mut self, fields: usize, end: bool) -> Result<HeadersVerdict, Trap> {
        self.headers(
            "proxy_on_response_headers",
            &self.vm.exports.response_headers,
            fields,
            end,
        )
    }

    fn on_response_body(&mut self, size: usize, end: bool) -> Result<BodyVerdict, Trap> {
        self.body(
            "proxy_on_response_body",
            self.vm.exports.response_body.as_ref(),
            size,
            end,
        )
    }

    fn on_response_trailers(&mut self, fields: usize) -> Result<TrailersVerdict, Trap> {
        self.trailers(
            "proxy_on_response_trailers",
            self.vm.exports.response_trailers.as_ref(),
            fields,
        )
    }

    fn on_log(&mut self) -> Result<(), Trap> {
        let Some(log) = &self.vm.exports.log else {
            return Ok(());
        };
        self.vm.call(self.on(), "proxy_on_log", log, self.id)
    }

    fn finish(self: Box<Self>) {}
}

impl Drop for HttpContext {
    fn drop(&mut self) {
        if !self.vm.is_broken() {
            // A guest that breaks here has failed its other exchanges; this one is over.
            if let Some(done) = &self.vm.exports.done {
                // Its result means something for roots only.
                let _ = self.vm.call(self.on(), "proxy_on_done", done, self.id);
            }
            if let (Some(delete), false) = (&self.vm.exports.delete, self.vm.is_broken()) {
                let _ = self.vm.call(self.on(), "proxy_on_delete", delete, self.id);
            }
            self.vm.with_state(|state| state.contexts.remove(&self.id));
        }
        let root = &self.context.root;
        root.open.set(root.open.get() - 1);
        if root.shut_down.get() && root.open.get() == 0 {
            self.vm.finish_root(root);
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Actions as Envoy takes them: 1 holds everything unless the plugin is allowed to hold headers alone.
fn headers_verdict(action: u32, stop_iteration: bool) -> HeadersVerdict {
    match action {
        0 | 2 => HeadersVerdict::Continue,
        1 if stop_iteration => HeadersVerdict::HoldHeaders,
        3 => HeadersVerdict::HoldAndBuffer,
        _ => HeadersVerdict::Hold,
    }
}

fn body_verdict(action: u32) -> BodyVerdict {
    match action {
        0 => BodyVerdict::Continue,
        1 => BodyVerdict::Buffer,
        2 => BodyVerdict::Watermark,
        _ => BodyVerdict::Drop,
    }
}

fn trailers_verdict(action: u32) -> TrailersVerdict {
    if action == 0 {
        TrailersVerdict::Continue
    } else {
        TrailersVerdict::Hold
    }
}

#[cfg(test)]
mod tests {
    use leno_sdk::plugin::HeadersVerdict::{Continue, Hold, HoldAndBuffer, HoldHeaders};

    use super::headers_verdict;

    #[test]
    fn maps_header_actions_as_envoy() {
        let default: Vec<_> = (0..6).map(|action| headers_verdict(action, false)).collect();
        assert_eq!(default, [Continue, Hold, Continue, HoldAndBuffer, Hold, Hold]);
        let allowed: Vec<_> = (0..6).map(|action| headers_verdict(action, true)).collect();
        assert_eq!(
            allowed,
            [Continue, HoldHeaders, Continue, HoldAndBuffer, Hold, Hold]
        );
    }
}
