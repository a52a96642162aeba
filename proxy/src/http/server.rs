//! The downstream side: a connection yields exchanges, each with a half to read and a half to write.

use bytes::Bytes;

use crate::http::error::{Malformed, ResetReason, StreamError};
use crate::http::headers::Headers;
use crate::http::io::Io;
use crate::http::message::{Frame, RequestHead, ResponseHead};
use crate::http::settings::ServerSettings;
use std::rc::Rc;

/// A connection with a downstream, HTTP/1 or HTTP/2.
pub struct ServerConnection {
    inner: Connection,
}

enum Connection {}

/// What comes next on a connection.
pub enum Accepted {
    /// A request.
    Exchange(Exchange),
    /// A request that HTTP or the listener's limits do not allow.
    Refusal(Refusal),
}

/// A request and the way to answer it.
pub struct Exchange {
    /// What is asked.
    pub head: RequestHead,
    /// Whether neither body nor trailers follow the head.
    pub end: bool,
    /// What follows the head.
    pub body: RequestBody,
    /// Where the answer goes.
    pub response: ResponseWriter,
}

/// A request that must not be forwarded.
pub struct Refusal {
    /// Why, with status and code details.
    pub reason: Malformed,
    /// Where to tell the client; `None` where only a reset can.
    pub response: Option<ResponseWriter>,
}

impl ServerConnection {
    /// Takes over a connection. Nothing is read before the first [`accept`](Self::accept).
    #[must_use]
    pub fn new(_io: Io, _settings: Rc<ServerSettings>) -> Option<Self> {
        None
    }

    /// The next request. `None`: the connection has ended in order.
    ///
    /// HTTP/1: completes only after both halves of the exchange before were dropped. HTTP/2: the streams move only
    /// while this is polled, so exchanges run in tasks of their own. Cancel safe.
    ///
    /// # Errors
    /// The connection broke between exchanges.
    pub async fn accept(&mut self) -> Result<Option<Accepted>, StreamError> {
        match self.inner {}
    }

    /// Whether exchanges run at the same time (HTTP/2). Known once the first was accepted.
    #[must_use]
    pub fn is_multiplexed(&self) -> bool {
        match self.inner {}
    }

    /// No further requests: HTTP/1 answers the current one with `connection: close`, HTTP/2 sends GOAWAY. Then
    /// [`accept`](Self::accept) ends with `None`.
    pub fn drain(&mut self) {
        match self.inner {}
    }
}

/// The body and trailers of a request. Dropped early, the rest is not read (HTTP/2: `NO_ERROR` once answered).
pub struct RequestBody {
    inner: Body,
}

enum Body {}

impl RequestBody {
    /// The next piece; `None` after the last one. Cancel safe. Nothing is read from the peer while nobody waits
    /// here (beyond one buffer or window).
    ///
    /// # Errors
    /// The request ends before its end.
    pub async fn frame(&mut self) -> Result<Option<Frame>, StreamError> {
        match self.inner {}
    }
}

/// Writes the response. Dropped before the end, the exchange is reset.
pub struct ResponseWriter {
    inner: Writer,
}

enum Writer {}

impl ResponseWriter {
    /// A 1xx head. HTTP/1.0 clients do not see it.
    ///
    /// # Errors
    /// The downstream is gone, or the head cannot be sent.
    pub async fn informational(&mut self, _head: &ResponseHead) -> Result<(), StreamError> {
        match self.inner {}
    }

    /// The final head. Unless it is the end it may wait for the first piece of the body, so that both leave in one
    /// write; [`flush`](Self::flush) and [`gone`](Self::gone) send it at once.
    ///
    /// # Errors
    /// The downstream is gone, or the head cannot be sent: then nothing of it was, and another one can be.
    pub async fn head(&mut self, _head: &ResponseHead, _end: bool) -> Result<(), StreamError> {
        match self.inner {}
    }

    /// A piece of the body; waits until the peer has room for it.
    ///
    /// # Errors
    /// The downstream is gone, or the body is longer than announced.
    pub async fn data(&mut self, _bytes: Bytes, _end: bool) -> Result<(), StreamError> {
        match self.inner {}
    }

    /// The fields after the body; they end the response.
    ///
    /// # Errors
    /// The downstream is gone, or the fields cannot be sent.
    pub async fn trailers(&mut self, _trailers: &Headers) -> Result<(), StreamError> {
        match self.inner {}
    }

    /// Sends what waits for company.
    ///
    /// # Errors
    /// The downstream is gone.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        match self.inner {}
    }

    /// Ends the exchange at once, visibly incomplete: RST_STREAM, or the connection is closed.
    pub fn reset(&mut self, _reason: ResetReason) {
        match self.inner {}
    }

    /// Waits until the downstream has gone, for the time in which nothing is written. Cancel safe.
    pub async fn gone(&mut self) -> StreamError {
        match self.inner {}
    }
}
