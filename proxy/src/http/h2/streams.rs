//! What both sides of HTTP/2 share: reading and writing the frames of one stream.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};

use crate::http::error::{Malformed, ResetReason, Side, StreamError, StreamErrorKind, Unsendable};
use crate::http::h2::convert::{trailers_in, trailers_out};
use crate::http::headers::Headers;
use crate::http::message::Frame;
use crate::http::settings::Limits;

/// Reads body and trailers of one stream. Bytes count against the peer's window until the next piece is asked for.
pub(super) struct Reader {
    stream: RecvStream,
    side: Side,
    limits: Limits,
    /// Handed out and not yet given back to the window.
    unreleased: usize,
    data_ended: bool,
}

impl Reader {
    pub(super) fn new(stream: RecvStream, side: Side, limits: Limits) -> Self {
        Self {
            stream,
            side,
            limits,
            unreleased: 0,
            data_ended: false,
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(super) async fn frame(&mut self) -> Result<Option<Frame>, StreamError> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, StreamError>> {
        let side = self.side;
        if self.unreleased > 0 {
            let released = std::mem::take(&mut self.unreleased);
            // Fails only where the stream has ended: then there is no window any more.
            let _ = self.stream.flow_control().release_capacity(released);
        }
        while !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    self.unreleased = bytes.len();
                    return Poll::Ready(Ok(Some(Frame::Data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(Err(failure(side, &error))),
                None => self.data_ended = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(map)) => {
                let trailers = trailers_in(&map, &self.limits);
                Poll::Ready(
                    trailers
                        .map(|fields| Some(Frame::Trailers(fields)))
                        .map_err(|reason| StreamError {
                            side,
                            kind: StreamErrorKind::Malformed(reason),
                        }),
                )
            }
            Ok(None) => Poll::Ready(Ok(None)),
            Err(error) => Poll::Ready(Err(failure(side, &error))),
        }
    }
}

/// Writes body and trailers of one stream.
pub(super) struct Writer {
    stream: SendStream<Bytes>,
    side: Side,
    announced: Option<u64>,
    written: u64,
    bodiless: bool,
    pub(super) ended: bool,
}

impl Writer {
    pub(super) fn new(stream: SendStream<Bytes>, side: Side, announced: Option<u64>) -> Self {
        Self {
            stream,
            side,
            announced,
            written: 0,
            bodiless: false,
            ended: false,
        }
    }

    /// What is written is dropped: the message cannot have a body.
    pub(super) fn without_body(mut self) -> Self {
        self.bodiless = true;
        self
    }

    pub(super) async fn data(&mut self, mut bytes: Bytes, end: bool) -> Result<(), StreamError> {
        if self.ended {
            return if bytes.is_empty() && end {
                Ok(())
            } else {
                Err(self.unsendable(Unsendable::AfterEnd))
            };
        }
        if self.bodiless {
            bytes.clear();
        } else {
            self.check_length(bytes.len() as u64, end)?;
        }
        while !bytes.is_empty() {
            let room = self.room(bytes.len()).await?;
            let piece = bytes.split_to(room.min(bytes.len()));
            self.written += piece.len() as u64;
            self.send(piece, end && bytes.is_empty())?;
        }
        if end && !self.ended {
            self.send(bytes, true)?;
        }
        Ok(())
    }

    pub(super) fn trailers(&mut self, trailers: &Headers) -> Result<(), StreamError> {
        let map = trailers_out(trailers).map_err(|reason| self.unsendable(reason))?;
        if self.ended {
            return Err(self.unsendable(Unsendable::AfterEnd));
        }
        if !self.bodiless {
            self.check_length(0, true)?;
        }
        self.stream
            .send_trailers(map)
            .map_err(|error| failure(self.side, &error))?;
        self.ended = true;
        Ok(())
    }

    pub(super) fn reset(&mut self, reason: ResetReason) {
        self.ended = true;
        self.stream.send_reset(Reason::from(reason.0));
    }

    /// Ready once the peer has reset the stream or the connection is gone.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        Poll::Ready(reset(self.side, ready!(self.stream.poll_reset(cx))))
    }

    fn check_length(&self, more: u64, end: bool) -> Result<(), StreamError> {
        let written = self.written + more;
        match self.announced {
            Some(announced) if written > announced || (end && written < announced) => {
                Err(self.unsendable(Unsendable::Length { announced, written }))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn send(&mut self, bytes: Bytes, end: bool) -> Result<(), StreamError> {
        self.stream
            .send_data(bytes, end)
            .map_err(|error| failure(self.side, &error))?;
        self.ended = end;
        Ok(())
    }

    /// Waits for room in the peer's window and in our send buffer.
    async fn room(&mut self, wanted: usize) -> Result<usize, StreamError> {
        self.stream.reserve_capacity(wanted);
        poll_fn(|cx| {
            while self.stream.capacity() == 0 {
                if let Poll::Ready(error) = self.poll_reset(cx) {
                    return Poll::Ready(Err(error));
                }
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(failure(self.side, &error))),
                    None => {
                        return Poll::Ready(Err(StreamError {
                            side: self.side,
                            kind: StreamErrorKind::Closed,
                        }));
                    }
                }
            }
            Poll::Ready(Ok(self.stream.capacity()))
        })
        .await
    }

    fn unsendable(&self, reason: Unsendable) -> StreamError {
        StreamError {
            side: self.side,
            kind: StreamErrorKind::Unsendable(reason),
        }
    }
}

/// What a reset, or the end of the connection, means.
pub(super) fn reset(side: Side, reason: Result<Reason, h2::Error>) -> StreamError {
    match reason {
        Ok(reason) => StreamError {
            side,
            kind: by_peer(reason),
        },
        Err(error) => failure(side, &error),
    }
}

/// What an error of the `h2` crate means.
pub(super) fn failure(side: Side, error: &h2::Error) -> StreamError {
    let kind = match (error.get_io(), error.reason()) {
        (Some(error), _) => match error.kind() {
            std::io::ErrorKind::BrokenPipe
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::UnexpectedEof => StreamErrorKind::Closed,
            kind => StreamErrorKind::Io(kind),
        },
        (None, Some(Reason::NO_ERROR)) if error.is_go_away() => StreamErrorKind::Refused,
        (None, Some(reason)) if error.is_remote() => by_peer(reason),
        // The crate found fault with what the peer sent.
        (None, Some(_)) => StreamErrorKind::Malformed(Malformed::Frames),
        (None, None) => StreamErrorKind::Closed,
    };
    StreamError { side, kind }
}

fn by_peer(reason: Reason) -> StreamErrorKind {
    match reason {
        Reason::REFUSED_STREAM => StreamErrorKind::Refused,
        reason => StreamErrorKind::Reset(ResetReason(reason.into())),
    }
}
