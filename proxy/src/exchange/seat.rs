//! What one filter of a chain holds of an exchange. The chain writes it, the filter's view reads it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use leno_sdk::host::Direction;

use crate::exchange::buffer::Buffer;
use crate::filters::Identity;

/// One filter's place in one exchange.
pub(crate) struct Seat {
    identity: Rc<Identity>,
    request: RefCell<Half>,
    response: RefCell<Half>,
    /// The guest has failed, perhaps in a callback of another exchange.
    pub(crate) failed: Cell<bool>,
}

impl Seat {
    pub(crate) fn new(identity: Rc<Identity>) -> Self {
        Self {
            identity,
            request: RefCell::default(),
            response: RefCell::default(),
            failed: Cell::new(false),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn half(&self, direction: Direction) -> &RefCell<Half> {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }
}

/// What one filter holds of one direction.
#[derive(Debug, Default)]
pub(crate) struct Half {
    /// What its verdicts stop.
    pub(crate) gate: Gate,
    /// The callback that runs now.
    pub(crate) callback: Option<Callback>,
    /// It was let go on in the callback that runs, or while it was held.
    pub(crate) resumed: bool,
    /// The headers stand here: in a callback, or held.
    pub(crate) headers: bool,
    /// Body that stands here, held. With `accumulates`, the chunk of this callback too.
    pub(crate) kept: Buffer,
    /// The chunk of this callback, not kept yet.
    pub(crate) chunk: Buffer,
    /// The last verdict was `Buffer`: body callbacks see all that is kept.
    pub(crate) accumulates: bool,
    /// The trailers stand here: in a callback, or held.
    pub(crate) trailers: bool,
    /// The end of the message stands here, held.
    pub(crate) end: bool,
}

/// What stands still at a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Nothing.
    #[default]
    Open,
    /// The headers; body and trailers callbacks run.
    Headers,
    /// Everything, without callbacks.
    All(Bound),
    /// The body or the trailers; further callbacks run.
    Rest,
}

/// What happens when a filter holds more body than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The peer is not read any further.
    Pause,
    /// The exchange fails.
    Fail,
}

/// A callback of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callback {
    Headers,
    Body { end: bool },
    Trailers,
}

impl Half {
    /// The body that the filter can see now: `None` when there is no body phase.
    pub(crate) fn visible(&mut self) -> Option<&mut Buffer> {
        match self.callback {
            Some(Callback::Headers) => None,
            Some(Callback::Body { .. }) if !self.accumulates => Some(&mut self.chunk),
            Some(Callback::Body { .. } | Callback::Trailers) => Some(&mut self.kept),
            None if self.gate == Gate::Open => None,
            None => Some(&mut self.kept),
        }
    }

    /// Whether reading from the peer should stop for this filter's sake.
    pub(crate) fn is_full(&self, limit: usize) -> bool {
        let bound = match self.gate {
            Gate::All(bound) => bound,
            Gate::Open | Gate::Headers | Gate::Rest if self.accumulates => Bound::Fail,
            Gate::Open | Gate::Headers | Gate::Rest => Bound::Pause,
        };
        bound == Bound::Pause && self.kept.len() >= limit
    }

    /// Whether the exchange must fail for this filter's sake.
    pub(crate) fn overflows(&self, limit: usize) -> bool {
        (self.accumulates || self.gate == Gate::All(Bound::Fail)) && self.kept.len() > limit
    }
}
