//! The downstream side of an HTTP/1 connection: one exchange after the other, all in the caller's task.
//!
//! The halves of an exchange share one state with the connection, which goes on once both are dropped. Nothing here
//! is spawned, and nothing is allocated per exchange once the buffers have their size.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::{Instant, timeout_at};

use crate::http::error::{Malformed, StreamError, StreamErrorKind};
use crate::http::h1::body::{BodyEvent, BodyReader};
use crate::http::h1::encode::BodyWriter;
use crate::http::h1::halves::{RequestBody, ResponseWriter};
use crate::http::h1::parse::{Framing, HeadReader, RequestRules, RequestStart};
use crate::http::h1::transport::Transport;
use crate::http::io::Io;
use crate::http::message::{Protocol, RequestHead};
use crate::http::settings::{Limits, ServerSettings};

/// So much of a request that nobody read is read after the response, to keep the connection. Arbitrary.
const DRAINED: usize = 64 << 10;
/// So long a connection that we close is read from, so that the peer gets to read our last response (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);

/// An HTTP/1 connection with a downstream.
pub(crate) struct Connection {
    shared: Rc<RefCell<Shared>>,
    settings: Rc<ServerSettings>,
    heads: HeadReader,
    phase: Phase,
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between exchanges: no byte of a request is here.
    Idle,
    /// Some bytes of a head are here.
    Head,
    /// The halves are out.
    Busy,
    /// The response is complete and the request is not.
    Draining,
    /// Our last byte was sent, the peer's have not all come.
    Lingering,
    Closed,
}

/// What the halves of an exchange and the connection share.
pub(super) struct Shared {
    pub(super) transport: Transport,
    pub(super) reader: BodyReader,
    /// `None` until the final head is written.
    pub(super) writer: Option<BodyWriter>,
    pub(super) passes_trailers: bool,
    pub(super) protocol: Protocol,
    pub(super) to_head: bool,
    /// The client waits for `100 Continue` and has not got it.
    pub(super) owes_continue: bool,
    /// The connection ends after this exchange.
    pub(super) close: bool,
    /// The exchange was reset, or the connection failed: it ends without another byte.
    pub(super) broken: bool,
    /// Halves that are out.
    pub(super) halves: u8,
    /// Who waits for the halves.
    pub(super) waiting: Option<Waker>,
}

/// What came: a request, or the reason why it is none.
pub(crate) enum Next {
    Request(RequestHead, bool, RequestBody, ResponseWriter),
    Refused(Malformed, ResponseWriter),
}

impl Connection {
    /// Takes over a connection of which `input` was read already.
    pub(crate) fn new(io: Io, input: BytesMut, settings: Rc<ServerSettings>) -> Self {
        let shared = Shared {
            transport: Transport::new(io, input),
            reader: BodyReader::new(Framing::Length(0), settings.limits),
            writer: None,
            passes_trailers: settings.h1_trailers,
            protocol: Protocol::Http11,
            to_head: false,
            owes_continue: false,
            close: false,
            broken: false,
            halves: 0,
            waiting: None,
        };
        let deadline = settings.idle_timeout.map(|timeout| Instant::now() + timeout);
        Self {
            shared: Rc::new(RefCell::new(shared)),
            settings,
            heads: HeadReader::default(),
            phase: Phase::Idle,
            deadline,
        }
    }

    /// The current exchange is the last one.
    pub(crate) fn drain(&self) {
        self.shared.borrow_mut().close = true;
    }

    /// The next request. `None`: the connection is closed. Cancel safe.
    pub(crate) async fn accept(&mut self) -> Result<Option<Next>, StreamError> {
        loop {
            match self.phase {
                Phase::Idle => {
                    if !self.idle().await? {
                        return Ok(None);
                    }
                }
                Phase::Head => return Ok(self.head().await?.map(|start| self.begin(start))),
                Phase::Busy => self.halves_are_back().await?,
                Phase::Draining => {
                    let shared = &self.shared;
                    let drained =
                        within(self.deadline, poll_fn(|cx| shared.borrow_mut().poll_drained(cx))).await;
                    if drained == Some(true) {
                        self.next_exchange()
                    } else {
                        self.linger()
                    }
                }
                Phase::Lingering => {
                    let shared = &self.shared;
                    let _ = within(self.deadline, poll_fn(|cx| shared.borrow_mut().poll_linger(cx))).await;
                    self.phase = Phase::Closed;
                }
                Phase::Closed => return Ok(None),
            }
        }
    }

    /// Waits for the first byte of a request; false if there will be none.
    async fn idle(&mut self) -> Result<bool, StreamError> {
        if self.shared.borrow().transport.input.is_empty() {
            if self.shared.borrow().close {
                self.phase = Phase::Closed;
                return Ok(false);
            }
            let shared = &self.shared;
            let filled = within(
                self.deadline,
                poll_fn(|cx| shared.borrow_mut().transport.poll_fill(cx)),
            )
            .await;
            match filled {
                Some(Ok(1..)) => {}
                Some(Ok(0)) | None => {
                    self.phase = Phase::Closed;
                    return Ok(false);
                }
                Some(Err(error)) => return Err(self.failed(StreamErrorKind::Io(error.kind()))),
            }
        }
        self.phase = Phase::Head;
        self.deadline = self.settings.head_timeout.map(|timeout| Instant::now() + timeout);
        Ok(true)
    }

