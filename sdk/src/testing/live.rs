//! Driving one exchange: feeding both messages to the filter and doing what its verdicts say.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Pairs;
use super::exchange::TestExchange;
use super::mesh::Mesh;
use super::message::{TestRequest, TestResponse};
use super::outcome::Outcome;
use crate::host::{Direction, ExchangeHost, LocalReply};
use crate::plugin::{BodyVerdict, Exchange, HeadersVerdict, Interest, Plugin, TrailersVerdict, Trap};

/// An exchange under way.
pub struct Live {
    host: Rc<TestExchange>,
    interest: Interest,
    exchange: Option<Box<dyn Exchange>>,
    request: VecDeque<Event>,
    response: VecDeque<Event>,
    upstream: Option<TestResponse>,
    /// A reply takes the place of everything that has not passed yet, once.
    replied: Option<LocalReply>,
    trap: Option<Trap>,
}

enum Event {
    Headers(Pairs, bool),
    Body(Vec<u8>, bool),
    Trailers(Pairs),
}

fn events(headers: Pairs, body: Vec<Vec<u8>>, trailers: Pairs) -> VecDeque<Event> {
    let has_trailers = !trailers.is_empty();
    let last = body.len();
    let mut events = VecDeque::from([Event::Headers(headers, body.is_empty() && !has_trailers)]);
    for (index, chunk) in body.into_iter().enumerate() {
        events.push_back(Event::Body(chunk, index + 1 == last && !has_trailers));
    }
    if has_trailers {
        events.push_back(Event::Trailers(trailers));
    }
    events
}

impl Live {
    pub(super) fn new(mesh: &Mesh, plugin: &Rc<dyn Plugin>, request: TestRequest) -> Self {
        let host = Rc::new(TestExchange::new(&mesh.0, request.properties));
        let created = plugin.exchange(Rc::clone(&host) as Rc<dyn ExchangeHost>);
        let (exchange, trap) = match created {
            Ok(exchange) => (Some(exchange), None),
            Err(trap) => (None, Some(trap)),
        };
        let mut live = Self {
            host,
            interest: plugin.interest(),
            exchange,
            request: events(request.headers, request.body, request.trailers),
            response: VecDeque::new(),
            upstream: Some(request.response),
            replied: None,
            trap,
        };
        live.proceed();
        live
    }

    /// Whether the filter holds the request (after going on as far as possible).
    pub fn is_held(&mut self) -> bool {
        self.proceed();
        Direction::Request.is_held(&self.host)
    }

    /// Whether the filter holds the response.
    pub fn is_response_held(&mut self) -> bool {
        self.proceed();
        Direction::Response.is_held(&self.host)
    }

