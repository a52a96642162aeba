//! The way of a response: from the upstream into the chain, and from there to the downstream.

use std::time::Instant;

use bytes::Bytes;
use leno_sdk::host::Direction;

use super::tries::{Answer, millis, pumped, upstream_failure};
use super::{Ending, Story};
use crate::chain::{Flow, Step};
use crate::forwarding;
use crate::http::error::{ResetReason, StreamError, StreamErrorKind, Unsendable};
use crate::http::message::{Frame, ResponseHead};
use crate::http::server::ResponseWriter;
use crate::reply::{Dialect, Flags, Reason, Reply, decimal};

impl Story {
    /// The head of the upstream's response enters the chain.
    pub(super) fn begin_response(&self, head: ResponseHead, answer: &Answer<'_>) -> Step {
        let now = Instant::now();
        self.deadlines.moved(now);
        self.response_begin.set(Some(now));
        let stats = answer.cluster.stats();
        stats.response(head.status().unwrap_or(0));
        {
            let mut facts = self.state.facts_mut();
            facts.response_details = "via_upstream".into();
            facts.response_code = head.status();
        }
        let start = self.state.facts().start;
        let sent = self.deadlines.request_end().map_or(now, |end| start + end);
        let took = millis(now.saturating_duration_since(sent));
        stats.time.record(millis(now.duration_since(start)));
        let mut headers = head.headers;
        if !self.http.suppress_envoy_headers {
            headers.set(b"x-envoy-upstream-service-time", decimal(took).as_slice());
        }
        if let Some(route) = &*self.route.borrow() {
            if route.tells_attempts().response {
                let attempts = u64::from(self.state.facts().attempts);
                headers.set(b"x-envoy-attempt-count", decimal(attempts).as_slice());
            }
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
                let reason = if let StreamErrorKind::Unsendable(why) = &error.kind {
                    self.unsendable_request(why)
                } else {
                    Reason::UpstreamBrokeOff(upstream_failure(&error))
                };
                self.answer(&Reply::to(&reason))
            }
        }
    }

    /// What filters made of the request cannot be sent.
    pub(super) fn unsendable_request(&self, why: &Unsendable) -> Reason {
        match why {
            Unsendable::Length { .. } | Unsendable::AfterEnd => {
                tracing::warn!(
                    exchange = self.state.id(),
                    %why,
                    "a request is cut off: filters that change a body remove `content-length` first, or hold the \
                     headers until the body is complete"
                );
                Reason::BadRequestBody(why.to_string())
            }
            Unsendable::FieldName(_)
            | Unsendable::FieldValue(_)
            | Unsendable::Missing(_)
            | Unsendable::Invalid(_) => Reason::BadRequestHead(why.to_string()),
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
            self.head_written.set(true);
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

    /// A message that leaves as a whole says its true length, whatever filters made of its body. One whose head
    /// goes ahead keeps what was announced: the writer holds its body to that. A message that ends with its head
    /// keeps it too: it may be the answer to `HEAD`.
    pub(super) fn correct_length(&self, direction: Direction, flow: &Flow) {
        if !flow.headers || !flow.end || flow.ends_with_headers() {
            return;
        }
        let mut headers = self.state.headers_mut(direction);
        if headers.contains(b"content-length") {
            headers.set(b"content-length", decimal(flow.data.len() as u64).as_slice());
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

    /// What filters or the upstream made of the response cannot be sent: the client hears why, or sees it cut off.
    pub(super) async fn answer_unsendable(&self, writer: &mut ResponseWriter, why: String) -> Ending {
        if self.head_written.get() {
            tracing::warn!(
                exchange = self.state.id(),
                why,
                "a response is cut off: filters that change a body remove `content-length` first, or hold the \
                 headers until the body is complete"
            );
            self.note(&Reply::to(&Reason::BadResponseBody));
            writer.reset(ResetReason::INTERNAL_ERROR);
            return Ending::Reset;
        }
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
            cluster.stats().response(504);
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
            // What the upstream does not take shows in the response sooner or later; until then it is worth reading.
            sent = pumped(pump) => {
                *pump = None;
                if let Err(error) = sent && matches!(error.kind, StreamErrorKind::Unsendable(_)) {
                    return (Err(error), true);
                }
            }
            frame = reader.frame() => {
                let ended = !matches!(frame, Ok(Some(Frame::Data(_))));
                return (frame, ended);
            }
        }
    }
}
