//! The story of one exchange, from its request to its log line.
//!
//! Two halves run side by side in one task: [`Story::request`] (`request/inbound.rs`) brings the request through the
//! filters, and [`Story::response`] finds an upstream, brings its answer back and writes it. They meet in the chain and in
//! [`Outbound`], and neither waits for the other but where HTTP says so.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::future::OptionFuture;
use leno_sdk::host::Direction;
use tokio::sync::Notify;

use crate::chain::{Chain, Step};
use crate::exchange::ExchangeState;
use crate::exchange::facts::{Connection, Facts};
use crate::forwarding;
use crate::http::error::{ResetReason, StreamError, StreamErrorKind};
use crate::http::message::Protocol;
use crate::http::server::{Exchange, RequestBody, ResponseWriter};
use crate::reply::{Flags, Reply};
use crate::router::RouteRef;
use crate::runtime::{Generation, HttpRuntime};
use crate::upstream::ClusterRuntime;

use self::answer::next_frame;
use self::deadlines::Deadlines;
use self::interim::Interim;
use self::outbound::Outbound;
use self::tries::Answer;

mod inbound;

mod outbound;

mod deadlines;

mod tries;

mod interim;

mod answer;

mod record;

/// One exchange while it runs.
struct Story {
    http: Rc<HttpRuntime>,
    clusters: Rc<HashMap<Arc<str>, Rc<ClusterRuntime>>>,
    state: Rc<ExchangeState>,
    chain: Chain,
    route: RefCell<Option<RouteRef>>,
    random: u64,
    outbound: Outbound,
    interim: Interim,
    deadlines: Deadlines,
    /// What the request half wants answered.
    refusal: RefCell<Option<Reply>>,
    refused: Notify,
    request_sent: Cell<Option<Instant>>,
    response_begin: Cell<Option<Instant>>,
    /// The final head has been written.
    head_written: Cell<bool>,
    upstream_protocol: Cell<Option<Protocol>>,
}

/// How an exchange ended.
enum Ending {
    /// With a whole response.
    Complete,
    /// Reset by us or by a filter.
    Reset,
    /// The downstream went away.
    Gone(StreamError),
}

/// Serves one exchange with the configuration that is current when it begins.
pub(crate) async fn serve(
    generation: &Generation,
    http: Rc<HttpRuntime>,
    connection: Rc<Connection>,
    exchange: Exchange,
) {
    let Exchange {
        mut head,
        end,
        body,
        mut response,
    } = exchange;
    let mut facts = Facts::new(head.protocol, SystemTime::now(), Instant::now());
    let peer = connection.source;
    let prepared = forwarding::prepare_request(&http.manager, &mut head.headers, peer, http.server.encrypted);
    facts.client = prepared.ok();
    let refused = forwarding::refusal(&http.manager, &head, http.server.encrypted);
    let random = fastrand::u64(..);
    let route = http.routes.select(&head.headers, random);
    let slots = http.filters_for(route.as_ref());
    let state = ExchangeState::new(connection, head.headers, facts);
    let (start, limit) = (state.facts().start, http.buffer_limit);
    let story = Story {
        chain: Chain::begin(&slots, Rc::clone(&state), limit),
        clusters: Rc::clone(&generation.clusters),
        deadlines: Deadlines::new(
            start,
            http.manager.request_timeout,
            http.manager.stream_idle_timeout,
        ),
        http,
        state,
        route: RefCell::new(None),
        random,
        outbound: Outbound::default(),
        interim: Interim::default(),
        refusal: RefCell::new(None),
        refused: Notify::new(),
        request_sent: Cell::new(None),
        response_begin: Cell::new(None),
        head_written: Cell::new(false),
        upstream_protocol: Cell::new(None),
    };
    story.take_route(route);
    story.http.stats.begin();
    if let Some(reply) = refused {
        story.refuse(reply);
    } else if prepared.is_err() {
        story.refuse(Reply {
            details: "path_normalization_failed".into(),
            ..Reply::text(400, "")
        });
    }
    let ending = story.run(end, body, &mut response).await;
    story.finish(&ending);
}

impl Story {
    async fn run(&self, end: bool, body: RequestBody, writer: &mut ResponseWriter) -> Ending {
        if self.refusal.borrow().is_some() {
            // Not a request that filters should see.
            return self.response(writer).await;
        }
        let mut request = pin!(self.request(end, body));
        let mut response = pin!(self.response(writer));
        let failed = tokio::select! {
            biased;
            result = &mut request => result,
            ending = &mut response => return ending,
        };
        match failed {
            Ok(()) => response.await,
            Err(error) => Ending::Gone(error),
        }
    }

