//! What turns an exchange: answers and resets that filters ask for, bodies that outgrow their buffer, and guests
//! that fail.

use std::borrow::Cow;

use leno_model::filter::FailurePolicy;
use leno_sdk::host::{Direction, LocalReply};

use crate::chain::Health;
use crate::chain::run::{Progress, Run};
use crate::exchange::Wish;
use crate::exchange::seat::{Gate, Half};
use crate::http::headers::Headers;
use crate::reply::{Dialect, Reason, Reply};

impl Run {
    /// Does what filters have asked for outside of the callbacks that were just made.
    pub(super) fn settle(&mut self) {
        while self.state.take_dirty() && !self.reset {
            self.grant_wish();
            for index in 0..self.filters.len() {
                let failed = self.state.seat(index).failed.get();
                if failed && self.filters[index].health == Health::Good {
                    self.apply_policy(index);
                }
                for direction in [Direction::Request, Direction::Response] {
                    let mut half = self.half(direction, index);
                    let resumed = std::mem::take(&mut half.resumed) && half.gate != Gate::Open;
                    drop(half);
                    if resumed {
                        self.release(direction, index);
                    }
                }
            }
        }
    }

    /// Whether a filter has asked for an end; then it is done.
    pub(super) fn grant_wish(&mut self) -> bool {
        match self.state.take_wish() {
            None => false,
            Some((_, Wish::Reset)) => {
                self.reset(Reply::to(&Reason::FilterReset).details);
                true
            }
            Some((_, Wish::Reply(_))) if self.replied => false,
            Some((filter, Wish::Reply(reply))) => {
                // Filters that the request has not reached must not hear of a response.
                let from = match self.request.reached.checked_sub(1) {
                    Some(deepest) => self.index(Direction::Response, filter.min(deepest)),
                    None => self.filters.len(),
                };
                let own = usize::from(self.filters[filter].health != Health::Good);
                self.answer(from + own, &from_filter(reply));
                true
            }
        }
    }

    pub(super) fn proxy_reply(&mut self, reply: &Reply) {
        let from = self.filters.len() - self.request.reached;
        self.answer(from, reply);
    }

    pub(super) fn overflow(&mut self, direction: Direction, index: usize) {
        let reason = match direction {
            Direction::Request => Reason::RequestTooLarge,
            Direction::Response => Reason::ResponseTooLarge,
        };
        self.answer(self.index(Direction::Response, index), &Reply::to(&reason));
    }

    /// The guest of a filter has failed. Whether the exchange goes on without the filter; then what it holds in the
    /// direction of a running callback is left to the caller.
    pub(super) fn apply_policy(&mut self, index: usize) -> bool {
        self.filters[index].health = Health::Skipped;
        match self.filters[index].slot.policy() {
            FailurePolicy::Open => {
                for direction in [Direction::Request, Direction::Response] {
                    let mut half = self.half(direction, index);
                    half.resumed = half.gate != Gate::Open;
                }
                self.state.mark();
                true
            }
            FailurePolicy::Closed | FailurePolicy::Reload => {
                let behind = self.index(Direction::Response, index) + 1;
                self.answer(behind, &Reply::to(&Reason::FilterFailed));
                false
            }
        }
    }

    /// The upstream's response has begun.
    pub(super) fn begin_response(&mut self, headers: Headers) {
        self.state.set_headers(Direction::Response, headers);
    }

    /// Answers from a position of the response on: not again to filters that have seen a response.
    fn answer(&mut self, from: usize, reply: &Reply) {
        if self.reset {
            return;
        }
        if self.response.sent {
            return self.reset(reply.details.clone());
        }
        let from = from.max(self.response.reached);
        self.replied = true;
        self.drop_messages();
        self.response = Progress {
            ended: true,
            reached: self.response.reached,
            ..Progress::default()
        };
        let mut headers = Headers::new();
        let body = reply.write(Dialect::of(&self.state.headers(Direction::Request)), &mut headers);
        self.state.set_headers(Direction::Response, headers);
        self.state.set_trailers(Direction::Response, None);
        {
            let mut facts = self.state.facts_mut();
            facts.response_details = reply.details.clone();
            facts.response_flags |= u64::from(reply.flags.bits());
        }
        self.headers_then_body(from, body);
    }

    fn headers_then_body(&mut self, from: usize, body: bytes::Bytes) {
        let epoch = self.epoch;
        self.headers(Direction::Response, from, body.is_empty());
        if epoch == self.epoch && !body.is_empty() {
            self.data(Direction::Response, from, body.into(), true);
        }
    }

    fn reset(&mut self, details: Cow<'static, str>) {
        if !self.reset {
            self.reset = true;
            self.drop_messages();
            self.state.facts_mut().response_details = details;
        }
    }

    /// Whatever stands at a filter or waits to go out is not wanted any more.
    fn drop_messages(&mut self) {
        self.epoch += 1;
        for index in 0..self.filters.len() {
            for direction in [Direction::Request, Direction::Response] {
                *self.half(direction, index) = Half::default();
            }
        }
        self.request.out = crate::chain::Flow::default();
        self.response.out = crate::chain::Flow::default();
    }
}

fn from_filter(reply: LocalReply) -> Reply {
    let details: String = reply.details.split_whitespace().collect::<Vec<_>>().join("_");
    Reply {
        status: reply.status,
        headers: reply
            .headers
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        body: reply.body.into(),
        grpc_status: reply.grpc_status,
        details: if details.is_empty() {
            Cow::Borrowed("local_reply")
        } else {
            Cow::Owned(details)
        },
        ..Reply::default()
    }
}
