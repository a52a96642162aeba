//! The downstream side: a connection yields exchanges, each with a half to read and a half to write.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use leno_model::http::Codec;

use crate::http::error::{Malformed, ResetReason, StreamError, StreamErrorKind};
use crate::http::h1::{self, server::Next};
use crate::http::h2;
use crate::http::headers::Headers;
use crate::http::io::Io;
use crate::http::message::{Frame, RequestHead, ResponseHead};
use crate::http::settings::ServerSettings;

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection with a downstream, HTTP/1 or HTTP/2.
pub struct ServerConnection {
    inner: Connection,
}

enum Connection {
    /// No version is chosen yet.
    New(Box<Sniffer>),
    H1(h1::server::Connection),
    H2(Box<h2::server::Connection>),
    Closed,
}

struct Sniffer {
    io: Io,
    input: BytesMut,
    codec: Codec,
    settings: Rc<ServerSettings>,
    deadline: Option<Instant>,
    draining: bool,
}

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
    pub fn new(io: Io, settings: Rc<ServerSettings>) -> Self {
        Self::agreed(io, settings, None)
    }

    /// The same where both sides may have agreed on a version: then the first bytes are not asked.
    #[must_use]
    pub fn agreed(io: Io, settings: Rc<ServerSettings>, version: Option<Codec>) -> Self {
        let deadline = settings.idle_timeout.map(|timeout| Instant::now() + timeout);
        let sniffer = Sniffer {
            io,
            input: BytesMut::new(),
            codec: match settings.codec {
                Codec::Auto => version.unwrap_or(Codec::Auto),
                one => one,
            },
            settings,
            deadline,
            draining: false,
        };
        Self {
            inner: Connection::New(Box::new(sniffer)),
        }
    }

    /// The next request. `None`: the connection has ended in order.
    ///
    /// HTTP/1: completes only after both halves of the exchange before were dropped. HTTP/2: the streams move only
    /// while this is polled, so exchanges run in tasks of their own. Cancel safe.
    ///
    /// # Errors
    /// The connection broke between exchanges.
    pub async fn accept(&mut self) -> Result<Option<Accepted>, StreamError> {
        loop {
            match &mut self.inner {
                Connection::New(sniffer) => {
                    let version = sniffer.version().await?;
                    let Connection::New(sniffer) = std::mem::replace(&mut self.inner, Connection::Closed)
                    else {
                        return Ok(None);
                    };
                    if let Some(version) = version {
                        self.inner = sniffer.begin(version);
                    }
                }
                Connection::H1(connection) => return Ok(connection.accept().await?.map(Accepted::from_h1)),
                Connection::H2(connection) => return connection.accept().await,
                Connection::Closed => return Ok(None),
            }
        }
    }

    /// Whether exchanges run at the same time (HTTP/2). Known once the first was accepted.
    #[must_use]
    pub fn is_multiplexed(&self) -> bool {
        matches!(self.inner, Connection::H2(_))
    }

    /// No further requests: HTTP/1 answers the current one with `connection: close`, HTTP/2 sends GOAWAY. Then
    /// [`accept`](Self::accept) ends with `None`.
    pub fn drain(&mut self) {
        match &mut self.inner {
            Connection::New(sniffer) => sniffer.draining = true,
            Connection::H1(connection) => connection.drain(),
            Connection::H2(connection) => connection.drain(),
            Connection::Closed => {}
        }
    }
}

/// A version the first bytes can choose.
#[derive(Clone, Copy)]
enum Version {
    H1,
    H2,
}

impl Sniffer {
    /// Waits for the first bytes, unless the listener speaks one version only. `None`: there are none.
    async fn version(&mut self) -> Result<Option<Version>, StreamError> {
        match self.codec {
            Codec::Http1 => return Ok(Some(Version::H1)),
            Codec::Http2 => return Ok(Some(Version::H2)),
            Codec::Auto => {}
        }
        loop {
            let seen = self.input.len().min(PREFACE.len());
            if self.input[..seen] != PREFACE[..seen] {
                return Ok(Some(Version::H1));
            }
            if seen == PREFACE.len() {
                return Ok(Some(Version::H2));
            }
            if self.draining && seen == 0 {
                return Ok(None);
            }
            let read = self.io.read_buf(&mut self.input);
            let read = match self.deadline {
                Some(deadline) => timeout_at(deadline, read).await.ok(),
                None => Some(read.await),
            };
            match read {
                Some(Ok(1..)) => {}
                Some(Ok(0)) | None => return Ok(None),
                Some(Err(error)) => return Err(StreamError::downstream(StreamErrorKind::Io(error.kind()))),
            }
        }
    }

    fn begin(self, version: Version) -> Connection {
        match version {
            Version::H1 => {
                let connection = h1::server::Connection::new(self.io, self.input, self.settings);
                if self.draining {
                    connection.drain();
                }
                Connection::H1(connection)
            }
            Version::H2 => {
                let mut connection = h2::server::Connection::new(self.io, self.input.freeze(), self.settings);
                if self.draining {
                    connection.drain();
                }
                Connection::H2(Box::new(connection))
            }
        }
    }
}

