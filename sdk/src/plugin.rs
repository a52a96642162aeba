//! What a proxy calls: a configured filter ([`Plugin`]) and its part in one exchange ([`Exchange`]).
//!
//! Results have two floors. [`Trap`] outside: the guest is broken, and the chain's failure policy decides. A verdict
//! inside: what the filter wants.

use crate::host::{CallId, ExchangeRef, QueueId};

/// The guest broke and will not be called again. The text is for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap(pub String);

impl std::fmt::Display for Trap {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Trap {}

/// After headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersVerdict {
    /// On to the next filter.
    Continue,
    /// Headers are held, and body callbacks run meanwhile; a body verdict of `Continue` releases both.
    HoldHeaders,
    /// Headers, body and trailers are held until [`ExchangeHost::resume`](crate::host::ExchangeHost::resume); reading stops when buffers are full.
    Hold,
    /// As `Hold`, but a body that outgrows the buffer fails the exchange (413 or 500).
    HoldAndBuffer,
}

/// After a part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyVerdict {
    /// On to the next filter, with what was held before.
    Continue,
    /// Kept; the next callback sees everything kept so far. Outgrowing the buffer fails the exchange.
    Buffer,
    /// Kept; the next callback sees only what is new. Reading stops when buffers are full.
    Watermark,
    /// Dropped.
    Drop,
}

/// After trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailersVerdict {
    /// On to the next filter.
    Continue,
    /// Held until [`ExchangeHost::resume`](crate::host::ExchangeHost::resume).
    Hold,
}

/// Which callbacks a plugin wants. Absent ones cost nothing, and bodies stream untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "a set of independent callbacks")]
pub struct Interest {
    /// `on_request_headers`.
    pub request_headers: bool,
    /// `on_request_body`.
    pub request_body: bool,
    /// `on_request_trailers`.
    pub request_trailers: bool,
    /// `on_response_headers`.
    pub response_headers: bool,
    /// `on_response_body`.
    pub response_body: bool,
    /// `on_response_trailers`.
    pub response_trailers: bool,
}

impl Interest {
    /// Every callback.
    pub const ALL: Self = Self {
        request_headers: true,
        request_body: true,
        request_trailers: true,
        response_headers: true,
        response_body: true,
        response_trailers: true,
    };
    /// No callback but the log.
    pub const NONE: Self = Self {
        request_headers: false,
        request_body: false,
        request_trailers: false,
        response_headers: false,
        response_body: false,
        response_trailers: false,
    };
}

/// The answer to a call. Time-outs arrive as status 504 and connection failures as 503, with a body that says so;
/// `headers` is empty only when the answer broke off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallResponse {
    /// With `:status`.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// May be empty.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A configured filter on one worker.
pub trait Plugin {
    /// What it wants to hear of. Does not change.
    fn interest(&self) -> Interest;
    /// Begins its part in an exchange.
    ///
    /// # Errors
    /// The guest broke.
    fn exchange(&self, host: ExchangeRef) -> Result<Box<dyn Exchange>, Trap>;
    /// The tick period has passed.
    ///
    /// # Errors
    /// The guest broke.
    fn on_tick(&self) -> Result<(), Trap>;
    /// A queue that it registered has a new entry.
    ///
    /// # Errors
    /// The guest broke.
    fn on_queue_ready(&self, queue: QueueId) -> Result<(), Trap>;
    /// A call of it has ended: exactly once per call that was not cancelled.
    ///
    /// # Errors
    /// The guest broke.
    fn on_call_response(&self, call: CallId, response: &CallResponse) -> Result<(), Trap>;
    /// Nothing will be called any more, except on exchanges that are still open.
    fn on_shutdown(&self);
    /// The guest broke, perhaps in a callback of another plugin that shares its memory.
    fn is_broken(&self) -> bool;
}

/// The part of one filter in one exchange. Callbacks come in the order of the message; request and response
/// callbacks may alternate.
pub trait Exchange {
    /// `fields` counts pseudo headers too; `end`: there is no body and no trailers.
    ///
    /// # Errors
    /// The guest broke.
    fn on_request_headers(&mut self, fields: usize, end: bool) -> Result<HeadersVerdict, Trap>;
    /// `size` bytes are visible; `end`: neither more body nor trailers follow.
    ///
    /// # Errors
    /// The guest broke.
    fn on_request_body(&mut self, size: usize, end: bool) -> Result<BodyVerdict, Trap>;
    /// The request has trailers, and ends with them.
    ///
    /// # Errors
    /// The guest broke.
    fn on_request_trailers(&mut self, fields: usize) -> Result<TrailersVerdict, Trap>;
    /// As for the request.
    ///
    /// # Errors
    /// The guest broke.
    fn on_response_headers(&mut self, fields: usize, end: bool) -> Result<HeadersVerdict, Trap>;
    /// As for the request.
    ///
    /// # Errors
    /// The guest broke.
    fn on_response_body(&mut self, size: usize, end: bool) -> Result<BodyVerdict, Trap>;
    /// As for the request.
    ///
    /// # Errors
    /// The guest broke.
    fn on_response_trailers(&mut self, fields: usize) -> Result<TrailersVerdict, Trap>;
    /// The exchange is over; all maps can be read once more. Called for every filter of the chain before the first
    /// of them is finished (Envoy's order).
    ///
    /// # Errors
    /// The guest broke.
    fn on_log(&mut self) -> Result<(), Trap>;
    /// Gives up what the filter keeps for this exchange (Proxy-Wasm's `on_done` and `on_delete`). Always the last
    /// call, also after a trap, where it does nothing.
    fn finish(self: Box<Self>);
}