    /// Goes on as far as possible, then ends the exchange: complete, or as if the client had left.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        self.proceed();
        self.host.over.set(true);
        let complete = self.request.is_empty()
            && self.response.is_empty()
            && self.upstream.is_none()
            && !Direction::Request.is_held(&self.host)
            && !Direction::Response.is_held(&self.host);
        if self.trap.is_none()
            && let Some(exchange) = &mut self.exchange
            && let Err(trap) = exchange.on_log()
        {
            self.trap = Some(trap);
        }
        if let Some(exchange) = self.exchange.take() {
            exchange.finish();
        }
        Outcome {
            upstream: self.host.halves[0].take().passed,
            response: self.host.halves[1].take().passed,
            reply: self.replied,
            complete,
            reset: self.host.reset.get(),
            cleared_route: self.host.cleared_route.get() > 0,
            properties: self.host.properties.take(),
            trap: self.trap.map(|trap| trap.0),
            failed: self.host.failed.get(),
        }
    }

    fn proceed(&mut self) {
        loop {
            self.take_reply();
            if self.trap.is_some() || self.host.reset.get() || self.host.failed.get() {
                return;
            }
            if self.replied.is_none() && !Direction::Request.is_held(&self.host) {
                if let Some(event) = self.request.pop_front() {
                    self.feed(Direction::Request, event);
                    continue;
                }
                if let Some(response) = self.upstream.take() {
                    self.response = events(response.headers, response.body, response.trailers);
                }
            }
            if Direction::Response.is_held(&self.host) {
                return;
            }
            let Some(event) = self.response.pop_front() else {
                return;
            };
            self.feed(Direction::Response, event);
        }
    }

    /// Puts a new reply in the place of the response.
    fn take_reply(&mut self) {
        let Some(reply) = self.host.reply.borrow().clone() else {
            return;
        };
        if self.replied.is_some() {
            return;
        }
        let mut half = self.host.half(Direction::Response).borrow_mut();
        if half.headers_passed {
            self.host.reset.set(true);
            return;
        }
        let mut headers = vec![(b":status".to_vec(), reply.status.to_string().into_bytes())];
        headers.extend(
            reply
                .headers
                .iter()
                .filter(|(name, _)| name != b":status")
                .cloned(),
        );
        if !reply.body.is_empty() && !headers.iter().any(|(name, _)| name == b"content-type") {
            headers.push((b"content-type".to_vec(), b"text/plain".to_vec()));
        }
        let body = if reply.body.is_empty() {
            Vec::new()
        } else {
            vec![reply.body.clone()]
        };
        // A reply from the filter's own response callback does not pass the filter again.
        let again = self.upstream.is_some();
        self.upstream = None;
        self.request.clear();
        self.host.half(Direction::Request).borrow_mut().held = false;
        if again {
            self.response = events(headers, body, Vec::new());
        } else {
            self.response.clear();
            *half = super::exchange::Half::default();
            half.passed.headers = headers;
            half.passed.body = body.concat();
            half.headers_passed = true;
        }
        drop(half);
        self.replied = Some(reply);
    }

    fn feed(&mut self, direction: Direction, event: Event) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        let host = Rc::clone(&self.host);
        let half = host.half(direction);
        half.borrow_mut().resumed = false;
        let (on_headers, on_body, on_trailers) = match direction {
            Direction::Request => {
                let interest = &self.interest;
                (
                    interest.request_headers,
                    interest.request_body,
                    interest.request_trailers,
                )
            }
            Direction::Response => {
                let interest = &self.interest;
                (
                    interest.response_headers,
                    interest.response_body,
                    interest.response_trailers,
                )
            }
        };
        let stays = match event {
            Event::Headers(fields, end) => {
                let count = fields.len();
                half.borrow_mut().headers = Some(fields);
                match (on_headers, direction) {
                    (false, _) => Ok(HeadersVerdict::Continue),
                    (true, Direction::Request) => exchange.on_request_headers(count, end),
                    (true, Direction::Response) => exchange.on_response_headers(count, end),
                }
                .map(|verdict| stays_after_headers(verdict, end))
            }
            Event::Body(chunk, end) => {
                half.borrow_mut().visible.get_or_insert_default().extend(chunk);
                let size = half.borrow().visible.as_ref().map_or(0, Vec::len);
                match (on_body, direction) {
                    (false, _) => Ok(BodyVerdict::Continue),
                    (true, Direction::Request) => exchange.on_request_body(size, end),
                    (true, Direction::Response) => exchange.on_response_body(size, end),
                }
                .map(|verdict| stays_after_body(verdict, end, &mut half.borrow_mut()))
            }
            Event::Trailers(fields) => {
                let count = fields.len();
                half.borrow_mut().trailers = Some(fields);
                match (on_trailers, direction) {
                    (false, _) => Ok(TrailersVerdict::Continue),
                    (true, Direction::Request) => exchange.on_request_trailers(count),
                    (true, Direction::Response) => exchange.on_response_trailers(count),
                }
                .map(|verdict| match verdict {
                    TrailersVerdict::Continue => Stays::No,
                    TrailersVerdict::Hold => Stays::UntilResume,
                })
            }
        };
        let replied = self.replied.is_none() && self.host.reply.borrow().is_some();
        match stays {
            Err(trap) => self.trap = Some(trap),
            Ok(_) if replied => {}
            Ok(stays) => {
                let mut half = half.borrow_mut();
                match (stays, half.resumed) {
                    (Stays::No, _) | (_, true) => half.pass(),
                    (Stays::UntilMore, false) => {}
                    (Stays::UntilResume, false) => half.held = true,
                }
            }
        }
    }
}

/// What becomes of what the filter was shown.
enum Stays {
    No,
    UntilMore,
    UntilResume,
}

fn stays_after_headers(verdict: HeadersVerdict, end: bool) -> Stays {
    match verdict {
        HeadersVerdict::Continue => Stays::No,
        HeadersVerdict::HoldHeaders if !end => Stays::UntilMore,
        HeadersVerdict::HoldHeaders | HeadersVerdict::Hold | HeadersVerdict::HoldAndBuffer => {
            Stays::UntilResume
        }
    }
}

fn stays_after_body(verdict: BodyVerdict, end: bool, half: &mut super::exchange::Half) -> Stays {
    let until = if end { Stays::UntilResume } else { Stays::UntilMore };
    match verdict {
        BodyVerdict::Continue => Stays::No,
        BodyVerdict::Buffer => until,
        BodyVerdict::Watermark => {
            let mut visible = half.visible.take().unwrap_or_default();
            half.kept.append(&mut visible);
            until
        }
        BodyVerdict::Drop => {
            half.visible = None;
            if end { Stays::No } else { Stays::UntilMore }
        }
    }
}

impl Direction {
    fn is_held(self, host: &TestExchange) -> bool {
        host.half(self).borrow().held
    }
}