impl Accepted {
    fn from_h1(next: Next) -> Self {
        match next {
            Next::Request(head, end, body, response) => Self::Exchange(Exchange {
                head,
                end,
                body: RequestBody {
                    inner: Body::H1(body),
                },
                response: ResponseWriter {
                    inner: Writer::H1(response),
                },
            }),
            Next::Refused(reason, response) => Self::Refusal(Refusal {
                reason,
                response: Some(ResponseWriter {
                    inner: Writer::H1(response),
                }),
            }),
        }
    }

    pub(crate) fn from_h2(
        head: RequestHead,
        body: h2::server::RequestBody,
        response: h2::server::ResponseWriter,
    ) -> Self {
        Self::Exchange(Exchange {
            head,
            end: body.is_end(),
            body: RequestBody {
                inner: Body::H2(body),
            },
            response: ResponseWriter {
                inner: Writer::H2(response),
            },
        })
    }

    pub(crate) fn refused_by_h2(reason: Malformed, response: Option<h2::server::ResponseWriter>) -> Self {
        let response = response.map(|response| ResponseWriter {
            inner: Writer::H2(response),
        });
        Self::Refusal(Refusal { reason, response })
    }
}

/// The body and trailers of a request. Dropped early, the rest is not read (HTTP/2: `NO_ERROR` once answered).
pub struct RequestBody {
    inner: Body,
}

enum Body {
    H1(h1::halves::RequestBody),
    H2(h2::server::RequestBody),
}

impl RequestBody {
    /// The next piece; `None` after the last one. Cancel safe. Nothing is read from the peer while nobody waits
    /// here (beyond one buffer or window).
    ///
    /// # Errors
    /// The request ends before its end.
    pub async fn frame(&mut self) -> Result<Option<Frame>, StreamError> {
        match &mut self.inner {
            Body::H1(half) => half.frame().await,
            Body::H2(half) => half.frame().await,
        }
    }
}

/// Writes the response. Dropped before the end, the exchange is reset.
pub struct ResponseWriter {
    inner: Writer,
}

enum Writer {
    H1(h1::halves::ResponseWriter),
    H2(h2::server::ResponseWriter),
}

impl ResponseWriter {
    /// A 1xx head. HTTP/1.0 clients do not see it.
    ///
    /// # Errors
    /// The downstream is gone, or the head cannot be sent.
    pub async fn informational(&mut self, head: &ResponseHead) -> Result<(), StreamError> {
        match &mut self.inner {
            Writer::H1(half) => half.informational(head).await,
            Writer::H2(half) => half.informational(head).await,
        }
    }

    /// The final head. Unless it is the end it may wait for the first piece of the body, so that both leave in one
    /// write; [`flush`](Self::flush) and [`gone`](Self::gone) send it at once.
    ///
    /// # Errors
    /// The downstream is gone, or the head cannot be sent: then nothing of it was, and another one can be.
    pub async fn head(&mut self, head: &ResponseHead, end: bool) -> Result<(), StreamError> {
        match &mut self.inner {
            Writer::H1(half) => half.head(head, end).await,
            Writer::H2(half) => half.head(head, end).await,
        }
    }

    /// A piece of the body; waits until the peer has room for it.
    ///
    /// # Errors
    /// The downstream is gone, or the body is longer than announced.
    pub async fn data(&mut self, bytes: Bytes, end: bool) -> Result<(), StreamError> {
        match &mut self.inner {
            Writer::H1(half) => half.data(bytes, end).await,
            Writer::H2(half) => half.data(bytes, end).await,
        }
    }

    /// The fields after the body; they end the response.
    ///
    /// # Errors
    /// The downstream is gone, or the fields cannot be sent.
    pub async fn trailers(&mut self, trailers: &Headers) -> Result<(), StreamError> {
        match &mut self.inner {
            Writer::H1(half) => half.trailers(trailers).await,
            Writer::H2(half) => half.trailers(trailers).await,
        }
    }

    /// Sends what waits for company.
    ///
    /// # Errors
    /// The downstream is gone.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        match &mut self.inner {
            Writer::H1(half) => half.flush().await,
            Writer::H2(half) => half.flush().await,
        }
    }

    /// Ends the exchange at once, visibly incomplete: RST_STREAM, or the connection is closed.
    pub fn reset(&mut self, reason: ResetReason) {
        match &mut self.inner {
            Writer::H1(half) => half.reset(),
            Writer::H2(half) => half.reset(reason),
        }
    }

    /// Waits until the downstream has gone, for the time in which nothing is written. Cancel safe.
    pub async fn gone(&mut self) -> StreamError {
        match &mut self.inner {
            Writer::H1(half) => half.gone().await,
            Writer::H2(half) => half.gone().await,
        }
    }
}
