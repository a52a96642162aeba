//! What a filter may ask: of the proxy about itself ([`PluginHost`]), and about one exchange ([`ExchangeHost`]).
//!
//! Everything is synchronous and takes `&self`: a host is shared by reference counting on one thread, because a
//! guest may act on any live exchange from any callback (Proxy-Wasm's `proxy_set_effective_context`). Values are
//! appended to a buffer of the caller, so that a warm path allocates nothing. No method calls back into the filter.

#[cfg(not(target_family = "wasm"))]
use std::rc::Rc;
use std::time::Duration;

/// A plugin's host as it is passed around.
#[cfg(not(target_family = "wasm"))]
pub type PluginRef = Rc<dyn PluginHost>;
/// An exchange's host as it is passed around.
#[cfg(not(target_family = "wasm"))]
pub type ExchangeRef = Rc<dyn ExchangeHost>;
// A guest knows one kind of host. Naming it instead of going through a table of methods lets the linker drop what a
// filter does not use, so that the imports of a module are the list of what it can do.
#[cfg(target_family = "wasm")]
pub use crate::guest::{ExchangeRef, PluginRef};

/// A list of fields of one exchange, or of the answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Map {
    /// Pseudo headers first.
    RequestHeaders,
    /// After the request body.
    RequestTrailers,
    /// `:status` first.
    ResponseHeaders,
    /// After the response body.
    ResponseTrailers,
}

/// A half of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From downstream to upstream.
    Request,
    /// From upstream to downstream.
    Response,
}

/// Why a host refused. Adapters map these to the statuses of their ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// There is no such thing.
    NotFound,
    /// It exists, but not in this phase of the exchange.
    WrongPhase,
    /// An argument makes no sense; nothing was changed.
    Invalid,
    /// Somebody else changed it first (compare-and-swap).
    Conflict,
    /// Taken from an empty queue.
    Empty,
    /// A configured limit is reached.
    Limit,
    /// The configuration does not allow it.
    Denied,
    /// This host does not offer it.
    Unsupported,
    /// The host could not do it.
    Internal,
}

impl std::fmt::Display for HostError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::NotFound => "not found",
            Self::WrongPhase => "not available in this phase",
            Self::Invalid => "invalid argument",
            Self::Conflict => "changed by somebody else",
            Self::Empty => "empty",
            Self::Limit => "limit reached",
            Self::Denied => "not allowed",
            Self::Unsupported => "not supported by this host",
            Self::Internal => "internal failure of the host",
        })
    }
}

impl std::error::Error for HostError {}

/// A change to a [`Map`]. Names are compared without regard to ASCII case and stored in lower case.
#[derive(Clone, Copy, Debug)]
pub enum Edit<'a> {
    /// One more field, at the end.
    Append(&'a [u8], &'a [u8]),
    /// The only field of this name; it moves to the end (of its block, for a pseudo header).
    Set(&'a [u8], &'a [u8]),
    /// No field of this name. Fine if there was none.
    Remove(&'a [u8]),
    /// Exactly these fields, in this order.
    Replace(&'a [(&'a [u8], &'a [u8])]),
}

/// An answer that the filter gives instead of the upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalReply {
    /// 200 to 599; anything else is sent as 500.
    pub status: u16,
    /// Further fields in order.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// `text/plain` unless a header says otherwise.
    pub body: Vec<u8>,
    /// For a gRPC request: its status. Taken from `status` when `None`.
    pub grpc_status: Option<u32>,
    /// Why, for the access log: one word, `_` for blanks.
    pub details: String,
}

/// An HTTP request of the filter itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// A cluster name.
    pub cluster: String,
    /// With `:method`, `:path` and `:authority`.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// May be empty.
    pub body: Vec<u8>,
    /// May be empty.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Zero: none.
    pub timeout: Duration,
}

/// Identifies a call within one plugin. Never reused while the call is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u32);

/// Identifies a metric within one plugin. The low two bits are free for an ABI's own use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetricId(pub u32);

/// Identifies a shared queue within the process. At least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u32);

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Counts values by size.
    Histogram,
}

/// How loud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For the author of the filter.
    Debug,
    /// For the operator.
    Info,
    /// Worth a look.
    Warn,
    /// Something did not work.
    Error,
    /// Nothing works.
    Critical,
}

