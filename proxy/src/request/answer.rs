//! The way of a response: from the upstream into the chain, and from there to the downstream.

use std::time::Instant;

use bytes::Bytes;
use leno_sdk::host::Direction;

use super::tries::{Answer, millis, pumped, upstream_failure};
use super::{Ending, Story};
use crate::chain::{Flow, Step};
use crate::forwarding;
use crate::http::error::{ResetReason, StreamError};
use crate::http::message::{Frame, ResponseHead};
use crate::http::server::ResponseWriter;
use crate::reply::{Attempt, Dialect, Flags, Reason, Reply, decimal};

impl Story {
    /// The head of the upstream's response enters the chain.
    pub(super) fn begin_response(&self, head: ResponseHead, answer: &Answer<'_>) -> Step {
        let now = Instant::now();
        self.deadlines.moved(now);
        self.response_begin.set(Some(now));
        let stats = answer.cluster.stats();
        stats.response(head.status().unwrap_or(0));
        let start = self.state.facts().start;
        let sent = self.deadlines.request_end().map_or(now, |end| start + end);
        let took = millis(now.saturating_duration_since(sent));
        stats.time.record(millis(now.duration_since(start)));
        let mut headers = head.headers;
        if !self.http.suppress_envoy_headers {
            headers.set(b"x-envoy-upstream-service-time", decimal(took).as_slice());
        }
        if let Some(route) = &*self.route.borrow() {
            self.edit_response(route, &mut headers);
        }
        self.chain.response_headers(headers, answer.reader.is_end())
    }

    pub(super) fn response_frame(&self, frame: Result<Option<Frame>, StreamError>) -> Step {
        self.deadlines.moved(Instant::now());
        match frame {
            Ok(Some(Frame::Data(data))) => self.chain.data(Direction::Response, data, false),
            Ok(Some(Frame::Trailers(trailers))) => self.chain.trailers(Direction::Response, trailers),
            Ok(None) => self.chain.data(Direction::Response, Bytes::new(), true),
            Err(error) => {
                let reason = Reason::Upstream(upstream_failure(&error), Attempt::First);
                self.answer(&Reply::to(&reason))
            }
        }
    }

    /// Writes what has passed the filters.
    pub(super) async fn deliver(
        &self,
        writer: &mut ResponseWriter,
        mut flow: Flow,
    ) -> Result<(), StreamError> {
        if flow.headers {
            self.correct_length(Direction::Response, &flow);
            let head = self.final_head();
            writer.head(&head, flow.ends_with_headers()).await?;
        }
        let ends_with_data = flow.ends_with_data();
        let mut ended = false;
        while let Some(data) = flow.data.pop() {
            ended = ends_with_data && flow.data.is_empty();
            let len = data.len() as u64;
            writer.data(data, ended).await?;
            self.state.facts_mut().response_body_bytes += len;
            self.deadlines.moved(Instant::now());
        }
        if ends_with_data && !ended {
            writer.data(Bytes::new(), true).await?;
        }
        if flow.trailers {
            let trailers = self.state.trailers(Direction::Response).clone();
            writer.trailers(&trailers.unwrap_or_default()).await?;
        }
        Ok(())
    }

    /// A `content-length` that filters may have made wrong becomes the true one where that is known, and goes where
    /// it is not. A message that ends with its head keeps it: it may be the answer to `HEAD`.
    pub(super) fn correct_length(&self, direction: Direction, flow: &Flow) {
        let edits = match direction {
            Direction::Request => self.edits[0],
            Direction::Response => self.edits[1],
        };
        if !edits || !flow.headers || flow.ends_with_headers() {
            return;
        }
        let mut headers = self.state.headers_mut(direction);
        if !headers.contains(b"content-length") {
            return;
        }
        if flow.ends_with_data() {
            headers.set(b"content-length", decimal(flow.data.len() as u64).as_slice());
        } else {
            headers.remove(b"content-length");
        }
    }

    /// The response head as it goes out. The chain's copy stays for the log.
    fn final_head(&self) -> ResponseHead {
        let mut headers = self.state.headers_mut(Direction::Response);
        forwarding::finish_response(&self.http.manager, &mut headers, &self.http.clock.date());
        ResponseHead {
            headers: headers.clone(),
        }
    }

    /// What filters or the upstream made of the head cannot be sent: the client hears why.
    pub(super) async fn answer_unsendable(&self, writer: &mut ResponseWriter, why: String) -> Ending {
        let reply = Reply::to(&Reason::BadResponseHead(why));
        self.note(&reply);
        let mut head = ResponseHead::new(reply.status);
        let body = reply.write(
            Dialect::of(&self.state.headers(Direction::Request)),
            &mut head.headers,
        );
        let written = async {
            writer.head(&head, body.is_empty()).await?;
            if body.is_empty() {
                Ok(())
            } else {
                writer.data(body, true).await
            }
        };
        match written.await {
            Ok(()) => Ending::Complete,
            Err(error) => {
                writer.reset(ResetReason::INTERNAL_ERROR);
                Ending::Gone(error)
            }
        }
    }

    pub(super) fn give_up(&self, writer: &mut ResponseWriter, flag: Flags) -> Ending {
        self.flag(flag);
        writer.reset(ResetReason::INTERNAL_ERROR);
        Ending::Reset
    }

    /// Statistics of a timeout.
    pub(super) fn count_timeout(&self, reason: &Reason) {
        let cluster = self.state.facts().cluster.clone();
        if *reason == Reason::RouteTimeout
            && let Some(cluster) = cluster.and_then(|name| self.clusters.get(&name))
        {
            cluster.stats().timeout.inc();
        }
    }
}

/// The next frame of the response, while the rest of the request is sent; and whether it was the last. Cancel safe.
pub(super) async fn next_frame(
    answer: &mut Option<Answer<'_>>,
) -> (Result<Option<Frame>, StreamError>, bool) {
    let Some(Answer { pump, reader, .. }) = answer else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            biased;
            // What cannot be sent shows in the response sooner or later; until then it is worth reading.
            _ = pumped(pump) => *pump = None,
            frame = reader.frame() => {
                let ended = !matches!(frame, Ok(Some(Frame::Data(_))));
                return (frame, ended);
            }
        }
    }
}
