//! What is known about one exchange: its messages, what filters hold of them, and the facts behind properties.
//!
//! `request.rs` creates one [`ExchangeState`] per exchange and writes [facts](ExchangeState::facts) as it learns
//! them; [`Chain`](crate::chain::Chain) moves the messages through the filters; a filter sees all of it through its
//! own view, which knows what this filter may touch in this phase. No borrow is held while a filter
//! runs, nor across an await.

pub mod buffer;
pub mod facts;
pub(crate) mod host;
pub(crate) mod properties;
pub(crate) mod seat;
mod signal;

use std::cell::{Cell, OnceCell, Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use leno_sdk::host::{Direction, LocalReply};

use crate::exchange::facts::{Connection, Facts};
use crate::exchange::seat::Seat;
use crate::exchange::signal::Signal;
use crate::filters::Identity;
use crate::http::headers::Headers;

/// One exchange. Lives on one thread, shared by its chain, its filters and `request.rs`.
pub struct ExchangeState {
    id: u64,
    connection: Rc<Connection>,
    facts: RefCell<Facts>,
    request: Message,
    response: Message,
    /// Values that filters have set, by path.
    filter_state: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    seats: OnceCell<Box<[Seat]>>,
    /// What a filter asked for, and which one; the first wins.
    wish: RefCell<Option<(usize, Wish)>>,
    /// Something changed outside of the chain's own calls.
    dirty: Cell<bool>,
    route_cleared: Cell<bool>,
    stage: Cell<Stage>,
}

/// The end that a filter wants for an exchange.
pub(crate) enum Wish {
    Reply(LocalReply),
    Reset,
}

/// How far an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Filters take part.
    Running,
    /// All maps can be read, nothing can be changed.
    Logging,
    /// Filters have been told that it is over.
    Finished,
}

#[derive(Default)]
struct Message {
    headers: RefCell<Headers>,
    /// Whether there are any headers yet.
    begun: Cell<bool>,
    trailers: RefCell<Option<Headers>>,
    signal: Signal,
}

impl ExchangeState {
    /// A new exchange with the headers of its request.
    #[must_use]
    pub fn new(connection: Rc<Connection>, request: Headers, facts: Facts) -> Rc<Self> {
        let state = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            connection,
            facts: RefCell::new(facts),
            request: Message::default(),
            response: Message::default(),
            filter_state: RefCell::default(),
            seats: OnceCell::new(),
            wish: RefCell::new(None),
            dirty: Cell::new(false),
            route_cleared: Cell::new(false),
            stage: Cell::new(Stage::Running),
        };
        state.set_headers(Direction::Request, request);
        Rc::new(state)
    }

    /// Unique within the proxy's life.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The downstream connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What is known so far. Do not hold this while calling the chain.
    pub fn facts(&self) -> Ref<'_, Facts> {
        self.facts.borrow()
    }

    /// Writes what was learnt. Do not hold this while calling the chain.
    pub fn facts_mut(&self) -> RefMut<'_, Facts> {
        self.facts.borrow_mut()
    }

    /// The headers of a message as they are now; empty before there are any.
    pub fn headers(&self, direction: Direction) -> Ref<'_, Headers> {
        self.message(direction).headers.borrow()
    }

    /// As [`Self::headers`], to be changed by the proxy itself.
    pub fn headers_mut(&self, direction: Direction) -> RefMut<'_, Headers> {
        self.message(direction).headers.borrow_mut()
    }

    /// The trailers of a message, if it has any (yet).
    pub fn trailers(&self, direction: Direction) -> Ref<'_, Option<Headers>> {
        self.message(direction).trailers.borrow()
    }

    pub(crate) fn trailers_mut(&self, direction: Direction) -> RefMut<'_, Option<Headers>> {
        self.message(direction).trailers.borrow_mut()
    }

    /// Whether a filter wants the route to be chosen again; the next call says no.
    pub fn take_route_cleared(&self) -> bool {
        self.route_cleared.take()
    }

    /// Resolves when filters may have changed what [`Chain::resumed`](crate::chain::Chain::resumed) says for this
    /// direction. One waiter per direction. Cancel safe.
    pub async fn woken(&self, direction: Direction) {
        self.message(direction).signal.raised().await;
    }

    pub(crate) fn wake(&self, direction: Direction) {
        self.message(direction).signal.raise();
    }

    /// Has both halves look again.
    pub(crate) fn mark(&self) {
        self.dirty.set(true);
        self.wake(Direction::Request);
        self.wake(Direction::Response);
    }

    pub(crate) fn take_dirty(&self) -> bool {
        self.dirty.take()
    }

    pub(crate) fn set_headers(&self, direction: Direction, headers: Headers) {
        let message = self.message(direction);
        *message.headers.borrow_mut() = headers;
        message.begun.set(true);
    }

    pub(crate) fn set_trailers(&self, direction: Direction, trailers: Option<Headers>) {
        *self.message(direction).trailers.borrow_mut() = trailers;
    }

    pub(crate) fn has_headers(&self, direction: Direction) -> bool {
        self.message(direction).begun.get()
    }

    /// Called once, before any filter has a view.
    pub(crate) fn set_seats(&self, identities: impl Iterator<Item = Rc<Identity>>) {
        let seats = identities.map(Seat::new).collect();
        let fresh = self.seats.set(seats).is_ok();
        debug_assert!(fresh, "one exchange has one chain");
    }

    pub(crate) fn seat(&self, index: usize) -> &Seat {
        &self.seats()[index]
    }

    fn seats(&self) -> &[Seat] {
        self.seats.get().map_or(&[], |seats| seats)
    }

    pub(crate) fn wish(&self, filter: usize, wish: Wish) {
        if self.stage.get() != Stage::Running {
            return;
        }
        self.wish.borrow_mut().get_or_insert((filter, wish));
        self.mark();
    }

    pub(crate) fn take_wish(&self) -> Option<(usize, Wish)> {
        self.wish.borrow_mut().take()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.set(stage);
    }

    pub(crate) fn set_filter_state(&self, path: &[u8], value: &[u8]) {
        self.filter_state
            .borrow_mut()
            .insert(path.to_vec(), value.to_vec());
    }

    pub(crate) fn filter_state(&self) -> Ref<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.filter_state.borrow()
    }

    pub(crate) fn clear_route_cache(&self) {
        self.route_cleared.set(true);
    }

    fn message(&self, direction: Direction) -> &Message {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
