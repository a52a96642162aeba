//! What a filter author writes.

use serde::de::DeserializeOwned;

use crate::config::ConfigError;
use crate::context::Context;
use crate::exchange::{Body, Log, Request, Response};
use crate::host::{CallId, QueueId};
use crate::plugin::{BodyVerdict, CallResponse, HeadersVerdict, Interest, TrailersVerdict};

/// A configured filter: one value per worker (for a component: per instance), shared by all of its exchanges.
///
/// Callbacks return at once. What takes time is started with [`Context::call`] and comes back through
/// [`on_call_response`](Self::on_call_response); meanwhile the exchange is held, and let go on through the
/// [`Handle`](crate::Handle) that the filter kept. What must outlive the value, or be seen by other workers, goes to
/// the shared data of the [`Context`].
pub trait Filter: Sized + 'static {
    /// The configuration document, read from JSON. Nothing at all counts as `{}`. Derive it with
    /// `deny_unknown_fields`, so that a mistyped name is refused.
    type Config: DeserializeOwned;
    /// What the filter remembers about one exchange.
    type Exchange: Default + 'static;
    /// Which callbacks the filter wants; the others are never made.
    const INTEREST: Interest;

    /// Checks the configuration and makes the filter.
    ///
    /// # Errors
    /// Names the field that is wrong and why. The filter that served before keeps serving.
    fn configure(config: Self::Config, context: &Context) -> Result<Self, ConfigError>;

    /// What this configuration wants to hear of: [`INTEREST`](Self::INTEREST), or less.
    fn interest(&self) -> Interest {
        Self::INTEREST
    }

    /// The fields of a request have arrived.
    fn on_request_headers(&self, exchange: &mut Self::Exchange, request: &Request<'_>) -> HeadersVerdict {
        let _ = (exchange, request);
        HeadersVerdict::Continue
    }

    /// A part of the request's body has arrived.
    fn on_request_body(&self, exchange: &mut Self::Exchange, body: &Body<'_>) -> BodyVerdict {
        let _ = (exchange, body);
        BodyVerdict::Continue
    }

    /// The request ends with trailers.
    fn on_request_trailers(&self, exchange: &mut Self::Exchange, request: &Request<'_>) -> TrailersVerdict {
        let _ = (exchange, request);
        TrailersVerdict::Continue
    }

    /// The fields of a response have arrived, or of a reply that a filter gave.
    fn on_response_headers(&self, exchange: &mut Self::Exchange, response: &Response<'_>) -> HeadersVerdict {
        let _ = (exchange, response);
        HeadersVerdict::Continue
    }

    /// A part of the response's body has arrived.
    fn on_response_body(&self, exchange: &mut Self::Exchange, body: &Body<'_>) -> BodyVerdict {
        let _ = (exchange, body);
        BodyVerdict::Continue
    }

    /// The response ends with trailers.
    fn on_response_trailers(
        &self,
        exchange: &mut Self::Exchange,
        response: &Response<'_>,
    ) -> TrailersVerdict {
        let _ = (exchange, response);
        TrailersVerdict::Continue
    }

    /// The exchange is over. All four maps can be read once more; nothing can be changed.
    fn on_log(&self, exchange: &mut Self::Exchange, log: &Log<'_>) {
        let _ = (exchange, log);
    }

    /// The last callback of an exchange, also of one that the client left: give up what was kept for it.
    fn on_end(&self, exchange: Self::Exchange) {
        drop(exchange);
    }

    /// The period set with [`Context::set_tick_period`] has passed.
    fn on_tick(&self, context: &Context) {
        let _ = context;
    }

    /// A call has ended: exactly once per call that was not cancelled. Its exchange may be over by then.
    fn on_call_response(&self, call: CallId, response: &CallResponse, context: &Context) {
        let _ = (call, response, context);
    }

    /// A queue that the filter registered has a new entry, which somebody else may take first.
    fn on_queue_ready(&self, queue: QueueId, context: &Context) {
        let _ = (queue, context);
    }

    /// The filter is being replaced or the proxy ends. Exchanges that are open still finish.
    fn on_shutdown(&self, context: &Context) {
        let _ = context;
    }
}

/// Makes a crate's filter loadable: emits the entry points of a Proxy-Wasm module when built for `wasm32-wasip1`,
/// those of a component when built for `wasm32-unknown-unknown`, and nothing otherwise. Once per crate, whose
/// `crate-type` holds `cdylib`.
#[macro_export]
macro_rules! filter {
    ($filter:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[allow(unsafe_code, reason = "the export that hosts start a module with")]
            // SAFETY: no other symbol of a module has this name; the function takes and returns nothing.
            #[unsafe(no_mangle)]
            extern "C" fn _initialize() {
                $crate::guest::start($crate::native::NativeFactory::of::<$filter>(env!(
                    "CARGO_PKG_NAME"
                )));
            }
        };
    };
}
