//! The upstream side: an exchange is opened on a connection and has a half to write and a half to read.

use bytes::Bytes;

use crate::http::error::{ResetReason, StreamError};
use crate::http::headers::Headers;
use crate::http::io::Io;
use crate::http::message::{Frame, RequestHead, ResponseHead};
use crate::http::settings::ClientSettings;

/// An HTTP/1.1 connection with an upstream: one exchange after the other.
pub struct H1Client {
    inner: Connection,
}

/// An HTTP/2 connection with an upstream, with prior knowledge. Clones share it; it closes after the last one.
#[derive(Clone)]
pub struct H2Client {
    inner: Connection,
}

#[derive(Clone)]
enum Connection {}

impl H1Client {
    /// Takes over a connection. Nothing is sent.
    #[must_use]
    pub fn new(_io: Io, _settings: &ClientSettings) -> Option<Self> {
        None
    }

    /// Begins an exchange. The head leaves with the first piece of the body, or when one of the halves is awaited.
    ///
    /// # Errors
    /// The head cannot be sent. The connection is as before.
    pub fn open(
        &mut self,
        _head: &RequestHead,
        _end: bool,
    ) -> Result<(RequestWriter, ResponseReader), StreamError> {
        match self.inner {}
    }

    /// Whether another exchange can begin: the one before has ended in order, both halves are dropped, and the peer
    /// has neither closed nor spoken unasked.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        match self.inner {}
    }
}

impl H2Client {
    /// Shakes hands and starts the task that moves the frames (on the current `LocalSet`).
    ///
    /// # Errors
    /// The connection broke.
    pub async fn connect(_io: Io, _settings: &ClientSettings) -> Result<Self, StreamError> {
        Err(StreamError::upstream(crate::http::error::StreamErrorKind::Closed))
    }

    /// Begins an exchange; waits while the peer allows no further stream.
    ///
    /// # Errors
    /// The head cannot be sent, or the connection takes no more exchanges (`Refused` or `Closed`).
    pub async fn open(
        &self,
        _head: &RequestHead,
        _end: bool,
    ) -> Result<(RequestWriter, ResponseReader), StreamError> {
        match self.inner {}
    }

    /// Whether no exchange can begin any more: closed, failed, or told to go away.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self.inner {}
    }

    /// Exchanges open now.
    #[must_use]
    pub fn active_streams(&self) -> usize {
        match self.inner {}
    }

    /// Exchanges the peer allows at once.
    #[must_use]
    pub fn max_streams(&self) -> usize {
        match self.inner {}
    }
}

/// Writes body and trailers of a request. Dropped before the end, the exchange is reset.
pub struct RequestWriter {
    inner: Writer,
}

enum Writer {}

impl RequestWriter {
    /// A piece of the body; waits until the peer has room for it.
    ///
    /// # Errors
    /// The upstream takes no more, or the body is longer than announced. A response may still be there to read.
    pub async fn data(&mut self, _bytes: Bytes, _end: bool) -> Result<(), StreamError> {
        match self.inner {}
    }

    /// The fields after the body; they end the request.
    ///
    /// # Errors
    /// As [`data`](Self::data), or the fields cannot be sent.
    pub async fn trailers(&mut self, _trailers: &Headers) -> Result<(), StreamError> {
        match self.inner {}
    }

    /// Sends what waits for company.
    ///
    /// # Errors
    /// As [`data`](Self::data).
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        match self.inner {}
    }

    /// Ends the exchange at once in both directions: RST_STREAM, or the connection is closed.
    pub fn reset(&mut self, _reason: ResetReason) {
        match self.inner {}
    }
}

/// Reads a response. Dropped before the end, the exchange is reset.
pub struct ResponseReader {
    inner: Reader,
}

enum Reader {}

impl ResponseReader {
    /// The next head: any number of 1xx ones, then the final one. Cancel safe. Sends what was written first.
    ///
    /// # Errors
    /// There will be no response.
    pub async fn head(&mut self) -> Result<ResponseHead, StreamError> {
        match self.inner {}
    }

    /// The next piece after the final head; `None` after the last one. Cancel safe.
    ///
    /// # Errors
    /// The response ends before its end.
    pub async fn frame(&mut self) -> Result<Option<Frame>, StreamError> {
        match self.inner {}
    }

    /// After the final head: whether nothing follows, known without waiting.
    #[must_use]
    pub fn is_end(&self) -> bool {
        match self.inner {}
    }
}