/// What a configured filter may ask on one worker, inside or outside of an exchange.
pub trait PluginHost {
    /// Writes a line to the proxy's log, marked with the plugin's name.
    fn log(&self, level: LogLevel, message: &[u8]);
    /// The quietest level that is written.
    fn log_level(&self) -> LogLevel;
    /// Wall clock, in nanoseconds since 1970. Stands still within one turn of the event loop.
    fn now(&self) -> u64;
    /// Calls [`Plugin::on_tick`](crate::plugin::Plugin::on_tick) every `period`; zero stops.
    fn set_tick_period(&self, period: Duration);
    /// Starts a request. The answer comes through
    /// [`Plugin::on_call_response`](crate::plugin::Plugin::on_call_response), never before this has returned.
    ///
    /// # Errors
    /// `Invalid` for an unknown cluster or missing pseudo headers, `Limit` or `Internal` when it cannot start.
    fn call(&self, call: Call) -> Result<CallId, HostError>;
    /// Ends a call whose answer is no longer wanted. Fine for one that has ended.
    fn cancel_call(&self, call: CallId);
    /// Appends the value of `key` to `value` and returns its version. Shared by all workers of the name space.
    ///
    /// # Errors
    /// `NotFound`.
    fn shared_get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, HostError>;
    /// Writes a value; with `expected`, only over that version. A new key ignores `expected`.
    ///
    /// # Errors
    /// `Conflict`; `Limit` when the name space is full.
    fn shared_set(&self, key: &[u8], value: &[u8], expected: Option<u32>) -> Result<(), HostError>;
    /// Creates the queue of this name in the own name space, or finds it; from then on this plugin on this worker
    /// hears of new entries through [`Plugin::on_queue_ready`](crate::plugin::Plugin::on_queue_ready).
    fn queue_register(&self, name: &[u8]) -> QueueId;
    /// Finds a queue; an empty `name_space` is the own one.
    ///
    /// # Errors
    /// `NotFound`.
    fn queue_resolve(&self, name_space: &[u8], name: &[u8]) -> Result<QueueId, HostError>;
    /// Appends an entry.
    ///
    /// # Errors
    /// `NotFound`; `Limit` when the queue is full.
    fn queue_push(&self, queue: QueueId, entry: &[u8]) -> Result<(), HostError>;
    /// Appends the oldest entry to `entry` and removes it from the queue.
    ///
    /// # Errors
    /// `NotFound`, `Empty`.
    fn queue_pop(&self, queue: QueueId, entry: &mut Vec<u8>) -> Result<(), HostError>;
    /// Creates a metric, or finds the one of this name and kind.
    ///
    /// # Errors
    /// `Invalid` for a name that exists with another kind, `Limit` when there are too many.
    fn metric_define(&self, kind: MetricKind, name: &str) -> Result<MetricId, HostError>;
    /// Adds to a counter (above zero only) or gauge.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a histogram, or a counter and zero or less.
    fn metric_add(&self, metric: MetricId, by: i64) -> Result<(), HostError>;
    /// Sets a gauge, adds to a counter, or records a value in a histogram.
    ///
    /// # Errors
    /// `NotFound`.
    fn metric_record(&self, metric: MetricId, value: u64) -> Result<(), HostError>;
    /// The value of a counter or gauge, over all workers.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a histogram.
    fn metric_value(&self, metric: MetricId) -> Result<u64, HostError>;
    /// As [`ExchangeHost::property`], for what does not depend on an exchange.
    ///
    /// # Errors
    /// `NotFound`.
    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError>;
    /// Sets `seconds` aside as CPU time that a guest call took, for the plugin's own statistics.
    fn account(&self, callback: &'static str, took: Duration);
}

/// What a filter may ask about one exchange. Every method may be called from any callback of the plugin while the
/// exchange lives, not only from the exchange's own.
pub trait ExchangeHost {
    /// Unique within the proxy's life.
    fn id(&self) -> u64;
    /// Appends the first value of the field to `value`. `host` and `:authority` are the same field of a request.
    ///
    /// # Errors
    /// `NotFound`; `WrongPhase`.
    fn header(&self, map: Map, name: &[u8], value: &mut Vec<u8>) -> Result<(), HostError>;
    /// Shows all fields in wire order, pseudo headers first.
    ///
    /// # Errors
    /// `WrongPhase`.
    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError>;
    /// Changes a map that has not been sent yet. A field that HTTP does not allow is taken, and fails the exchange
    /// when it is sent. Framing fields are taken and visible; `transfer-encoding` and `connection` are replaced by the
    /// proxy's own when sent, and a body that does not fit `content-length` fails the exchange.
    ///
    /// # Errors
    /// `WrongPhase`.
    fn edit(&self, map: Map, edit: Edit<'_>) -> Result<(), HostError>;
    /// Bytes of the body that are visible now: the chunk of this callback, or all that is held.
    ///
    /// # Errors
    /// `WrongPhase`.
    fn body_len(&self, direction: Direction) -> Result<usize, HostError>;
    /// Appends at most `len` bytes from `start` to `bytes`; fewer where the body ends.
    ///
    /// # Errors
    /// `WrongPhase`.
    fn body_read(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), HostError>;
    /// Replaces `len` bytes from `start` (clamped to what is visible) by `bytes`.
    ///
    /// # Errors
    /// `WrongPhase`.
    fn body_splice(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &[u8],
    ) -> Result<(), HostError>;
    /// Answers instead of the upstream. The first reply of an exchange wins; it passes the response callbacks of
    /// this filter and those nearer to the downstream. Once response headers are sent it resets the exchange.
    fn reply(&self, reply: LocalReply);
    /// Lets a half go on that a verdict of this filter holds. Nothing happens if it is not held.
    fn resume(&self, direction: Direction);
    /// Ends the exchange without an answer.
    fn reset(&self);
    /// The route is chosen again from the headers as they then are.
    fn clear_route_cache(&self);
    /// Appends the value of an attribute to `value`. `path` is its segments joined by NUL
    /// (`request\0headers\0x-id`). Names and availability are Envoy's ("Attributes" in its documentation), encoded
    /// as in Proxy-Wasm: text and bytes as they are, integers, timestamps (ns) and durations (ns) as 8 bytes little
    /// endian, doubles as 8 bytes, booleans as 1 byte, maps in the pairs format.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a whole group such as `request`.
    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError>;
    /// Stores a value under a name that later filters of this exchange can read.
    fn set_property(&self, path: &[u8], value: &[u8]);
    /// The guest that this exchange runs in has failed: the chain applies the filter's failure policy at once,
    /// also if the exchange is held. Called by adapters, not by filters.
    fn fail(&self);
}