    /// The response, from wherever it comes, to the downstream.
    async fn response(&self, writer: &mut ResponseWriter) -> Ending {
        let mut tries = pin!(OptionFuture::from(Some(self.tries())));
        let mut expired = pin!(OptionFuture::from(Some(self.deadlines.expired())));
        let mut answer: Option<Answer<'_>> = None;
        let (mut searching, mut timing) = (true, true);
        let mut step = Step::Hold;
        loop {
            if self.chain.has_replied() && (searching || answer.is_some()) {
                tries.set(None.into());
                (searching, answer) = (false, None);
            }
            if self.interim.is_waiting() {
                tokio::select! {
                    biased;
                    delivered = self.deliver_interim(writer) => match delivered {
                        Ok(()) => {}
                        Err(error) => return Ending::Gone(error),
                    },
                    _ = &mut expired, if timing => return self.give_up(writer, Flags::STREAM_IDLE),
                }
            }
            match step {
                Step::Forward(flow) => {
                    let last = flow.end;
                    let delivered = tokio::select! {
                        biased;
                        delivered = self.deliver(writer, flow) => delivered,
                        _ = &mut expired, if timing => return self.give_up(writer, Flags::STREAM_IDLE),
                    };
                    match delivered {
                        Ok(()) if last => return Ending::Complete,
                        Ok(()) => {}
                        Err(StreamError {
                            kind: StreamErrorKind::Unsendable(reason),
                            ..
                        }) => {
                            return self.answer_unsendable(writer, reason.to_string()).await;
                        }
                        Err(error) => return Ending::Gone(error),
                    }
                }
                Step::Hold | Step::Replied => {}
                Step::Reset => {
                    writer.reset(ResetReason::INTERNAL_ERROR);
                    return Ending::Reset;
                }
            }
            let wants = self.chain.wants(Direction::Response);
            step = tokio::select! {
                biased;
                () = self.state.woken(Direction::Response) => self.chain.resumed(Direction::Response),
                () = self.refused.notified() => match self.refusal.take() {
                    Some(reply) => self.answer(&reply),
                    None => Step::Hold,
                },
                () = self.interim.arrived(), if searching => Step::Hold,
                Some(found) = &mut tries, if searching => {
                    searching = false;
                    match found {
                        Ok((head, found)) => {
                            let step = self.begin_response(head, &found);
                            answer = Some(found);
                            step
                        }
                        Err(reply) => self.answer(&reply),
                    }
                }
                (frame, ended) = next_frame(&mut answer), if answer.is_some() && wants => {
                    if ended {
                        answer = None;
                    }
                    self.response_frame(frame)
                }
                Some(reason) = &mut expired, if timing => {
                    timing = false;
                    self.count_timeout(&reason);
                    self.answer(&Reply::to(&reason))
                }
                error = writer.gone() => return Ending::Gone(error),
            };
        }
    }

    /// An answer of the proxy itself. The flags are told even if the response has begun and is only cut off.
    fn answer(&self, reply: &Reply) -> Step {
        self.flag(reply.flags);
        let route = self.route.borrow().clone();
        match route {
            Some(route) if !self.head_written.get() => {
                // The edits may tell why; the status is not theirs yet, as in Envoy.
                self.state.facts_mut().response_details = reply.details.clone();
                let reply = self.with_route_edits(&route, reply.clone());
                self.chain.reply(&reply)
            }
            Some(_) | None => self.chain.reply(reply),
        }
    }

    /// Has the response half answer this.
    fn refuse(&self, reply: Reply) {
        *self.refusal.borrow_mut() = Some(reply);
        self.refused.notify_one();
    }

    /// Looks the route up from the headers as they are now.
    fn choose_route(&self) {
        let route = self
            .http
            .routes
            .select(&self.state.headers(Direction::Request), self.random);
        self.take_route(route);
    }

    fn take_route(&self, route: Option<RouteRef>) {
        let mut facts = self.state.facts_mut();
        facts.route = route.as_ref().map(|route| route.name().clone());
        facts.virtual_host = route.as_ref().map(|route| route.virtual_host_name().clone());
        drop(facts);
        *self.route.borrow_mut() = route;
    }
}
