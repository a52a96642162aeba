//! Calls a filter and turns its verdict into what happens to what stands there.

use leno_sdk::host::Direction;
use leno_sdk::plugin::{BodyVerdict, Exchange, HeadersVerdict, TrailersVerdict, Trap};

use crate::chain::Health;
use crate::chain::run::{After, AfterData, Run};
use crate::exchange::buffer::Buffer;
use crate::exchange::seat::{Bound, Callback, Gate, Half};

/// Why a callback gave no verdict.
enum NoVerdict {
    /// The filter has failed, and the exchange goes on without it.
    Skipped,
    /// The exchange took another turn.
    Turned,
}

impl Run {
    pub(super) fn headers_at(&mut self, direction: Direction, index: usize, end: bool) -> After {
        let filter = &self.filters[index];
        let wanted = match direction {
            Direction::Request => filter.interest.request_headers,
            Direction::Response => filter.interest.response_headers,
        };
        match filter.health {
            Health::Good if wanted => {}
            Health::Good | Health::Skipped => return After::Go,
            Health::Failing => {
                return match self.apply_policy(index) {
                    true => After::Go,
                    false => After::Stop,
                };
            }
        }
        let fields = self.state.headers(direction).len();
        {
            let mut half = self.half(direction, index);
            (half.headers, half.end) = (true, end);
        }
        let called = self.call(direction, index, Callback::Headers, |exchange| match direction {
            Direction::Request => exchange.on_request_headers(fields, end),
            Direction::Response => exchange.on_response_headers(fields, end),
        });
        let mut half = self.half(direction, index);
        let gate = match called {
            Ok(HeadersVerdict::Continue) | Err(NoVerdict::Skipped) => Gate::Open,
            Err(NoVerdict::Turned) => return After::Stop,
            Ok(_) if std::mem::take(&mut half.resumed) => Gate::Open,
            Ok(HeadersVerdict::HoldHeaders) => Gate::Headers,
            Ok(HeadersVerdict::Hold) => Gate::All(Bound::Pause),
            Ok(HeadersVerdict::HoldAndBuffer) => Gate::All(Bound::Fail),
        };
        if gate == Gate::Open {
            *half = Half::default();
            return After::Go;
        }
        half.gate = gate;
        After::Stop
    }

    pub(super) fn data_at(
        &mut self,
        direction: Direction,
        index: usize,
        data: &mut Buffer,
        end: bool,
    ) -> AfterData {
        let filter = &self.filters[index];
        let wanted = match direction {
            Direction::Request => filter.interest.request_body,
            Direction::Response => filter.interest.response_body,
        };
        let skipped = filter.health != Health::Good || !wanted;
        {
            let mut half = self.half(direction, index);
            if matches!(half.gate, Gate::All(_)) || (skipped && half.gate != Gate::Open) {
                half.kept.append(std::mem::take(data));
                half.end |= end;
                drop(half);
                return self.bounded(direction, index);
            }
            if skipped || (data.is_empty() && !end) {
                return AfterData::Pass;
            }
        }
        let had_trailers = self.state.trailers(direction).is_some();
        let verdict = match self.show_body(direction, index, data, end) {
            Ok(verdict) => verdict,
            Err(NoVerdict::Skipped) => BodyVerdict::Continue,
            Err(NoVerdict::Turned) => return AfterData::Stop,
        };
        let added = end && !had_trailers && self.state.trailers(direction).is_some();
        let mut half = self.half(direction, index);
        if verdict == BodyVerdict::Continue && half.gate == Gate::Open {
            *data = std::mem::take(&mut half.chunk);
            return if added {
                AfterData::PassBeforeTrailers
            } else {
                AfterData::Pass
            };
        }
        half.end |= end;
        half.trailers |= added;
        drop(half);
        self.keep(direction, index, verdict)
    }

