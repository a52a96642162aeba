//! From the route to the head of a response: pick, send, and again while the policy allows.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use leno_model::route::RetryPolicy;
use leno_sdk::host::Direction;

use super::Story;
use crate::exchange::facts::Upstream;
use crate::http::client::ResponseReader;
use crate::http::error::{StreamError, StreamErrorKind, Unsendable};
use crate::http::message::{RequestHead, ResponseHead};
use crate::reply::{Attempt, Flags, Reason, Reply, UpstreamFailure, decimal};
use crate::retry::{Decision, Outcome, Retry};
use crate::router::RouteRef;
use crate::router::action::Action;
use crate::upstream::lease::{Lease, Opened};
use crate::upstream::{ClusterRuntime, OpenError};

/// A response that has begun, with all that must live until its end. Dropped in this order.
pub(super) struct Answer<'a> {
    /// Sends the rest of the request; `None` once that is done.
    pub(super) pump: Option<Pump<'a>>,
    pub(super) reader: ResponseReader,
    _lease: Lease,
    pub(super) cluster: Rc<ClusterRuntime>,
}

type Pump<'a> = Pin<Box<dyn Future<Output = Result<(), StreamError>> + 'a>>;

/// Why a try gave no response.
enum Failure {
    Upstream(UpstreamFailure, Outcome),
    NobodyHealthy,
    TryTimeout,
    /// What is to be sent is not allowed; another try would not help.
    Unsendable(Unsendable),
}

