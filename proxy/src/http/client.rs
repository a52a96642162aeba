//! The upstream side: an exchange is opened on a connection and has a half to write and a half to read.

use bytes::Bytes;

use crate::http::error::{ResetReason, StreamError};
use crate::http::h1;
use crate::http::h2;
use crate::http::headers::Headers;
use crate::http::io::Io;
use crate::http::message::{Frame, RequestHead, ResponseHead};
use crate::http::settings::ClientSettings;

/// An HTTP/1.1 connection with an upstream: one exchange after the other.
pub struct H1Client {
    inner: h1::client::Connection,
}

/// An HTTP/2 connection with an upstream, with prior knowledge. Clones share it; it closes after the last one.
#[derive(Clone)]
pub struct H2Client {
    inner: h2::client::Connection,
}

impl H1Client {
    /// Takes over a connection. Nothing is sent.
    #[must_use]
    pub fn new(io: Io, settings: &ClientSettings) -> Self {
        Self {
            inner: h1::client::Connection::new(io, settings),
        }
    }

    /// Begins an exchange. The head leaves with the first piece of the body, or when one of the halves is awaited.
    ///
    /// # Errors
    /// The head cannot be sent. The connection is as before.
    pub fn open(
        &mut self,
        head: &RequestHead,
        end: bool,
    ) -> Result<(RequestWriter, ResponseReader), StreamError> {
        let (writer, reader) = self.inner.open(head, end)?;
        Ok((
            RequestWriter {
                inner: Writer::H1(writer),
            },
            ResponseReader {
                inner: Reader::H1(reader),
            },
        ))
    }

    /// Whether another exchange can begin: the one before has ended in order, both halves are dropped, and the peer
    /// has neither closed nor spoken unasked.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.inner.is_reusable()
    }
}

impl H2Client {
    /// Shakes hands and starts the task that moves the frames (on the current `LocalSet`).
    ///
    /// # Errors
    /// The connection broke.
    pub async fn connect(io: Io, settings: &ClientSettings) -> Result<Self, StreamError> {
        Ok(Self {
            inner: h2::client::Connection::connect(io, settings).await?,
        })
    }

    /// Begins an exchange; waits while the peer allows no further stream.
    ///
    /// # Errors
    /// The head cannot be sent, or the connection takes no more exchanges (`Refused` or `Closed`).
    pub async fn open(
        &self,
        head: &RequestHead,
        end: bool,
    ) -> Result<(RequestWriter, ResponseReader), StreamError> {
        let (writer, reader) = self.inner.open(head, end).await?;
        Ok((
            RequestWriter {
                inner: Writer::H2(writer),
            },
            ResponseReader {
                inner: Reader::H2(reader),
            },
        ))
    }

    /// Whether no exchange can begin any more: closed, failed, or told to go away.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Exchanges open now.
    #[must_use]
    pub fn active_streams(&self) -> usize {
        self.inner.active_streams()
    }

    /// Exchanges the peer allows at once.
    #[must_use]
    pub fn max_streams(&self) -> usize {
        self.inner.max_streams()
    }
}

/// Writes body and trailers of a request. Dropped before the end, the exchange is reset.
pub struct RequestWriter {
    inner: Writer,
}

enum Writer {
    H1(h1::client::RequestWriter),
    H2(h2::client::RequestWriter),
}

impl RequestWriter {
    /// A piece of the body; waits until the peer has room for it.
    ///
    /// # Errors
    /// The upstream takes no more, or the body is longer than announced. A response may still be there to read.
    pub async fn data(&mut self, bytes: Bytes, end: bool) -> Result<(), StreamError> {
        match &mut self.inner {
            Writer::H1(half) => half.data(bytes, end).await,
            Writer::H2(half) => half.data(bytes, end).await,
        }
    }

    /// The fields after the body; they end the request.
    ///
    /// # Errors
    /// As [`data`](Self::data), or the fields cannot be sent.
    pub async fn trailers(&mut self, trailers: &Headers) -> Result<(), StreamError> {
        match &mut self.inner {
            Writer::H1(half) => half.trailers(trailers).await,
            Writer::H2(half) => half.trailers(trailers).await,
        }
    }

    /// Sends what waits for company.
    ///
    /// # Errors
    /// As [`data`](Self::data).
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        match &mut self.inner {
            Writer::H1(half) => half.flush().await,
            Writer::H2(half) => half.flush().await,
        }
    }

    /// Ends the exchange at once in both directions: RST_STREAM, or the connection is closed.
    pub fn reset(&mut self, reason: ResetReason) {
        match &mut self.inner {
            Writer::H1(half) => half.reset(),
            Writer::H2(half) => half.reset(reason),
        }
    }
}

/// Reads a response. Dropped before the end, the exchange is reset.
pub struct ResponseReader {
    inner: Reader,
}

enum Reader {
    H1(h1::client::ResponseReader),
    H2(h2::client::ResponseReader),
}

impl ResponseReader {
    /// The next head: any number of 1xx ones, then the final one. Cancel safe. Sends what was written first.
    ///
    /// # Errors
    /// There will be no response.
    pub async fn head(&mut self) -> Result<ResponseHead, StreamError> {
        match &mut self.inner {
            Reader::H1(half) => half.head().await,
            Reader::H2(half) => half.head().await,
        }
    }

    /// The next piece after the final head; `None` after the last one. Cancel safe.
    ///
    /// # Errors
    /// The response ends before its end.
    pub async fn frame(&mut self) -> Result<Option<Frame>, StreamError> {
        match &mut self.inner {
            Reader::H1(half) => half.frame().await,
            Reader::H2(half) => half.frame().await,
        }
    }

    /// After the final head: whether nothing follows, known without waiting.
    #[must_use]
    pub fn is_end(&self) -> bool {
        match &self.inner {
            Reader::H1(half) => half.is_end(),
            Reader::H2(half) => half.is_end(),
        }
    }
}