    /// Waits for a complete head, or for what shows that it will be none. `None`: the peer has gone without a word
    /// that asks for an answer.
    async fn head(&mut self) -> Result<Option<Result<RequestStart, Malformed>>, StreamError> {
        let rules = RequestRules {
            limits: self.settings.limits,
            accept_http_10: self.settings.accept_http_10,
            encrypted: self.settings.encrypted,
        };
        loop {
            match self.read_head(&rules) {
                Ok(Some(start)) => return Ok(Some(Ok(start))),
                Ok(None) => {}
                Err(reason) => return Ok(Some(Err(reason))),
            }
            let shared = &self.shared;
            match within(
                self.deadline,
                poll_fn(|cx| shared.borrow_mut().transport.poll_fill(cx)),
            )
            .await
            {
                Some(Ok(1..)) => {}
                // A lone line end after a request is no beginning of another.
                Some(Ok(0)) if matches!(&self.shared.borrow().transport.input[..], b"\r" | b"\r\n") => {
                    self.phase = Phase::Closed;
                    return Ok(None);
                }
                Some(Ok(0)) => return Err(self.failed(StreamErrorKind::Closed)),
                Some(Err(error)) => return Err(self.failed(StreamErrorKind::Io(error.kind()))),
                None => return Ok(Some(Err(Malformed::HeadTimeout))),
            }
        }
    }

    fn read_head(&mut self, rules: &RequestRules) -> Result<Option<RequestStart>, Malformed> {
        let input = &mut self.shared.borrow_mut().transport.input;
        Ok(self.heads.request(input, rules)?.map(|(start, length)| {
            input.advance(length);
            start
        }))
    }

    /// Hands out the halves.
    fn begin(&mut self, start: Result<RequestStart, Malformed>) -> Next {
        self.phase = Phase::Busy;
        let mut shared = self.shared.borrow_mut();
        shared.writer = None;
        let response = ResponseWriter::new(&self.shared);
        match start {
            Ok(start) => {
                shared.reader = BodyReader::new(start.framing, self.settings.limits);
                shared.protocol = start.head.protocol;
                shared.to_head = start.head.method() == b"HEAD";
                shared.owes_continue = start.expects_continue;
                shared.close |= !start.keep_alive;
                shared.halves = 2;
                let end = shared.reader.is_end();
                Next::Request(start.head, end, RequestBody::new(&self.shared), response)
            }
            Err(reason) => {
                // What follows cannot be read: it counts as a body that never ends.
                shared.reader = BodyReader::new(Framing::UntilClose, Limits::default());
                shared.protocol = Protocol::Http11;
                shared.to_head = false;
                shared.owes_continue = false;
                shared.close = true;
                shared.halves = 1;
                Next::Refused(reason, response)
            }
        }
    }

    /// Waits for the halves and decides how the connection goes on.
    async fn halves_are_back(&mut self) -> Result<(), StreamError> {
        let shared = &self.shared;
        let flushed = poll_fn(|cx| shared.borrow_mut().poll_finished(cx)).await;
        if let Err(kind) = flushed {
            return Err(self.failed(kind));
        }
        let (close, end) = {
            let shared = self.shared.borrow();
            (shared.close, shared.reader.is_end())
        };
        match (close, end) {
            (true, _) => self.linger(),
            (false, true) => self.next_exchange(),
            (false, false) => {
                self.phase = Phase::Draining;
                self.deadline = Some(Instant::now() + LINGER);
            }
        }
        Ok(())
    }

    fn next_exchange(&mut self) {
        self.phase = Phase::Idle;
        self.deadline = self.settings.idle_timeout.map(|timeout| Instant::now() + timeout);
    }

    fn linger(&mut self) {
        self.phase = Phase::Lingering;
        self.deadline = Some(Instant::now() + LINGER);
    }

    fn failed(&mut self, kind: StreamErrorKind) -> StreamError {
        self.phase = Phase::Closed;
        StreamError::downstream(kind)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The peer must not take an unfinished response for a finished one.
        let mut shared = self.shared.borrow_mut();
        if self.phase == Phase::Busy && shared.writer != Some(BodyWriter::End) {
            shared.transport.abort();
        }
    }
}

impl Shared {
    /// Ready once the halves are dropped and the response has left completely.
    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorKind>> {
        if self.halves > 0 {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.broken || self.writer != Some(BodyWriter::End) {
            self.transport.abort();
            return Poll::Ready(Err(StreamErrorKind::Cancelled));
        }
        self.transport
            .poll_flush(cx)
            .map_err(|error| StreamErrorKind::Io(error.kind()))
    }

    /// Reads the rest of a request for nobody; whether its end came within the bound.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut read = self.transport.input.len();
        loop {
            match self.reader.next(&mut self.transport.input) {
                Ok(Some(BodyEvent::End)) => return Poll::Ready(true),
                Ok(Some(BodyEvent::Data(_) | BodyEvent::Trailers(_))) => {}
                Ok(None) if read > DRAINED => return Poll::Ready(false),
                Ok(None) => match ready!(self.transport.poll_fill(cx)) {
                    Ok(more @ 1..) => read += more,
                    Ok(0) | Err(_) => return Poll::Ready(false),
                },
                Err(_) => return Poll::Ready(false),
            }
        }
    }

    /// Says that we send no more, and reads until the peer says so too.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.transport.poll_shutdown(cx)).is_err() {
            return Poll::Ready(());
        }
        loop {
            self.transport.input.clear();
            match ready!(self.transport.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

/// `None` after the deadline.
async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