impl Story {
    /// The head of a response, from whichever try; or what to answer instead.
    pub(super) async fn tries(&self) -> Result<(ResponseHead, Answer<'_>), Reply> {
        let ends_with_headers = self.outbound.begun().await;
        if self.state.take_route_cleared() || self.route.borrow().is_none() {
            self.choose_route();
        }
        let route = self
            .route
            .borrow()
            .clone()
            .ok_or_else(|| Reply::to(&Reason::NoRoute))?;
        if let Some(reply) = self.own_answer(&route) {
            return Err(reply);
        }
        let cluster = self
            .cluster(&route)
            .ok_or_else(|| Reply::to(&Reason::NoCluster))?;
        let policy = route.retry();
        self.prepare_request(&route, policy);
        let mut retry = Retry::new(policy, &self.state.headers(Direction::Request));
        if retry.as_ref().is_some_and(Retry::may_retry) {
            self.outbound.keep();
        }
        let (mut tried, mut ticket) = (Vec::new(), None);
        loop {
            let result = self
                .try_once(&cluster, &route, policy, &mut tried, ends_with_headers)
                .await;
            drop(ticket.take());
            let decision = match &mut retry {
                Some(retry) if self.outbound.is_complete() => {
                    let (running, most) = cluster.limits().retries();
                    retry.decide(outcome(&result), running, most, fastrand::u64(..))
                }
                Some(_) | None => Decision::Accept,
            };
            let stats = cluster.stats();
            match decision {
                Decision::Again(pause) => {
                    drop(result);
                    ticket = cluster.retry();
                    stats.retry.inc();
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Decision::Exhausted => {
                    stats.retry_limit.inc();
                    self.flag(Flags::RETRIES_EXHAUSTED);
                }
                Decision::Overflow => stats.retry_overflow.inc(),
                Decision::Accept => {}
            }
            self.outbound.forget();
            let attempt = match (tried.len(), decision) {
                (_, Decision::Exhausted) if tried.len() > 1 => Attempt::Exhausted,
                (0 | 1, _) => Attempt::First,
                (_, _) => Attempt::Retried,
            };
            if result.is_ok() && tried.len() > 1 && decision == Decision::Accept {
                stats.retry_success.inc();
            }
            return result.map_err(|failure| self.failed(failure, attempt, &cluster));
        }
    }

    /// The answer of a route that answers itself.
    fn own_answer(&self, route: &RouteRef) -> Option<Reply> {
        let answer = route.answer(&self.state.headers(Direction::Request))?;
        let mut reply = Reply {
            status: answer.status,
            ..Reply::to(&Reason::Direct)
        };
        reply.body = bytes::Bytes::copy_from_slice(answer.body);
        reply.headers.extend(
            answer
                .location
                .map(|location| ("location".into(), location.into())),
        );
        Some(reply)
    }

    /// The cluster of the route, as this generation has it.
    fn cluster(&self, route: &RouteRef) -> Option<Rc<ClusterRuntime>> {
        let request = self.state.headers(Direction::Request);
        let cluster = Rc::clone(self.clusters.get(route.cluster(&request)?)?);
        drop(request);
        self.state.facts_mut().cluster = Some(cluster.name().clone());
        Some(cluster)
    }

    /// Everything that the route does to the request, and what it tells the upstream about its times.
    fn prepare_request(&self, route: &RouteRef, policy: Option<&RetryPolicy>) {
        let Action::Forward(forward) = route.action() else {
            return;
        };
        self.deadlines.of_route(forward.timeout, forward.idle_timeout);
        self.rewrite_request(route);
        if self.http.suppress_envoy_headers {
            return;
        }
        let per_try = policy.and_then(|policy| policy.per_try_timeout);
        let expected = [forward.timeout, per_try]
            .into_iter()
            .flatten()
            .filter(|time| !time.is_zero())
            .min();
        if let Some(expected) = expected {
            let millis = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
            let mut headers = self.state.headers_mut(Direction::Request);
            headers.set(b"x-envoy-expected-rq-timeout-ms", decimal(millis).as_slice());
        }
    }

    async fn try_once<'a>(
        &'a self,
        cluster: &Rc<ClusterRuntime>,
        route: &RouteRef,
        policy: Option<&RetryPolicy>,
        tried: &mut Vec<SocketAddr>,
        ends_with_headers: bool,
    ) -> Result<(ResponseHead, Answer<'a>), Failure> {
        let avoid = if policy.is_some_and(|policy| policy.avoid_previous_hosts) {
            &tried[..]
        } else {
            &[]
        };
        let Some(endpoint) = cluster.choose(fastrand::u64(..), avoid) else {
            cluster.stats().none_healthy.inc();
            return Err(Failure::NobodyHealthy);
        };
        tried.push(endpoint.address());
        route.rewrite_host_to_endpoint(
            &mut self.state.headers_mut(Direction::Request),
            endpoint.hostname(),
        );
        if route.tells_attempts().request {
            let attempt = u64::from(self.state.facts().attempts) + 1;
            let mut headers = self.state.headers_mut(Direction::Request);
            headers.set(b"x-envoy-attempt-count", decimal(attempt).as_slice());
        }
        let head = RequestHead {
            headers: self.state.headers(Direction::Request).clone(),
            protocol: self.state.facts().protocol,
        };
        {
            let mut facts = self.state.facts_mut();
            facts.attempts += 1;
            facts.upstream = Some(Upstream {
                address: endpoint.address(),
                local_address: None,
                locality: endpoint.locality().clone(),
                pool_ready: None,
                transport_failure: String::new(),
            });
        }
        let answer = self.ask(cluster, &endpoint, head, ends_with_headers);
        match policy.and_then(|policy| policy.per_try_timeout) {
            None => answer.await,
            Some(limit) => tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
                cluster.stats().try_timeout.inc();
                Err(Failure::TryTimeout)
            }),
        }
    }

    async fn ask<'a>(
        &'a self,
        cluster: &Rc<ClusterRuntime>,
        endpoint: &Rc<crate::upstream::pool::EndpointRuntime>,
        head: RequestHead,
        ends_with_headers: bool,
    ) -> Result<(ResponseHead, Answer<'a>), Failure> {
        let asked = Instant::now();
        let opened = cluster.open(endpoint, &head, ends_with_headers).await;
        let Opened {
            writer,
            reader,
            lease,
        } = opened.map_err(|error| self.open_failure(error))?;
        cluster.stats().requests.inc();
        {
            let mut facts = self.state.facts_mut();
            if let Some(upstream) = &mut facts.upstream {
                upstream.local_address = lease.local();
                upstream.pool_ready = Some(asked.elapsed());
            }
        }
        self.upstream_protocol.set(Some(lease.protocol()));
        let pump: Option<Pump<'a>> = if ends_with_headers {
            None
        } else {
            Some(Box::pin(self.outbound.pump(writer)))
        };
        let mut answer = Answer {
            pump,
            reader,
            _lease: lease,
            cluster: Rc::clone(cluster),
        };
        loop {
            let Answer { pump, reader, .. } = &mut answer;
            tokio::select! {
                biased;
                head = reader.head() => {
                    let head = head.map_err(|error| Failure::of(&error))?;
                    if !head.is_informational() {
                        return Ok((head, answer));
                    }
                    self.interim.push(head);
                }
                sent = pumped(pump) => {
                    *pump = None;
                    if let Err(StreamError { kind: StreamErrorKind::Unsendable(reason), .. }) = sent {
                        return Err(Failure::Unsendable(reason));
                    }
                    self.request_sent.set(self.request_sent.get().or(Some(Instant::now())));
                }
            }
        }
    }

    /// What a try that failed means for the client.
    fn failed(&self, failure: Failure, attempt: Attempt, cluster: &ClusterRuntime) -> Reply {
        let is_of_upstream = !matches!(failure, Failure::Unsendable(_));
        let mut reply = Reply::to(&match failure {
            Failure::Upstream(failure, _) => Reason::Upstream(failure, attempt),
            Failure::NobodyHealthy => Reason::NoHealthyUpstream,
            Failure::TryTimeout => Reason::TryTimeout,
            Failure::Unsendable(why) => self.unsendable_request(&why),
        });
        if is_of_upstream {
            cluster.stats().response(reply.status);
        }
        let tells = self.route.borrow().as_ref().map(RouteRef::tells_attempts);
        if tells.is_some_and(|tells| tells.response) {
            let count = self.state.facts().attempts.to_string();
            reply.headers.push(("x-envoy-attempt-count".into(), count.into()));
        }
        reply
    }

    fn open_failure(&self, error: OpenError) -> Failure {
        let (failure, outcome, text) = match error {
            OpenError::Overflow => (UpstreamFailure::Overflow, Outcome::Unavailable, String::new()),
            OpenError::Connect(text) => {
                let told = format!("delayed connect error: {text}");
                (UpstreamFailure::Connect(text), Outcome::Connect, told)
            }
            OpenError::ConnectTimeout => (
                UpstreamFailure::ConnectTimeout,
                Outcome::Connect,
                "connection timeout".to_owned(),
            ),
            OpenError::Stream(error) => return Failure::of(&error),
        };
        if let Some(upstream) = &mut self.state.facts_mut().upstream {
            upstream.transport_failure = text;
        }
        Failure::Upstream(failure, outcome)
    }
}

