//! The bytes of one HTTP/1 connection in both directions: one read buffer, one write in flight.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::http::h1::encode::Wrapped;
use crate::http::io::Io;

/// How much is read at once, and how much is read ahead of who wants it.
pub(super) const READ: usize = 16 << 10;
/// Larger write buffers are given back.
const KEPT_OUT: usize = 64 << 10;

/// Buffers around an [`Io`].
pub(super) struct Transport {
    io: Io,
    /// Came in and was not read yet.
    pub(super) input: BytesMut,
    /// The peer will send no more.
    pub(super) ended: bool,
    out: Vec<u8>,
    out_at: usize,
    body: Bytes,
    after: &'static [u8],
}

impl Transport {
    pub(super) fn new(io: Io, input: BytesMut) -> Self {
        Self {
            io,
            input,
            ended: false,
            out: Vec::new(),
            out_at: 0,
            body: Bytes::new(),
            after: b"",
        }
    }

    /// Reads once; the number of bytes, zero at the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        if self.input.capacity() - self.input.len() < READ / 4 {
            self.input.reserve(READ);
        }
        // `read_buf` keeps nothing between polls, so a new future each time loses nothing.
        let read = ready!(pin!(self.io.read_buf(&mut self.input)).poll(cx))?;
        self.ended = read == 0;
        Poll::Ready(Ok(read))
    }

    /// Where heads and chunk sizes are written to. What is in `body` must have left before.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.body.is_empty() && self.after.is_empty());
        &mut self.out
    }

    /// Whether a new piece of body can be put behind what waits.
    pub(super) fn has_room(&self) -> bool {
        self.body.is_empty() && self.after.is_empty()
    }

    /// Whether nothing waits.
    pub(super) fn is_flushed(&self) -> bool {
        self.out.is_empty() && self.has_room()
    }

    /// Puts a piece of body behind what waits.
    pub(super) fn put(&mut self, bytes: Bytes, wrapped: Wrapped) {
        if wrapped.sent {
            self.body = bytes;
        }
        self.after = wrapped.after;
    }

    /// Writes all that waits, in as few calls as the peer allows.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let head = &self.out[self.out_at..];
            if head.is_empty() && self.body.is_empty() && self.after.is_empty() {
                self.out_at = 0;
                self.out.clear();
                if self.out.capacity() > KEPT_OUT {
                    self.out = Vec::new();
                }
                return Pin::new(&mut self.io).poll_flush(cx);
            }
            let slices = [
                IoSlice::new(head),
                IoSlice::new(&self.body),
                IoSlice::new(self.after),
            ];
            let mut written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let from_head = written.min(head.len());
            self.out_at += from_head;
            written -= from_head;
            let from_body = written.min(self.body.len());
            self.body.advance(from_body);
            self.after = &self.after[written - from_body..];
        }
    }

    /// Says that we send no more.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Makes sure that the peer cannot take the end of the connection for the end of a message.
    pub(super) fn abort(&mut self) {
        self.out.clear();
        self.out_at = 0;
        self.body = Bytes::new();
        self.after = b"";
        // Fails only for a socket that is closed already.
        drop(self.io.tcp().set_zero_linger());
    }
}