    pub(super) fn trailers_at(&mut self, direction: Direction, index: usize) -> AfterData {
        let filter = &self.filters[index];
        let (body, trailers) = match direction {
            Direction::Request => (filter.interest.request_body, filter.interest.request_trailers),
            Direction::Response => (filter.interest.response_body, filter.interest.response_trailers),
        };
        let good = filter.health == Health::Good;
        let gate = self.half(direction, index).gate;
        if gate == Gate::Open && !(good && trailers) {
            return AfterData::Pass;
        }
        {
            let mut half = self.half(direction, index);
            (half.trailers, half.end) = (true, true);
        }
        if matches!(gate, Gate::All(_)) || !good {
            return AfterData::Stop;
        }
        if !trailers {
            // It holds the body and will not hear of trailers: this is the end of what it waits for.
            let verdict = match body.then(|| self.show_body(direction, index, &mut Buffer::default(), true)) {
                Some(Ok(verdict)) => verdict,
                Some(Err(NoVerdict::Skipped)) => BodyVerdict::Continue,
                Some(Err(NoVerdict::Turned)) | None => return AfterData::Stop,
            };
            return self.keep(direction, index, verdict);
        }
        let fields = self
            .state
            .trailers(direction)
            .as_ref()
            .map_or(0, |trailers| trailers.len());
        let called = self.call(direction, index, Callback::Trailers, |exchange| match direction {
            Direction::Request => exchange.on_request_trailers(fields),
            Direction::Response => exchange.on_response_trailers(fields),
        });
        let mut half = self.half(direction, index);
        let resumed = std::mem::take(&mut half.resumed);
        match called {
            Err(NoVerdict::Turned) => AfterData::Stop,
            Ok(TrailersVerdict::Hold) if !resumed => {
                if half.gate == Gate::Open {
                    half.gate = Gate::Rest;
                }
                AfterData::Stop
            }
            Ok(TrailersVerdict::Hold | TrailersVerdict::Continue) | Err(NoVerdict::Skipped) => {
                if half.gate == Gate::Open {
                    *half = Half::default();
                    return AfterData::Pass;
                }
                AfterData::Release
            }
        }
    }

    /// The body callback. A resume within it turns the verdict into `Continue`.
    fn show_body(
        &mut self,
        direction: Direction,
        index: usize,
        data: &mut Buffer,
        end: bool,
    ) -> Result<BodyVerdict, NoVerdict> {
        let callback = Callback::Body { end };
        let size = {
            let mut half = self.half(direction, index);
            let data = std::mem::take(data);
            if half.accumulates {
                half.kept.append(data);
                half.kept.len()
            } else {
                half.chunk = data;
                half.chunk.len()
            }
        };
        let called = self.call(direction, index, callback, |exchange| match direction {
            Direction::Request => exchange.on_request_body(size, end),
            Direction::Response => exchange.on_response_body(size, end),
        });
        let resumed = std::mem::take(&mut self.half(direction, index).resumed);
        called.map(|verdict| if resumed { BodyVerdict::Continue } else { verdict })
    }

    /// Puts the chunk of the callback where the verdict wants it.
    fn keep(&mut self, direction: Direction, index: usize, verdict: BodyVerdict) -> AfterData {
        let mut half = self.half(direction, index);
        let chunk = std::mem::take(&mut half.chunk);
        match verdict {
            BodyVerdict::Continue => {
                half.kept.append(chunk);
                return AfterData::Release;
            }
            BodyVerdict::Buffer => {
                half.kept.append(chunk);
                half.accumulates = true;
            }
            BodyVerdict::Watermark => {
                half.kept.append(chunk);
                half.accumulates = false;
            }
            BodyVerdict::Drop => {}
        }
        if half.gate == Gate::Open {
            half.gate = Gate::Rest;
        }
        drop(half);
        self.bounded(direction, index)
    }

    /// Stays, unless that is too much.
    fn bounded(&mut self, direction: Direction, index: usize) -> AfterData {
        let limit = self.limit;
        let overflows = self.half(direction, index).overflows(limit);
        if overflows {
            self.overflow(direction, index);
        }
        AfterData::Stop
    }

    fn call<T>(
        &mut self,
        direction: Direction,
        index: usize,
        callback: Callback,
        call: impl FnOnce(&mut dyn Exchange) -> Result<T, Trap>,
    ) -> Result<T, NoVerdict> {
        let filter = &mut self.filters[index];
        let seat = self.state.seat(index);
        let verdict = match filter.exchange.as_mut() {
            Some(exchange) if !seat.failed.get() => {
                seat.half(direction).borrow_mut().callback = Some(callback);
                let result = call(exchange.as_mut());
                seat.half(direction).borrow_mut().callback = None;
                result.map_err(|trap| filter.slot.failed(&trap)).ok()
            }
            Some(_) | None => None,
        };
        let verdict = verdict.filter(|_| !seat.failed.get());
        if verdict.is_none() {
            filter.health = Health::Failing;
        }
        // What it asked for counts even if it broke afterwards: a refusal must not become a pass.
        if self.grant_wish() {
            return Err(NoVerdict::Turned);
        }
        match verdict {
            Some(verdict) => Ok(verdict),
            None if self.apply_policy(index) => Err(NoVerdict::Skipped),
            None => Err(NoVerdict::Turned),
        }
    }
}
