//! How a message moves from filter to filter.
//!
//! Positions count in the direction of the message: position 0 is the first filter for a request, and the last one
//! for a response. Headers, data and trailers each run from a position to the first filter that holds them, or out.
//! Whatever stands at a filter is in its [`Half`]; letting it go runs the three again, from the next position.

use std::cell::RefMut;
use std::rc::Rc;

use bytes::Bytes;
use leno_sdk::host::Direction;

use crate::chain::{Filter, Flow, Health, Step};
use crate::exchange::ExchangeState;
use crate::exchange::buffer::Buffer;
use crate::exchange::seat::{Gate, Half};
use crate::http::headers::Headers;

/// The state of a chain.
pub(crate) struct Run {
    pub(super) filters: Vec<Filter>,
    pub(super) state: Rc<ExchangeState>,
    pub(super) limit: usize,
    pub(super) request: Progress,
    pub(super) response: Progress,
    /// There is an answer of a filter or of the proxy.
    pub(super) replied: bool,
    pub(super) reset: bool,
    /// Grows when a message is replaced or dropped: what was under way for the old one stops.
    pub(super) epoch: u32,
}

/// How far one message is.
#[derive(Default)]
pub(super) struct Progress {
    /// Left the chain, not taken yet.
    pub(super) out: Flow,
    /// The headers have left the chain.
    pub(super) sent: bool,
    /// Its end has come in.
    pub(super) ended: bool,
    /// Headers have been at so many positions.
    pub(super) reached: usize,
}

/// What a filter means for headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// They go on.
    Go,
    /// They stay, or the exchange took another turn.
    Stop,
}

/// What a filter means for data or trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterData {
    /// They go on.
    Pass,
    /// They go on, and then the trailers that this filter has added.
    PassBeforeTrailers,
    /// They are held now, and all that is held goes on.
    Release,
    /// They stay, or the exchange took another turn.
    Stop,
}

impl Run {
    pub(super) fn new(state: Rc<ExchangeState>, limit: usize) -> Self {
        Self {
            filters: Vec::new(),
            state,
            limit,
            request: Progress::default(),
            response: Progress::default(),
            replied: false,
            reset: false,
            epoch: 0,
        }
    }

    pub(super) fn message_headers(&mut self, direction: Direction, end: bool) {
        self.progress(direction).ended |= end;
        self.headers(direction, 0, end);
    }

    pub(super) fn message_data(&mut self, direction: Direction, data: Bytes, end: bool) {
        self.progress(direction).ended |= end;
        self.data(direction, 0, data.into(), end);
    }

    pub(super) fn message_trailers(&mut self, direction: Direction, trailers: Headers) {
        self.progress(direction).ended = true;
        self.state.set_trailers(direction, Some(trailers));
        self.trailers(direction, 0);
    }

    /// Whether what comes in still matters.
    pub(super) fn takes_input(&self, direction: Direction) -> bool {
        !self.reset && !self.replied && !self.seen(direction).ended
    }

    pub(super) fn wants(&self, direction: Direction) -> bool {
        self.takes_input(direction)
            && (0..self.filters.len()).all(|index| {
                !self
                    .state
                    .seat(index)
                    .half(direction)
                    .borrow()
                    .is_full(self.limit)
            })
    }

    pub(super) fn has_news(&self, direction: Direction) -> bool {
        self.reset
            || !self.seen(direction).out.is_empty()
            || (direction == Direction::Request && self.replied)
    }

    pub(super) fn step(&mut self, direction: Direction) -> Step {
        if self.reset {
            return Step::Reset;
        }
        if direction == Direction::Request && self.replied {
            return Step::Replied;
        }
        let flow = std::mem::take(&mut self.progress(direction).out);
        if flow.is_empty() {
            Step::Hold
        } else {
            Step::Forward(flow)
        }
    }

