//! The way of a request: from the downstream into the chain, and from there to [`Outbound`](super::outbound::Outbound).

use std::time::Instant;

use bytes::Bytes;
use leno_sdk::host::Direction;

use super::Story;
use crate::chain::Step;
use crate::http::error::{StreamError, StreamErrorKind};
use crate::http::message::Frame;
use crate::http::server::RequestBody;
use crate::reply::Reply;

impl Story {
    /// The request through the filters, piece by piece.
    pub(super) async fn request(&self, end: bool, mut body: RequestBody) -> Result<(), StreamError> {
        let direction = Direction::Request;
        let mut over = end;
        if end {
            self.deadlines.request_ended(Instant::now());
        }
        let mut step = self.chain.request_headers(end);
        loop {
            match step {
                Step::Forward(flow) => {
                    let last = flow.end;
                    self.correct_length(direction, &flow);
                    let trailers = if flow.trailers {
                        self.state.trailers(direction).clone()
                    } else {
                        None
                    };
                    self.outbound.push(flow, trailers);
                    if last {
                        return Ok(());
                    }
                }
                Step::Hold => {}
                // The response half has been woken, and tells the downstream.
                Step::Replied | Step::Reset => return Ok(()),
            }
            let room = self.outbound.has_room(self.http.buffer_limit);
            step = tokio::select! {
                biased;
                () = self.state.woken(direction) => self.chain.resumed(direction),
                () = self.outbound.taken(), if !room => Step::Hold,
                frame = body.frame(), if !over && room && self.chain.wants(direction) => {
                    match self.request_frame(frame)? {
                        Some((step, last)) => {
                            over |= last;
                            step
                        }
                        None => return Ok(()),
                    }
                }
            };
        }
    }

    /// What a frame of the request means; `None`: it was malformed, and the answer says so.
    fn request_frame(
        &self,
        frame: Result<Option<Frame>, StreamError>,
    ) -> Result<Option<(Step, bool)>, StreamError> {
        let now = Instant::now();
        self.deadlines.moved(now);
        let direction = Direction::Request;
        let step = match frame {
            Ok(Some(Frame::Data(data))) => {
                self.state.facts_mut().request_body_bytes += data.len() as u64;
                return Ok(Some((self.chain.data(direction, data, false), false)));
            }
            Ok(Some(Frame::Trailers(trailers))) => self.chain.trailers(direction, trailers),
            Ok(None) => self.chain.data(direction, Bytes::new(), true),
            Err(StreamError {
                kind: StreamErrorKind::Malformed(reason),
                ..
            }) => {
                self.http.stats.protocol_error.inc();
                self.refuse(Reply::refusing(reason));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.deadlines.request_ended(now);
        Ok(Some((step, true)))
    }
}
