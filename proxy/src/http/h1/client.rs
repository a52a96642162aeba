//! The upstream side of an HTTP/1 connection: one exchange after the other, all in the caller's task.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};

use crate::http::error::{Malformed, StreamError, StreamErrorKind, Unsendable};
use crate::http::h1::body::{BodyEvent, BodyReader};
use crate::http::h1::encode::{self, BodyWriter};
use crate::http::h1::parse::HeadReader;
use crate::http::h1::transport::Transport;
use crate::http::headers::Headers;
use crate::http::io::Io;
use crate::http::message::{Frame, RequestHead, ResponseHead};
use crate::http::settings::{ClientSettings, Limits};

/// So many 1xx heads may come before the final one. Arbitrary; two are seen in practice.
const INFORMATIONAL: u8 = 16;

/// An HTTP/1 connection with an upstream.
pub(crate) struct Connection {
    shared: Rc<RefCell<Shared>>,
}

/// Writes a request.
pub(crate) struct RequestWriter {
    shared: Rc<RefCell<Shared>>,
}

/// Reads the response.
pub(crate) struct ResponseReader {
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    transport: Transport,
    limits: Limits,
    passes_trailers: bool,
    heads: HeadReader,
    /// `None` until the final head was read.
    reader: Option<BodyReader>,
    writer: BodyWriter,
    to_head: bool,
    informational: u8,
    /// Another exchange may follow.
    keep_alive: bool,
    /// The connection failed, or an exchange was given up.
    broken: bool,
    /// Writing failed. The response may still be there to read.
    deaf: Option<StreamErrorKind>,
    halves: u8,
}

impl Connection {
    pub(crate) fn new(io: Io, settings: &ClientSettings) -> Self {
        let shared = Shared {
            transport: Transport::new(io, BytesMut::new()),
            limits: settings.h1_limits,
            passes_trailers: settings.h1_trailers,
            heads: HeadReader::default(),
            reader: None,
            writer: BodyWriter::End,
            to_head: false,
            informational: 0,
            keep_alive: true,
            broken: false,
            deaf: None,
            halves: 0,
        };
        Self {
            shared: Rc::new(RefCell::new(shared)),
        }
    }

    pub(crate) fn open(
        &mut self,
        head: &RequestHead,
        end: bool,
    ) -> Result<(RequestWriter, ResponseReader), StreamError> {
        let mut shared = self.shared.borrow_mut();
        if shared.halves > 0 || shared.broken || !shared.keep_alive {
            return Err(StreamError::upstream(StreamErrorKind::Closed));
        }
        shared.writer = encode::request(shared.transport.out(), head, end).map_err(unsendable)?;
        shared.heads = HeadReader::default();
        shared.reader = None;
        shared.to_head = head.method() == b"HEAD";
        shared.informational = 0;
        shared.halves = 2;
        Ok((
            RequestWriter {
                shared: Rc::clone(&self.shared),
            },
            ResponseReader {
                shared: Rc::clone(&self.shared),
            },
        ))
    }

    pub(crate) fn is_reusable(&self) -> bool {
        let mut shared = self.shared.borrow_mut();
        let quiet =
            shared.halves == 0 && !shared.broken && shared.keep_alive && shared.transport.input.is_empty();
        // Whatever a peer says before it is asked, the connection is of no use any more.
        quiet
            && shared
                .transport
                .poll_fill(&mut Context::from_waker(Waker::noop()))
                .is_pending()
    }
}

impl RequestWriter {
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
            .map_err(StreamError::upstream)
    }

    pub(crate) fn reset(&mut self) {
        self.shared.borrow_mut().break_off();
    }

    async fn make_room(&mut self) -> Result<(), StreamError> {
        if self.shared.borrow().transport.has_room() {
            Ok(())
        } else {
            self.flush().await
        }
    }
}

impl Drop for RequestWriter {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.halves -= 1;
        if shared.writer != BodyWriter::End || !shared.transport.is_flushed() {
            // Dropped at the end of an exchange the bytes may still be on their way; the reader sends them.
            let complete = shared.writer == BodyWriter::End && shared.halves > 0;
            if !complete {
                shared.break_off();
            }
        }
    }
}

impl ResponseReader {
    pub(crate) async fn head(&mut self) -> Result<ResponseHead, StreamError> {
        poll_fn(|cx| self.shared.borrow_mut().poll_head(cx))
            .await
            .map_err(StreamError::upstream)
    }

    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>, StreamError> {
        poll_fn(|cx| self.shared.borrow_mut().poll_frame(cx))
            .await
            .map_err(StreamError::upstream)
    }

    pub(crate) fn is_end(&self) -> bool {
        self.shared
            .borrow()
            .reader
            .as_ref()
            .is_some_and(BodyReader::is_end)
    }
}