    /// Lets go what stands at a filter: headers to the next filter, and the rest there too unless it was never
    /// shown to this one.
    pub(super) fn release(&mut self, direction: Direction, index: usize) {
        let epoch = self.epoch;
        let half = std::mem::take(&mut *self.half(direction, index));
        let position = self.index(direction, index);
        let rest = if matches!(half.gate, Gate::All(_)) {
            position
        } else {
            position + 1
        };
        let ends_with_data = half.end && !half.trailers;
        if half.headers {
            self.headers(direction, position + 1, ends_with_data && half.kept.is_empty());
        }
        if epoch == self.epoch && (!half.kept.is_empty() || (ends_with_data && !half.headers)) {
            self.data(direction, rest, half.kept, ends_with_data);
        }
        if epoch == self.epoch && half.trailers {
            self.trailers(direction, rest);
        }
    }

    pub(super) fn headers(&mut self, direction: Direction, from: usize, end: bool) {
        let epoch = self.epoch;
        for position in from..self.filters.len() {
            let reached = &mut self.progress(direction).reached;
            *reached = (*reached).max(position + 1);
            let after = self.headers_at(direction, self.index(direction, position), end);
            if after != After::Go || epoch != self.epoch {
                return;
            }
        }
        let count = self.filters.len();
        let progress = self.progress(direction);
        progress.reached = count;
        progress.sent = true;
        progress.out.headers = true;
        progress.out.end |= end;
        if direction == Direction::Response {
            let status = status_of(&self.state.headers(Direction::Response));
            self.state.facts_mut().response_code = status;
        }
    }

    pub(super) fn data(&mut self, direction: Direction, from: usize, data: Buffer, end: bool) {
        let epoch = self.epoch;
        let mut data = data;
        for position in from..self.filters.len() {
            let index = self.index(direction, position);
            let after = self.data_at(direction, index, &mut data, end);
            if epoch != self.epoch {
                return;
            }
            match after {
                AfterData::Pass => {}
                AfterData::PassBeforeTrailers => {
                    self.data(direction, position + 1, data, false);
                    if epoch == self.epoch {
                        self.trailers(direction, position + 1);
                    }
                    return;
                }
                AfterData::Release => return self.release(direction, index),
                AfterData::Stop => return,
            }
        }
        let out = &mut self.progress(direction).out;
        out.data.append(data);
        out.end |= end;
    }

    pub(super) fn trailers(&mut self, direction: Direction, from: usize) {
        let epoch = self.epoch;
        for position in from..self.filters.len() {
            let index = self.index(direction, position);
            let after = self.trailers_at(direction, index);
            if epoch != self.epoch {
                return;
            }
            match after {
                AfterData::Pass | AfterData::PassBeforeTrailers => {}
                AfterData::Release => return self.release(direction, index),
                AfterData::Stop => return,
            }
        }
        let out = &mut self.progress(direction).out;
        out.trailers = true;
        out.end = true;
    }

    pub(super) fn log(&mut self) {
        for filter in &mut self.filters {
            if filter.health != Health::Good {
                continue;
            }
            if let Some(Err(trap)) = filter.exchange.as_mut().map(|exchange| exchange.on_log()) {
                filter.slot.failed(&trap);
            }
        }
    }

    pub(super) fn half(&self, direction: Direction, index: usize) -> RefMut<'_, Half> {
        self.state.seat(index).half(direction).borrow_mut()
    }

    /// The filter at a position. The same arithmetic leads back.
    pub(super) fn index(&self, direction: Direction, position: usize) -> usize {
        match direction {
            Direction::Request => position,
            Direction::Response => self.filters.len() - 1 - position,
        }
    }

    pub(super) fn progress(&mut self, direction: Direction) -> &mut Progress {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    fn seen(&self, direction: Direction) -> &Progress {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }
}

fn status_of(headers: &Headers) -> Option<u16> {
    std::str::from_utf8(headers.get(b":status")?).ok()?.parse().ok()
}
