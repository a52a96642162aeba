//! The two halves of an exchange with a downstream over HTTP/1. Both are used from one task.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::http::error::{StreamError, StreamErrorKind, Unsendable};
use crate::http::h1::body::BodyEvent;
use crate::http::h1::encode::{self, BodyWriter, ResponseContext};
use crate::http::h1::server::Shared;
use crate::http::h1::transport::READ;
use crate::http::headers::Headers;
use crate::http::message::{Frame, Protocol, ResponseHead};

/// Reads what follows a request head.
pub(crate) struct RequestBody {
    shared: Rc<RefCell<Shared>>,
}

/// Writes the answer.
pub(crate) struct ResponseWriter {
    shared: Rc<RefCell<Shared>>,
}

impl RequestBody {
    pub(super) fn new(shared: &Rc<RefCell<Shared>>) -> Self {
        Self {
            shared: Rc::clone(shared),
        }
    }

    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>, StreamError> {
        poll_fn(|cx| self.shared.borrow_mut().poll_frame(cx))
            .await
            .map_err(StreamError::downstream)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.shared.borrow_mut().half_is_back();
    }
}

impl ResponseWriter {
    pub(super) fn new(shared: &Rc<RefCell<Shared>>) -> Self {
        Self {
            shared: Rc::clone(shared),
        }
    }

    pub(crate) async fn informational(&mut self, head: &ResponseHead) -> Result<(), StreamError> {
        self.make_room().await?;
        {
            let mut shared = self.shared.borrow_mut();
            if shared.protocol == Protocol::Http10 || shared.writer.is_some() {
                return Ok(());
            }
            encode::informational(shared.transport.out(), head).map_err(unsendable)?;
            shared.owes_continue &= head.status() != Some(100);
        }
        self.flush().await
    }

    pub(crate) async fn head(&mut self, head: &ResponseHead, end: bool) -> Result<(), StreamError> {
        self.make_room().await?;
        self.shared
            .borrow_mut()
            .write_head(head, end)
            .map_err(unsendable)?;
        if end { self.flush().await } else { Ok(()) }
    }

    pub(crate) async fn data(&mut self, bytes: Bytes, end: bool) -> Result<(), StreamError> {
        self.make_room().await?;
        self.shared
            .borrow_mut()
            .write_data(bytes, end)
            .map_err(unsendable)?;
        self.flush().await
    }

    pub(crate) async fn trailers(&mut self, trailers: &Headers) -> Result<(), StreamError> {
        self.make_room().await?;
        self.shared
            .borrow_mut()
            .write_trailers(trailers)
            .map_err(unsendable)?;
        self.flush().await
    }

    pub(crate) async fn flush(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| self.shared.borrow_mut().poll_flush(cx))
            .await
            .map_err(StreamError::downstream)
    }

    pub(crate) fn reset(&mut self) {
        self.shared.borrow_mut().broken = true;
    }

    pub(crate) async fn gone(&mut self) -> StreamError {
        StreamError::downstream(poll_fn(|cx| self.shared.borrow_mut().poll_gone(cx)).await)
    }

    /// A write that was cancelled has left its piece behind: it goes first.
    async fn make_room(&mut self) -> Result<(), StreamError> {
        if self.shared.borrow().transport.has_room() {
            Ok(())
        } else {
            self.flush().await
        }
    }
}

impl Drop for ResponseWriter {
    fn drop(&mut self) {
        self.shared.borrow_mut().half_is_back();
    }
}

fn unsendable(reason: Unsendable) -> StreamError {
    StreamError::downstream(StreamErrorKind::Unsendable(reason))
}

impl Shared {
    fn half_is_back(&mut self) {
        self.halves = self.halves.saturating_sub(1);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, StreamErrorKind>> {
        loop {
            if self.broken {
                return Poll::Ready(Err(StreamErrorKind::Cancelled));
            }
            match self.reader.next(&mut self.transport.input) {
                Ok(Some(BodyEvent::Data(bytes))) => return Poll::Ready(Ok(Some(Frame::Data(bytes)))),
                Ok(Some(BodyEvent::Trailers(_))) if !self.passes_trailers => continue,
                Ok(Some(BodyEvent::Trailers(fields))) => {
                    return Poll::Ready(Ok(Some(Frame::Trailers(fields))));
                }
                Ok(Some(BodyEvent::End)) => return Poll::Ready(Ok(None)),
                Ok(None) => {}
                Err(reason) => {
                    self.close = true;
                    return Poll::Ready(Err(StreamErrorKind::Malformed(reason)));
                }
            }
            if self.owes_continue && self.writer.is_none() && self.transport.has_room() {
                self.owes_continue = false;
                self.transport
                    .out()
                    .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            // A full socket must not keep us from reading: the peer may be waiting for just that.
            if let Poll::Ready(Err(error)) = self.transport.poll_flush(cx) {
                return Poll::Ready(Err(self.fails(&error)));
            }
            match ready!(self.transport.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) => {
                    self.close = true;
                    return Poll::Ready(Err(StreamErrorKind::Closed));
                }
                Err(error) => return Poll::Ready(Err(self.fails(&error))),
            }
        }
    }

    fn write_head(&mut self, head: &ResponseHead, end: bool) -> Result<(), Unsendable> {
        if self.writer.is_some() {
            return Err(Unsendable::AfterEnd);
        }
        // A client that waits for `100 Continue` will send its body or not: nobody can tell. And the rest of a
        // request that was answered early may never come.
        let close = self.close || self.owes_continue || (end && !self.reader.is_end());
        let context = ResponseContext {
            protocol: self.protocol,
            to_head: self.to_head,
            close,
        };
        let writer = encode::response(self.transport.out(), head, end, context)?;
        self.close = close || writer == BodyWriter::UntilClose;
        self.writer = Some(writer);
        Ok(())
    }

    fn write_data(&mut self, bytes: Bytes, end: bool) -> Result<(), Unsendable> {
        let writer = self.writer.as_mut().ok_or(Unsendable::Missing(":status"))?;
        let wrapped = writer.data(self.transport.out(), bytes.len(), end)?;
        self.transport.put(bytes, wrapped);
        Ok(())
    }

    fn write_trailers(&mut self, trailers: &Headers) -> Result<(), Unsendable> {
        let writer = self.writer.as_mut().ok_or(Unsendable::Missing(":status"))?;
        let none = Headers::new();
        let trailers = if self.passes_trailers { trailers } else { &none };
        writer.trailers(self.transport.out(), trailers)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorKind>> {
        if self.broken {
            return Poll::Ready(Err(StreamErrorKind::Cancelled));
        }
        ready!(self.transport.poll_flush(cx))
            .map_err(|error| self.fails(&error))
            .into()
    }

    /// Reads ahead within one buffer: that is the only way to see the end of the connection.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<StreamErrorKind> {
        if let Err(kind) = ready!(self.poll_flush(cx)) {
            return Poll::Ready(kind);
        }
        loop {
            if self.transport.ended {
                self.close = true;
                return Poll::Ready(StreamErrorKind::Closed);
            }
            if self.transport.input.len() >= READ {
                return Poll::Pending;
            }
            match ready!(self.transport.poll_fill(cx)) {
                Ok(_) => {}
                Err(error) => return Poll::Ready(self.fails(&error)),
            }
        }
    }

    fn fails(&mut self, error: &io::Error) -> StreamErrorKind {
        self.broken = true;
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => StreamErrorKind::Closed,
            kind => StreamErrorKind::Io(kind),
        }
    }
}