/// Never resolves when there is nothing to send.
pub(super) async fn pumped(pump: &mut Option<Pump<'_>>) -> Result<(), StreamError> {
    match pump {
        Some(pump) => pump.await,
        None => std::future::pending().await,
    }
}

/// What the retry policy looks at.
fn outcome(result: &Result<(ResponseHead, Answer<'_>), Failure>) -> Outcome {
    match result {
        Ok((head, _)) => {
            let grpc = head
                .headers
                .get(b"grpc-status")
                .and_then(|value| std::str::from_utf8(value).ok());
            Outcome::Response {
                status: head.status().unwrap_or(0),
                grpc_status: grpc.and_then(|text| text.parse().ok()),
            }
        }
        Err(Failure::Upstream(_, outcome)) => *outcome,
        Err(Failure::TryTimeout) => Outcome::TryTimeout,
        Err(Failure::NobodyHealthy | Failure::Unsendable(_)) => Outcome::Unavailable,
    }
}

/// How an upstream failed, for answer and log.
pub(super) fn upstream_failure(error: &StreamError) -> UpstreamFailure {
    match &error.kind {
        StreamErrorKind::Refused => UpstreamFailure::Refused,
        StreamErrorKind::Closed | StreamErrorKind::Io(_) => UpstreamFailure::Closed,
        StreamErrorKind::Malformed(_) => UpstreamFailure::Protocol,
        StreamErrorKind::Reset(_)
        | StreamErrorKind::Timeout
        | StreamErrorKind::Unsendable(_)
        | StreamErrorKind::Cancelled => UpstreamFailure::Reset,
    }
}

impl Failure {
    fn of(error: &StreamError) -> Self {
        if let StreamErrorKind::Unsendable(reason) = &error.kind {
            return Self::Unsendable(reason.clone());
        }
        let failure = upstream_failure(error);
        let outcome = match failure {
            UpstreamFailure::Refused => Outcome::Refused,
            UpstreamFailure::Connect(_)
            | UpstreamFailure::ConnectTimeout
            | UpstreamFailure::Closed
            | UpstreamFailure::Reset
            | UpstreamFailure::Protocol
            | UpstreamFailure::Overflow => Outcome::Reset {
                before_request: false,
            },
        };
        Self::Upstream(failure, outcome)
    }
}

/// Milliseconds since `start`, for `x-envoy-upstream-service-time`.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
