//! Runs the filters of one exchange. No IO and no clock: events go in, and each says what may pass now.
//!
//! How `request.rs` drives it: one loop per direction, each of which may wait on its own (request and response
//! progress independently). The loop of the request:
//!
//! ```text
//! let state = ExchangeState::new(connection, head.headers, Facts::new(..));
//! let chain = Chain::begin(&slots, state.clone(), buffer_limit);
//! let mut step = chain.request_headers(end);
//! loop {
//!     match step {
//!         Step::Forward(flow) => {
//!             if flow.headers { /* choose the route again if state.take_route_cleared(); connect;
//!                                  send state.headers(Request), ended if flow.ends_with_headers() */ }
//!             /* send each chunk of flow.data; the last one ends the message if flow.ends_with_data() */
//!             if flow.trailers { /* send state.trailers(Request) */ }
//!             if flow.end { break }
//!         }
//!         Step::Hold => {}
//!         Step::Replied => break,      // drop the upstream; the answer comes out of the response's loop
//!         Step::Reset => return,       // drop both sides
//!     }
//!     step = select! {
//!         frame = body.frame(), if chain.wants(Direction::Request) => match frame? {
//!             Some(Frame::Data(data)) => chain.data(Direction::Request, data, false),
//!             Some(Frame::Trailers(trailers)) => chain.trailers(Direction::Request, trailers),
//!             None => chain.data(Direction::Request, Bytes::new(), true),
//!         },
//!         () = state.woken(Direction::Request) => chain.resumed(Direction::Request),
//!     };
//! }
//! ```
//!
//! The loop of the response is the same with [`Chain::response_headers`] first, and must also wait for
//! `state.woken(Direction::Response)` while the upstream has not answered, because a filter may answer instead:
//! after `Replied` the response loop gets the answer from [`Chain::resumed`] as [`Step::Forward`], and ends when
//! its flow does. What the proxy itself answers (no route, time-out, upstream gone) goes through [`Chain::reply`],
//! whose result is a step of the response. At the end: [`Chain::log`], then [`Chain::finish`] (also done by drop).

mod callbacks;
mod failure;
mod flow;
mod run;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use leno_sdk::host::Direction;
use leno_sdk::plugin::{Exchange, Interest};

pub use crate::chain::flow::Flow;
use crate::chain::run::Run;
use crate::exchange::host::View;
use crate::exchange::{ExchangeState, Stage};
use crate::filters::slot::FilterSlot;
use crate::http::headers::Headers;
use crate::reply::Reply;

/// What a direction may do now.
#[derive(Debug)]
pub enum Step {
    /// Nothing: read on while [`Chain::wants`] says so, and wait for [`ExchangeState::woken`].
    Hold,
    /// Pass this on, then as for `Hold` unless it ends the message.
    Forward(Flow),
    /// Only for the request: it goes no further, because there is an answer already.
    Replied,
    /// The exchange ends without an answer, or in the middle of one.
    Reset,
}

/// The filters of one exchange.
pub struct Chain {
    run: RefCell<Run>,
    state: Rc<ExchangeState>,
}

impl Chain {
    /// Gives each filter its part in the exchange. `buffer_limit`: bytes that a filter may hold per
    /// direction; zero: no limit.
    #[must_use]
    pub fn begin(slots: &[Rc<FilterSlot>], state: Rc<ExchangeState>, buffer_limit: usize) -> Self {
        let buffer_limit = if buffer_limit == 0 {
            usize::MAX
        } else {
            buffer_limit
        };
        state.set_seats(slots.iter().map(|slot| slot.identity().clone()));
        let mut run = Run::new(state.clone(), buffer_limit);
        for (index, slot) in slots.iter().enumerate() {
            run.filters.push(Filter::begin(slot.clone(), &state, index));
        }
        Self {
            run: RefCell::new(run),
            state,
        }
    }

    /// The exchange that it runs.
    pub fn state(&self) -> &Rc<ExchangeState> {
        &self.state
    }