impl Drop for ResponseReader {
    fn drop(&mut self) {
        let ended = self.is_end();
        let mut shared = self.shared.borrow_mut();
        shared.halves -= 1;
        if !ended || (shared.halves == 0 && !shared.transport.is_flushed()) {
            shared.break_off();
        }
    }
}

fn unsendable(reason: Unsendable) -> StreamError {
    StreamError::upstream(StreamErrorKind::Unsendable(reason))
}

impl Shared {
    fn break_off(&mut self) {
        self.broken = true;
        self.transport.abort();
    }

    fn write_data(&mut self, bytes: Bytes, end: bool) -> Result<(), Unsendable> {
        let wrapped = self.writer.data(self.transport.out(), bytes.len(), end)?;
        self.transport.put(bytes, wrapped);
        Ok(())
    }

    fn write_trailers(&mut self, trailers: &Headers) -> Result<(), Unsendable> {
        let none = Headers::new();
        let trailers = if self.passes_trailers { trailers } else { &none };
        self.writer.trailers(self.transport.out(), trailers)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorKind>> {
        if self.broken {
            return Poll::Ready(Err(StreamErrorKind::Cancelled));
        }
        if let Some(kind) = &self.deaf {
            return Poll::Ready(Err(kind.clone()));
        }
        ready!(self.transport.poll_flush(cx)).map_err(|error| {
            let kind = failure(&error);
            self.deaf = Some(kind.clone());
            self.keep_alive = false;
            kind
        })?;
        Poll::Ready(Ok(()))
    }

    /// Sends what waits, if the peer still listens, and reads once.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, StreamErrorKind>> {
        if self.broken {
            return Poll::Ready(Err(StreamErrorKind::Cancelled));
        }
        // That writing fails or stalls says nothing about what there is to read.
        let _ = self.poll_flush(cx);
        let read = ready!(self.transport.poll_fill(cx)).map_err(|error| {
            self.broken = true;
            failure(&error)
        })?;
        Poll::Ready(Ok(read))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, StreamErrorKind>> {
        loop {
            let input = &self.transport.input;
            // Nothing was read yet: do not take an empty buffer for a head.
            let found = if input.is_empty() {
                Ok(None)
            } else {
                self.heads.response(input, &self.limits, self.to_head)
            };
            match found {
                Ok(Some((start, length))) => {
                    self.transport.input.advance(length);
                    if start.head.is_informational() {
                        self.informational += 1;
                        if self.informational > INFORMATIONAL {
                            return Poll::Ready(Err(self.malformed(Malformed::Informational)));
                        }
                    } else {
                        self.keep_alive &= start.keep_alive;
                        self.reader = Some(BodyReader::new(start.framing, self.limits));
                    }
                    return Poll::Ready(Ok(start.head));
                }
                Ok(None) => {}
                Err(reason) => return Poll::Ready(Err(self.malformed(reason))),
            }
            if ready!(self.poll_more(cx))? == 0 {
                self.broken = true;
                return Poll::Ready(Err(StreamErrorKind::Closed));
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, StreamErrorKind>> {
        loop {
            let Some(reader) = &mut self.reader else {
                return Poll::Ready(Err(StreamErrorKind::Cancelled));
            };
            match reader.next(&mut self.transport.input) {
                Ok(Some(BodyEvent::Data(bytes))) => return Poll::Ready(Ok(Some(Frame::Data(bytes)))),
                Ok(Some(BodyEvent::Trailers(_))) if !self.passes_trailers => continue,
                Ok(Some(BodyEvent::Trailers(fields))) => {
                    return Poll::Ready(Ok(Some(Frame::Trailers(fields))));
                }
                Ok(Some(BodyEvent::End)) => {
                    // A response that is over before its request leaves the connection in between.
                    self.keep_alive &= self.writer == BodyWriter::End;
                    return Poll::Ready(Ok(None));
                }
                Ok(None) => {}
                Err(reason) => return Poll::Ready(Err(self.malformed(reason))),
            }
            if ready!(self.poll_more(cx))? == 0 {
                let ends = self.reader.as_mut().is_some_and(BodyReader::ends_with_connection);
                if !ends {
                    // Its message is not what its head announced (RFC 9112 §8).
                    return Poll::Ready(Err(self.malformed(Malformed::BodyLength)));
                }
            }
        }
    }

    fn malformed(&mut self, reason: Malformed) -> StreamErrorKind {
        self.broken = true;
        StreamErrorKind::Malformed(reason)
    }
}

fn failure(error: &io::Error) -> StreamErrorKind {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => StreamErrorKind::Closed,
        kind => StreamErrorKind::Io(kind),
    }
}
