//! The upstream side of an HTTP/2 connection.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};

use crate::http::error::{Malformed, ResetReason, Side, StreamError, StreamErrorKind};
use crate::http::h2::convert::{request_out, response_in};
use crate::http::h2::streams::{Reader, Writer, failure};
use crate::http::headers::Headers;
use crate::http::io::Io;
use crate::http::message::{Frame, RequestHead, ResponseHead};
use crate::http::settings::{ClientSettings, Limits};

/// So many 1xx heads may come before the final one. Arbitrary; two are seen in practice.
const INFORMATIONAL: u8 = 16;
/// Written and not yet taken by the peer, per stream.
const SEND_BUFFER: usize = 128 << 10;

/// A shared HTTP/2 connection with an upstream.
#[derive(Clone)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    status: Rc<Status>,
    limits: Limits,
}

#[derive(Default)]
struct Status {
    closed: Cell<bool>,
    active: Cell<usize>,
}

impl Connection {
    pub(crate) async fn connect(io: Io, settings: &ClientSettings) -> Result<Self, StreamError> {
        let handshake = h2::client::Builder::new()
            .initial_window_size(settings.h2.stream_window.min(i32::MAX as u32))
            .initial_connection_window_size(settings.h2.connection_window.clamp(65_535, i32::MAX as u32))
            .max_header_list_size(u32::try_from(settings.limits.bytes).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER)
            .enable_push(false)
            .handshake::<_, Bytes>(io);
        let (send, connection) = handshake.await.map_err(|error| failure(Side::Upstream, &error))?;
        let status = Rc::new(Status::default());
        let watched = Rc::clone(&status);
        // Ends by itself once every clone and every stream is dropped, or the connection breaks.
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP/2 connection with an upstream ended");
            }
            watched.closed.set(true);
        });
        Ok(Self {
            send,
            status,
            limits: settings.limits,
        })
    }

    pub(crate) async fn open(
        &self,
        head: &RequestHead,
        end: bool,
    ) -> Result<(RequestWriter, ResponseReader), StreamError> {
        let (request, announced) = request_out(head, end)
            .map_err(|reason| StreamError::upstream(StreamErrorKind::Unsendable(reason)))?;
        let mut send = self
            .send
            .clone()
            .ready()
            .await
            .map_err(|error| self.unopened(&error))?;
        let (response, stream) = send
            .send_request(request, end)
            .map_err(|error| self.unopened(&error))?;
        let mut writer = Writer::new(stream, Side::Upstream, announced);
        writer.ended = end;
        let active = Rc::new(Active::new(&self.status));
        let reader = ResponseReader {
            response: Some(response),
            reader: None,
            informational: 0,
            limits: self.limits,
            _active: Rc::clone(&active),
        };
        Ok((
            RequestWriter {
                writer,
                _active: active,
            },
            reader,
        ))
    }

    pub(crate) fn is_closed(&self) -> bool {
        let ready = |mut send: SendRequest<Bytes>| send.poll_ready(&mut Context::from_waker(Waker::noop()));
        self.status.closed.get() || matches!(ready(self.send.clone()), Poll::Ready(Err(_)))
    }

    pub(crate) fn active_streams(&self) -> usize {
        self.status.active.get()
    }

    pub(crate) fn max_streams(&self) -> usize {
        self.send.current_max_send_streams()
    }

    /// Nothing of a request left that could not be opened: it may be sent again elsewhere.
    fn unopened(&self, error: &h2::Error) -> StreamError {
        self.status.closed.set(true);
        match failure(Side::Upstream, error).kind {
            StreamErrorKind::Io(kind) => StreamError::upstream(StreamErrorKind::Io(kind)),
            _ => StreamError::upstream(StreamErrorKind::Refused),
        }
    }
}

/// Counts one exchange until both halves are dropped.
struct Active {
    status: Rc<Status>,
}

impl Active {
    fn new(status: &Rc<Status>) -> Self {
        status.active.set(status.active.get() + 1);
        Self {
            status: Rc::clone(status),
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.status.active.set(self.status.active.get() - 1);
    }
}

/// Writes a request.
pub(crate) struct RequestWriter {
    writer: Writer,
    _active: Rc<Active>,
}

impl RequestWriter {
    pub(crate) async fn data(&mut self, bytes: Bytes, end: bool) -> Result<(), StreamError> {
        self.writer.data(bytes, end).await
    }

    pub(crate) async fn trailers(&mut self, trailers: &Headers) -> Result<(), StreamError> {
        self.writer.trailers(trailers)
    }

    /// The task of the connection writes at its next turn.
    pub(crate) async fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    pub(crate) fn reset(&mut self, reason: ResetReason) {
        self.writer.reset(reason);
    }
}

impl Drop for RequestWriter {
    fn drop(&mut self) {
        if !self.writer.ended {
            self.writer.reset(ResetReason::CANCEL);
        }
    }
}

/// Reads the response. Dropped early, the `h2` crate resets the stream with `CANCEL`.
pub(crate) struct ResponseReader {
    response: Option<ResponseFuture>,
    reader: Option<Reader>,
    informational: u8,
    limits: Limits,
    _active: Rc<Active>,
}

impl ResponseReader {
    pub(crate) async fn head(&mut self) -> Result<ResponseHead, StreamError> {
        let response = poll_fn(|cx| self.poll_response(cx))
            .await
            .map_err(|error| failure(Side::Upstream, &error))?;
        let malformed = |reason| StreamError::upstream(StreamErrorKind::Malformed(reason));
        match response {
            Response::Informational(response) => {
                self.informational += 1;
                if self.informational > INFORMATIONAL {
                    return Err(malformed(Malformed::Informational));
                }
                response_in(&response.into_parts().0, &self.limits).map_err(malformed)
            }
            Response::Final(response) => {
                let (parts, stream) = response.into_parts();
                let head = response_in(&parts, &self.limits).map_err(malformed)?;
                self.response = None;
                self.reader = Some(Reader::new(stream, Side::Upstream, self.limits));
                Ok(head)
            }
        }
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response, h2::Error>> {
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err(h2::Reason::STREAM_CLOSED.into()));
        };
        if let Poll::Ready(Some(informational)) = response.poll_informational(cx) {
            return Poll::Ready(informational.map(Response::Informational));
        }
        Poll::Ready(ready!(Pin::new(response).poll(cx)).map(Response::Final))
    }

    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>, StreamError> {
        match &mut self.reader {
            Some(reader) => reader.frame().await,
            None => Err(StreamError::upstream(StreamErrorKind::Cancelled)),
        }
    }

    pub(crate) fn is_end(&self) -> bool {
        self.reader.as_ref().is_some_and(Reader::is_end)
    }
}

enum Response {
    Informational(http::Response<()>),
    Final(http::Response<h2::RecvStream>),
}