    /// The request begins, with the headers that the state was created with. `end`: nothing follows them.
    pub fn request_headers(&self, end: bool) -> Step {
        self.event(Direction::Request, |run| {
            run.message_headers(Direction::Request, end)
        })
    }

    /// The upstream answers. Ignored when there is an answer already.
    pub fn response_headers(&self, headers: Headers, end: bool) -> Step {
        self.event(Direction::Response, |run| {
            if !run.replied {
                run.begin_response(headers);
                run.message_headers(Direction::Response, end);
            }
        })
    }

    /// A part of a body has come in; empty with `end` when the message ends without more.
    pub fn data(&self, direction: Direction, data: Bytes, end: bool) -> Step {
        self.event(direction, |run| {
            if run.takes_input(direction) {
                run.message_data(direction, data, end);
            }
        })
    }

    /// The message ends with trailers.
    pub fn trailers(&self, direction: Direction, trailers: Headers) -> Step {
        self.event(direction, |run| {
            if run.takes_input(direction) {
                run.message_trailers(direction, trailers);
            }
        })
    }

    /// The proxy itself answers: through the filters that have seen the request and not yet a response. Replaces
    /// what the filters still hold of another answer; resets the exchange if the answer has begun. The step is
    /// about the response.
    pub fn reply(&self, reply: &Reply) -> Step {
        self.event(Direction::Response, |run| run.proxy_reply(reply))
    }

    /// What may pass now, after [`ExchangeState::woken`].
    pub fn resumed(&self, direction: Direction) -> Step {
        self.event(direction, |_| {})
    }

    /// Whether more of this message should be read from its peer.
    pub fn wants(&self, direction: Direction) -> bool {
        self.run.borrow().wants(direction)
    }

    /// Whether the request goes no further, because there is an answer of a filter or of the proxy.
    pub fn has_replied(&self) -> bool {
        self.run.borrow().replied
    }

    /// The exchange is over: every filter may look back at it. Once, before [`Self::finish`].
    pub fn log(&self) {
        if self.state.stage() != Stage::Running {
            return;
        }
        self.state.set_stage(Stage::Logging);
        self.run.borrow_mut().log();
    }

    /// The filters give up their parts.
    pub fn finish(self) {}

    /// Lets `input` happen, then everything that filters asked for meanwhile, and says what that means here.
    fn event(&self, direction: Direction, input: impl FnOnce(&mut Run)) -> Step {
        let mut run = self.run.borrow_mut();
        input(&mut run);
        run.settle();
        let other = match direction {
            Direction::Request => Direction::Response,
            Direction::Response => Direction::Request,
        };
        if run.has_news(other) {
            self.state.wake(other);
        }
        run.step(direction)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.state.set_stage(Stage::Finished);
        for filter in &mut self.run.borrow_mut().filters {
            if let Some(exchange) = filter.exchange.take() {
                exchange.finish();
            }
        }
    }
}

/// One filter in its chain.
struct Filter {
    slot: Rc<FilterSlot>,
    interest: Interest,
    /// Gone when the filter could not begin.
    exchange: Option<Box<dyn Exchange>>,
    health: Health,
}

/// Whether callbacks of a filter run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// Its guest failed, and the policy has not been applied to this exchange yet.
    Failing,
    /// No callbacks any more.
    Skipped,
}

impl Filter {
    fn begin(slot: Rc<FilterSlot>, state: &Rc<ExchangeState>, index: usize) -> Self {
        let begun = slot.plugin().and_then(|plugin| {
            let interest = plugin.interest();
            match plugin.exchange(View::new(state.clone(), index)) {
                Ok(exchange) => Some((interest, exchange)),
                Err(trap) => {
                    slot.failed(&trap);
                    None
                }
            }
        });
        match begun {
            Some((interest, exchange)) => Self {
                slot,
                interest,
                exchange: Some(exchange),
                health: Health::Good,
            },
            None => Self {
                slot,
                interest: Interest::NONE,
                exchange: None,
                health: Health::Failing,
            },
        }
    }
}
