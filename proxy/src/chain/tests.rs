//! What filters are told, and what passes, exchange by exchange.
//!
//! A filter is written as `name[:policy] interest / callback verdict verdict / callback verdict`. Callbacks are
//! `>h >b >t` for the headers, body and trailers of a request, `<h <b <t` for a response; `*` is interested in all.
//! A verdict may do things first: `set(x=1)+continue`. After its verdicts are used up, a callback continues.
//! Events and the trace that they leave are explained by the first tests.

mod bodies;
mod failures;
mod flow;
mod random;
mod replies;
mod scripted;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use leno_model::bootstrap::Node;
use leno_sdk::host::Direction;

use crate::chain::tests::scripted::{Trace, World};
use crate::chain::{Chain, Step};
use crate::exchange::ExchangeState;
use crate::exchange::facts::{Connection, Facts, ListenerFacts};
use crate::http::headers::Headers;
use crate::http::message::Protocol;
use crate::reply::Reply;

/// Runs events through filters and compares everything that happens, word by word.
#[track_caller]
fn check(filters: &[&str], events: &[&str], expected: &[&str]) {
    let got = run(filters, events);
    assert_eq!(got.join("\n"), expected.join("\n"));
}

fn run(filters: &[&str], events: &[&str]) -> Vec<String> {
    let trace = Trace::default();
    let world = World::new(filters, trace.clone());
    let state = exchange();
    let mut chain = None;
    for event in events {
        let (name, rest) = event.split_once(' ').unwrap_or((event, ""));
        if name == "finish" {
            let chain: Chain = chain.take().expect("it has begun");
            chain.log();
            chain.finish();
            continue;
        }
        let chain = chain.get_or_insert_with(|| Chain::begin(&world.slots(), state.clone(), 10));
        let (direction, step) = happen(chain, &world, name, rest);
        show(&trace, &state, direction, step);
        let other = opposite(direction);
        show(&trace, &state, other, chain.resumed(other));
    }
    // The end is only part of the trace where a test asks for it.
    let finished = chain.is_none();
    let before = if finished { Vec::new() } else { trace.take() };
    drop((chain, world));
    if finished { trace.take() } else { before }
}

fn happen(chain: &Chain, world: &World, name: &str, rest: &str) -> (Direction, Step) {
    let direction = if name.starts_with('<') {
        Direction::Response
    } else {
        Direction::Request
    };
    let body = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let step = match name {
        ">" => chain.request_headers(rest == "end"),
        "<" => {
            let (status, end) = rest.split_once(' ').unwrap_or((rest, ""));
            chain.response_headers([(":status", status)].into_iter().collect(), end == "end")
        }
        ">data" | "<data" => match rest.split_once(' ') {
            Some((text, _)) => chain.data(direction, body(text), true),
            None => chain.data(direction, body(rest), false),
        },
        ">end" | "<end" => chain.data(direction, Bytes::new(), true),
        ">trailers" | "<trailers" => chain.trailers(direction, [("t", rest)].into_iter().collect()),
        "<reply" => {
            let (status, body) = rest.split_once(' ').unwrap_or((rest, ""));
            chain.reply(&Reply::text(status.parse().unwrap(), body.to_owned()))
        }
        ">wants" | "<wants" => {
            assert_eq!(chain.wants(direction).to_string(), rest, "{name}");
            chain.resumed(direction)
        }
        // What a filter does outside of the exchange's callbacks: `a resume(>)`.
        filter => {
            world.act(filter, rest);
            chain.resumed(direction)
        }
    };
    (direction, step)
}

fn show(trace: &Trace, state: &ExchangeState, direction: Direction, step: Step) {
    let arrow = match direction {
        Direction::Request => "=>",
        Direction::Response => "<=",
    };
    let text = match step {
        Step::Hold => return,
        Step::Replied => return trace.once("=> replied"),
        Step::Reset => return trace.once(&format!("reset {}", state.facts().response_details)),
        Step::Forward(flow) => {
            let mut words = vec![arrow.to_owned()];
            if flow.headers {
                let headers = state.headers(direction);
                let fields = headers.iter().filter(|(name, _)| match direction {
                    Direction::Request => !name.starts_with(b":"),
                    Direction::Response => *name != b"content-length" && *name != b"content-type",
                });
                words.extend(
                    fields.map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii())),
                );
                words.insert(1, "headers".to_owned());
            }
            let end = flow.end;
            words.extend(flow.data.map(|chunk| format!("'{}'", chunk.escape_ascii())));
            if flow.trailers {
                let trailers = state.trailers(direction);
                let fields = trailers.as_ref().expect("trailers pass").iter();
                words.extend(
                    fields.map(|(name, value)| format!("{}:{}", name.escape_ascii(), value.escape_ascii())),
                );
            }
            if end {
                words.push("end".to_owned());
            }
            words.join(" ")
        }
    };
    trace.add(text);
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Request => Direction::Response,
        Direction::Response => Direction::Request,
    }
}

/// A request for `/a?b=c` on `web`.
pub(crate) fn exchange() -> Rc<ExchangeState> {
    let headers: Headers = [
        (":authority", "web"),
        (":path", "/a?b=c"),
        (":method", "POST"),
        (":scheme", "http"),
    ]
    .into_iter()
    .collect();
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let connection = Connection {
        id: 7,
        source: address("10.0.0.1:4000"),
        destination: address("10.0.0.2:80"),
        server_name: String::new(),
        tls: None,
        listener: Arc::new(ListenerFacts::default()),
        node: Arc::new(Node::default()),
    };
    let facts = Facts::new(Protocol::Http11, SystemTime::now(), Instant::now());
    ExchangeState::new(Rc::new(connection), headers, facts)
}
