//! The downstream side of an HTTP/2 connection.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h2::server::{Handshake, SendResponse};
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::http::error::{Malformed, ResetReason, Side, StreamError, StreamErrorKind, Unsendable};
use crate::http::h2::convert::{informational_out, request_in, response_out};
use crate::http::h2::streams::{Reader, Writer, failure, reset};
use crate::http::headers::Headers;
use crate::http::io::Io;
use crate::http::message::{Frame, ResponseHead};
use crate::http::server::Accepted;
use crate::http::settings::ServerSettings;

/// Streams reset before we took them up: a client that makes more at once attacks (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that we had to reset: more is an attack too (CVE-2025-8671).
const LOCAL_RESETS: usize = 128;
/// Written and not yet taken by the peer, per stream.
const SEND_BUFFER: usize = 128 << 10;

/// An HTTP/2 connection with a downstream.
pub(crate) struct Connection {
    state: State,
    settings: Rc<ServerSettings>,
    draining: bool,
    deadline: Option<Instant>,
}

enum State {
    Handshake(Handshake<Rewound, Bytes>),
    Open(h2::server::Connection<Rewound, Bytes>),
    Closed,
}

impl Connection {
    /// Takes over a connection of which `input` was read already.
    pub(crate) fn new(io: Io, input: Bytes, settings: Rc<ServerSettings>) -> Self {
        let handshake = h2::server::Builder::new()
            .initial_window_size(settings.h2.stream_window.min(i32::MAX as u32))
            .initial_connection_window_size(settings.h2.connection_window.clamp(65_535, i32::MAX as u32))
            .max_concurrent_streams(settings.h2.max_concurrent_streams)
            .max_header_list_size(u32::try_from(settings.limits.bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(Some(LOCAL_RESETS))
            .max_send_buffer_size(SEND_BUFFER)
            .handshake(Rewound { input, io });
        let deadline = settings.idle_timeout.map(|timeout| Instant::now() + timeout);
        Self {
            state: State::Handshake(handshake),
            settings,
            draining: false,
            deadline,
        }
    }

    pub(crate) fn drain(&mut self) {
        self.draining = true;
        if let State::Open(connection) = &mut self.state {
            connection.graceful_shutdown();
        }
    }

    pub(crate) async fn accept(&mut self) -> Result<Option<Accepted>, StreamError> {
        loop {
            let next = match self.deadline {
                Some(deadline) => timeout_at(deadline, poll_fn(|cx| self.poll_accept(cx)))
                    .await
                    .ok(),
                None => Some(poll_fn(|cx| self.poll_accept(cx)).await),
            };
            self.deadline = self.settings.idle_timeout.map(|timeout| Instant::now() + timeout);
            match next {
                Some(Ok(Some((request, respond)))) => return Ok(Some(self.accepted(request, respond))),
                Some(Ok(None)) => {
                    self.state = State::Closed;
                    return Ok(None);
                }
                Some(Err(error)) => {
                    self.state = State::Closed;
                    return Err(failure(Side::Downstream, &error));
                }
                None => match &mut self.state {
                    State::Open(connection) if connection.has_streams() => {}
                    // Told to go and still there.
                    State::Open(_) if !self.draining => self.drain(),
                    State::Open(_) | State::Handshake(_) | State::Closed => {
                        self.state = State::Closed;
                        return Ok(None);
                    }
                },
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Request>, h2::Error>> {
        loop {
            match &mut self.state {
                State::Closed => return Poll::Ready(Ok(None)),
                State::Handshake(handshake) => {
                    let mut connection = std::task::ready!(Pin::new(handshake).poll(cx))?;
                    if self.draining {
                        connection.graceful_shutdown();
                    }
                    self.state = State::Open(connection);
                }
                State::Open(connection) => {
                    return match std::task::ready!(connection.poll_accept(cx)) {
                        Some(accepted) => Poll::Ready(accepted.map(Some)),
                        None => Poll::Ready(Ok(None)),
                    };
                }
            }
        }
    }

    fn accepted(&self, request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Accepted {
        let (parts, stream) = request.into_parts();
        let limits = self.settings.limits;
        let to_head = parts.method == http::Method::HEAD;
        match request_in(&parts, &limits) {
            Ok((head, expects_continue)) => {
                let reply = Rc::new(RefCell::new(Reply {
                    respond,
                    expects_continue,
                }));
                let reader = Reader::new(stream, Side::Downstream, limits);
                let body = RequestBody {
                    reader,
                    reply: Rc::clone(&reply),
                };
                Accepted::from_h2(
                    head,
                    body,
                    ResponseWriter {
                        reply,
                        writer: None,
                        to_head,
                        ended: false,
                    },
                )
            }
            // What RFC 9113 calls malformed is a stream error; what is only too much or not offered gets an answer.
            Err(reason) => match reason.status() {
                400 => {
                    respond.send_reset(Reason::PROTOCOL_ERROR);
                    Accepted::refused_by_h2(reason, None)
                }
                _ => {
                    let reply = Rc::new(RefCell::new(Reply {
                        respond,
                        expects_continue: false,
                    }));
                    let response = ResponseWriter {
                        reply,
                        writer: None,
                        to_head,
                        ended: false,
                    };
                    Accepted::refused_by_h2(reason, Some(response))
                }
            },
        }
    }
}

type Request = (http::Request<RecvStream>, SendResponse<Bytes>);

/// What both halves need before the final head.
struct Reply {
    respond: SendResponse<Bytes>,
    expects_continue: bool,
}

/// Reads what follows a request head.
pub(crate) struct RequestBody {
    reader: Reader,
    reply: Rc<RefCell<Reply>>,
}

impl RequestBody {
    pub(crate) fn is_end(&self) -> bool {
        self.reader.is_end()
    }

    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>, StreamError> {
        if self.reply.borrow().expects_continue {
            let mut reply = self.reply.borrow_mut();
            reply.expects_continue = false;
            let mut response = http::Response::new(());
            *response.status_mut() = http::StatusCode::CONTINUE;
            // Fails where the final head has been sent: then nobody waits any more.
            let _ = reply.respond.send_informational(response);
        }
        let frame = self.reader.frame().await;
        if let Err(StreamError {
            kind: StreamErrorKind::Malformed(Malformed::Trailer),
            ..
        }) = &frame
        {
            self.reply.borrow_mut().respond.send_reset(Reason::PROTOCOL_ERROR);
        }
        frame
    }
}

/// Writes the answer.
pub(crate) struct ResponseWriter {
    reply: Rc<RefCell<Reply>>,
    /// From the final head on.
    writer: Option<Writer>,
    to_head: bool,
    /// Reset before the final head.
    ended: bool,
}

impl ResponseWriter {
    pub(crate) async fn informational(&mut self, head: &ResponseHead) -> Result<(), StreamError> {
        if !head.is_informational() {
            return Err(unsendable(Unsendable::Invalid(":status")));
        }
        let response = informational_out(head).map_err(unsendable)?;
        let mut reply = self.reply.borrow_mut();
        reply.expects_continue &= head.status() != Some(100);
        reply
            .respond
            .send_informational(response)
            .map_err(|error| failure(Side::Downstream, &error))
    }

    pub(crate) async fn head(&mut self, head: &ResponseHead, end: bool) -> Result<(), StreamError> {
        if self.writer.is_some() {
            return Err(unsendable(Unsendable::AfterEnd));
        }
        let out = response_out(head, end, self.to_head).map_err(unsendable)?;
        let mut reply = self.reply.borrow_mut();
        reply.expects_continue = false;
        let stream = reply
            .respond
            .send_response(out.response, end)
            .map_err(|error| failure(Side::Downstream, &error))?;
        let mut writer = Writer::new(stream, Side::Downstream, out.announced);
        writer.ended = end;
        self.writer = Some(if out.bodiless {
            writer.without_body()
        } else {
            writer
        });
        Ok(())
    }

    pub(crate) async fn data(&mut self, bytes: Bytes, end: bool) -> Result<(), StreamError> {
        self.writer()?.data(bytes, end).await
    }

    pub(crate) async fn trailers(&mut self, trailers: &Headers) -> Result<(), StreamError> {
        self.writer()?.trailers(trailers)
    }

    /// The task of the connection writes at its next turn.
    pub(crate) async fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    pub(crate) fn reset(&mut self, reason: ResetReason) {
        self.ended = true;
        match &mut self.writer {
            Some(writer) => writer.reset(reason),
            None => self.reply.borrow_mut().respond.send_reset(Reason::from(reason.0)),
        }
    }

    pub(crate) async fn gone(&mut self) -> StreamError {
        poll_fn(|cx| match &mut self.writer {
            Some(writer) => writer.poll_reset(cx),
            None => self
                .reply
                .borrow_mut()
                .respond
                .poll_reset(cx)
                .map(|reason| reset(Side::Downstream, reason)),
        })
        .await
    }

    fn writer(&mut self) -> Result<&mut Writer, StreamError> {
        self.writer
            .as_mut()
            .ok_or_else(|| unsendable(Unsendable::Missing(":status")))
    }
}

impl Drop for ResponseWriter {
    fn drop(&mut self) {
        if !self.ended && self.writer.as_ref().is_none_or(|writer| !writer.ended) {
            self.reset(ResetReason::INTERNAL_ERROR);
        }
    }
}

fn unsendable(reason: Unsendable) -> StreamError {
    StreamError::downstream(StreamErrorKind::Unsendable(reason))
}

/// A connection of which the first bytes were read already.
struct Rewound {
    input: Bytes,
    io: Io,
}

impl AsyncRead for Rewound {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.input.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, into);
        }
        let length = this.input.len().min(into.remaining());
        into.put_slice(&this.input[..length]);
        this.input.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
