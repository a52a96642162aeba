//! One filter's view of one exchange: what it may read and change, and when.
//!
//! The rules are those that filters in the field rely on, seen in Envoy 1.39: a map can be used in its own callback
//! and while a verdict holds it; it can be read again when the exchange is logged.

use std::rc::Rc;

use leno_sdk::host::{Direction, Edit, ExchangeHost, HostError, LocalReply, Map};

use crate::exchange::seat::{Callback, Gate, Half};
use crate::exchange::{ExchangeState, Stage, Wish, properties};
use crate::http::headers::Headers;

/// See the module.
pub(crate) struct View {
    state: Rc<ExchangeState>,
    filter: usize,
}

impl View {
    pub(crate) fn new(state: Rc<ExchangeState>, filter: usize) -> Rc<Self> {
        Rc::new(Self { state, filter })
    }

    /// Whether this filter may use this map now.
    fn standing(&self, map: Map) -> bool {
        let (direction, trailers) = parts(map);
        let half = self.state.seat(self.filter).half(direction).borrow();
        match (trailers, half.callback) {
            (false, _) => half.headers,
            (true, Some(Callback::Body { end: true })) => self.state.trailers(direction).is_some(),
            (true, _) => half.trailers,
        }
    }

    fn with_map<T>(&self, map: Map, read: impl FnOnce(&Headers) -> T) -> Result<T, HostError> {
        if !self.standing(map) && self.state.stage() != Stage::Logging {
            return Err(HostError::WrongPhase);
        }
        let (direction, trailers) = parts(map);
        if trailers {
            self.state
                .trailers(direction)
                .as_ref()
                .map(read)
                .ok_or(HostError::WrongPhase)
        } else if self.state.has_headers(direction) {
            Ok(read(&self.state.headers(direction)))
        } else {
            Err(HostError::WrongPhase)
        }
    }

    /// A filter may give a message trailers when it sees the end of its body.
    fn may_add_trailers(&self, map: Map) -> bool {
        let (direction, trailers) = parts(map);
        let half = self.state.seat(self.filter).half(direction).borrow();
        trailers && half.callback == Some(Callback::Body { end: true })
    }

    fn with_body<T>(
        &self,
        direction: Direction,
        each: impl FnOnce(&mut Half) -> Option<T>,
    ) -> Result<T, HostError> {
        let mut half = self.state.seat(self.filter).half(direction).borrow_mut();
        each(&mut half).ok_or(HostError::WrongPhase)
    }
}

impl ExchangeHost for View {
    fn id(&self) -> u64 {
        self.state.id()
    }

    fn header(&self, map: Map, name: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        self.with_map(map, |headers| {
            let found = headers.get(field(map, name)).ok_or(HostError::NotFound)?;
            value.extend_from_slice(found);
            Ok(())
        })?
    }

    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError> {
        self.with_map(map, |headers| {
            headers.iter().for_each(|(name, value)| each(name, value))
        })
    }

    fn edit(&self, map: Map, edit: Edit<'_>) -> Result<(), HostError> {
        if self.state.stage() != Stage::Running {
            return Err(HostError::WrongPhase);
        }
        let (direction, trailers) = parts(map);
        if self.standing(map) {
            if !trailers {
                apply(&mut self.state.headers_mut(direction), map, edit);
                if direction == Direction::Request {
                    // What the route was chosen by may have changed (Envoy's `Context::onHeadersModified`).
                    self.state.clear_route_cache();
                }
            } else if let Some(headers) = self.state.trailers_mut(direction).as_mut() {
                apply(headers, map, edit);
            }
            return Ok(());
        }
        if !self.may_add_trailers(map) {
            return Err(HostError::WrongPhase);
        }
        if !matches!(edit, Edit::Remove(_)) {
            apply(
                self.state.trailers_mut(direction).get_or_insert_default(),
                map,
                edit,
            );
        }
        Ok(())
    }

    fn body_len(&self, direction: Direction) -> Result<usize, HostError> {
        self.with_body(direction, |half| half.visible().map(|body| body.len()))
    }

    fn body_read(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), HostError> {
        self.with_body(direction, |half| {
            half.visible().map(|body| body.read(start, len, bytes))
        })
    }

    fn body_splice(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        self.with_body(direction, |half| {
            half.visible().map(|body| body.splice(start, len, bytes))
        })
    }

    fn reply(&self, reply: LocalReply) {
        self.state.wish(self.filter, Wish::Reply(reply));
    }

    fn resume(&self, direction: Direction) {
        let mut half = self.state.seat(self.filter).half(direction).borrow_mut();
        if half.callback.is_none() && half.gate == Gate::Open {
            return;
        }
        half.resumed = true;
        let inside = half.callback.is_some();
        drop(half);
        // Within the callback the chain looks at it anyway, with the verdict.
        if !inside {
            self.state.mark();
        }
    }

    fn reset(&self) {
        self.state.wish(self.filter, Wish::Reset);
    }

    fn clear_route_cache(&self) {
        self.state.clear_route_cache();
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        properties::of_exchange(&self.state, self.filter, path, value)
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        self.state.set_filter_state(path, value);
    }

    fn fail(&self) {
        self.state.seat(self.filter).failed.set(true);
        self.state.mark();
    }
}

fn apply(headers: &mut Headers, map: Map, edit: Edit<'_>) {
    match edit {
        Edit::Append(name, value) => headers.append(field(map, name), value),
        Edit::Set(name, value) => headers.set(field(map, name), value),
        Edit::Remove(name) => {
            headers.remove(field(map, name));
        }
        Edit::Replace(fields) => {
            headers.replace_all(fields.iter().map(|(name, value)| (field(map, name), *value)));
        }
    }
}

/// `host` of a request is its `:authority`.
fn field(map: Map, name: &[u8]) -> &[u8] {
    if map == Map::RequestHeaders && name.eq_ignore_ascii_case(b"host") {
        b":authority"
    } else {
        name
    }
}

/// The direction of a map, and whether it is about trailers.
fn parts(map: Map) -> (Direction, bool) {
    match map {
        Map::RequestHeaders => (Direction::Request, false),
        Map::RequestTrailers => (Direction::Request, true),
        Map::ResponseHeaders => (Direction::Response, false),
        Map::ResponseTrailers => (Direction::Response, true),
    }
}
