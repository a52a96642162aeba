//! A filter that uses most of what there is, against the mesh in memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use leno_sdk::testing::{Mesh, Running, get, post, response};
use leno_sdk::{
    Body, BodyVerdict, Call, CallId, CallResponse, ConfigError, Context, Direction, Filter, Handle,
    HeadersVerdict, HostError, Interest, Log, QueueId, Request, Response, TrailersVerdict,
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    greeting: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            greeting: "hello".into(),
        }
    }
}

/// What it does to a request depends on the path.
struct Probe {
    greeting: String,
    parked: RefCell<BTreeMap<CallId, Handle>>,
    queue: QueueId,
}

#[derive(Default)]
struct Exchange {
    path: String,
    call: Option<CallId>,
}

fn call(cluster: &str) -> Call {
    let headers = [(":method", "GET"), (":path", "/check"), (":authority", "a")];
    Call {
        cluster: cluster.into(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect(),
        ..Call::default()
    }
}

impl Filter for Probe {
    type Config = Config;
    type Exchange = Exchange;
    const INTEREST: Interest = Interest::ALL;

    fn configure(config: Config, context: &Context) -> Result<Self, ConfigError> {
        if config.greeting.is_empty() {
            return Err(ConfigError::new("greeting", "must not be empty"));
        }
        context.set_tick_period(Duration::from_secs(5));
        let queue = context.queue_register("probe");
        Ok(Self {
            greeting: config.greeting,
            parked: RefCell::default(),
            queue,
        })
    }

    fn on_request_headers(&self, exchange: &mut Exchange, request: &Request<'_>) -> HeadersVerdict {
        exchange.path = String::from_utf8(request.path()).unwrap();
        match exchange.path.as_str() {
            "/park" => {
                let id = request.context().call(call("checker")).unwrap();
                self.parked.borrow_mut().insert(id, request.handle());
                exchange.call = Some(id);
                HeadersVerdict::Hold
            }
            "/panic" => panic!("asked to"),
            "/reply-twice" => {
                request.reply(401).body("first").send();
                request.reply(402).body("second").send().into()
            }
            "/greet" => {
                request.headers().set("x-greeting", &self.greeting);
                HeadersVerdict::Continue
            }
            "/sign" => HeadersVerdict::HoldHeaders,
            "/reset" => {
                request.reset();
                HeadersVerdict::Hold
            }
            "/push" => {
                request.context().queue_push(self.queue, "job").unwrap();
                HeadersVerdict::Continue
            }
            _ => HeadersVerdict::Continue,
        }
    }

    fn on_request_body(&self, exchange: &mut Exchange, body: &Body<'_>) -> BodyVerdict {
        match (exchange.path.as_str(), body.end()) {
            ("/sign", false) | ("/upper", false) => BodyVerdict::Buffer,
            ("/sign", true) => {
                body.headers().set("x-length", body.len().to_string());
                BodyVerdict::Continue
            }
            ("/upper", true) => {
                body.replace(body.bytes().to_ascii_uppercase());
                BodyVerdict::Continue
            }
            ("/drop", _) => BodyVerdict::Drop,
            ("/late", _) => {
                body.headers().set("x-late", "1");
                BodyVerdict::Continue
            }
            _ => BodyVerdict::Continue,
        }
    }

    fn on_request_trailers(&self, _: &mut Exchange, request: &Request<'_>) -> TrailersVerdict {
        request.trailers().append("x-seen", "1");
        TrailersVerdict::Continue
    }

    fn on_response_headers(&self, exchange: &mut Exchange, response: &Response<'_>) -> HeadersVerdict {
        response.headers().append("x-path", &exchange.path);
        match exchange.path.as_str() {
            "/hide" => response.reply(404).body("hidden").send().into(),
            _ => HeadersVerdict::Continue,
        }
    }

    fn on_log(&self, _: &mut Exchange, log: &Log<'_>) {
        let status = log.response_headers().text(":status").unwrap_or_default();
        log.context().info(format_args!(
            "{} {status}",
            log.request_headers().text(":path").unwrap()
        ));
    }

    fn on_end(&self, exchange: Exchange) {
        if let Some(call) = exchange.call {
            self.parked.borrow_mut().remove(&call);
        }
    }

    fn on_tick(&self, context: &Context) {
        let counted = context.shared_update("ticks", 3, |value| {
            let count: u32 = value.map_or(0, |value| String::from_utf8_lossy(value).parse().unwrap());
            (Some((count + 1).to_string().into_bytes()), ())
        });
        counted.unwrap();
    }

    fn on_call_response(&self, call: CallId, response: &CallResponse, context: &Context) {
        let Some(handle) = self.parked.borrow_mut().remove(&call) else {
            context.info("nobody waits");
            return;
        };
        if response.body == b"yes" {
            handle.fields(leno_sdk::Map::RequestHeaders).set("x-checked", "1");
            handle.resume(Direction::Request);
        } else {
            handle.reply(403).details("said_no").send();
        }
    }

    fn on_queue_ready(&self, queue: QueueId, context: &Context) {
        let entry = context.queue_pop(queue).unwrap();
        context.info(format_args!("took {}", String::from_utf8(entry).unwrap()));
    }
}

fn start() -> Running {
    Mesh::new().worker().native::<Probe>("").unwrap()
}

fn logged(filter: &Running, line: &str) -> bool {
    filter.mesh().logs().iter().any(|(_, text)| text == line)
}

#[test]
fn a_held_request_goes_on_or_is_answered_when_the_call_ends() {
    let filter = start();
    let mut first = filter.begin(get("/park"));
    let mut second = filter.begin(get("/park"));
    assert!(first.is_held() && second.is_held());
    assert_eq!(filter.answer(response(200).chunk("yes")).cluster, "checker");
    assert!(!first.is_held() && second.is_held());
    first
        .finish()
        .assert_status(200)
        .assert_upstream_header("x-checked", "1");
    filter.answer(response(200).chunk("no"));
    second
        .finish()
        .assert_reply(403)
        .assert_details("said_no")
        .assert_header("x-path", "/park");
}

#[test]
fn an_exchange_that_ends_while_it_is_held_is_forgotten() {
    let filter = start();
    assert!(!filter.begin(get("/park")).finish().complete);
    filter.answer(response(200).chunk("yes"));
    assert!(logged(&filter, "nobody waits"));
}

#[test]
fn a_panic_is_a_trap_and_the_last_callback() {
    let filter = start();
    let outcome = filter.run(get("/panic"));
    assert_eq!(outcome.trap.as_deref(), Some("the filter panicked: asked to"));
    assert!(filter.plugin().is_broken());
    assert_eq!(
        filter.run(get("/")).trap.as_deref(),
        Some("the filter has panicked before")
    );
}

#[test]
fn the_first_reply_wins_and_passes_the_own_response_callback() {
    let outcome = start().run(get("/reply-twice"));
    outcome
        .assert_reply(401)
        .assert_body("first")
        .assert_header("x-path", "/reply-twice");
}

#[test]
fn a_reply_in_place_of_a_response_does_not_come_back() {
    let outcome = start().run(get("/hide").answered(response(200).header("secret", "1").chunk("secret")));
    outcome
        .assert_reply(404)
        .assert_body("hidden")
        .assert_no_header("secret")
        .assert_no_header("x-path");
}

#[test]
fn bodies_can_be_seen_whole_replaced_and_dropped() {
    let filter = start();
    let chunks = |path: &str| post(path, "ab").chunk("").chunk("cd").chunk("");
    filter
        .run(chunks("/upper"))
        .assert_status(200)
        .assert_upstream_body("ABCD");
    filter
        .run(chunks("/drop"))
        .assert_status(200)
        .assert_upstream_body("");
    filter
        .run(chunks("/"))
        .assert_status(200)
        .assert_upstream_body("abcd");
}

#[test]
fn held_headers_can_be_changed_until_the_body_goes_on() {
    let outcome = start().run(post("/sign", "abc").chunk("de"));
    outcome
        .assert_status(200)
        .assert_upstream_header("x-length", "5")
        .assert_upstream_body("abcde");
}

#[test]
fn headers_that_are_gone_cannot_be_changed_and_the_log_says_so() {
    let filter = start();
    filter
        .run(post("/late", "a"))
        .assert_status(200)
        .assert_no_upstream_header("x-late");
    assert!(logged(
        &filter,
        "RequestHeaders: cannot change x-late: not available in this phase"
    ));
}

#[test]
fn trailers_can_be_added_to() {
    let outcome = start().run(post("/", "a").trailer("x-end", "1"));
    let names: Vec<_> = outcome
        .upstream
        .trailers
        .iter()
        .map(|(name, _)| name.as_slice())
        .collect();
    assert_eq!(names, [b"x-end".as_slice(), b"x-seen"]);
}

#[test]
fn a_reset_ends_the_exchange_without_an_answer() {
    let outcome = start().run(get("/reset"));
    assert!(outcome.reset && outcome.response.headers.is_empty());
}

#[test]
fn the_log_sees_both_messages() {
    let filter = start();
    filter
        .run(get("/greet").answered(response(204)))
        .assert_upstream_header("x-greeting", "hello");
    assert!(logged(&filter, "/greet 204"));
}

#[test]
fn ticks_come_at_their_time_and_count_in_shared_data() {
    let filter = start();
    filter.advance(Duration::from_millis(4_999));
    assert_eq!(filter.mesh().shared("ticks"), None);
    filter.advance(Duration::from_secs(11));
    assert_eq!(filter.mesh().shared("ticks").as_deref(), Some(b"3".as_slice()));
}

#[test]
fn queues_reach_the_worker_that_registered_last() {
    let mesh = Mesh::new();
    let first = mesh.worker().native::<Probe>("").unwrap();
    let second = mesh.worker().native::<Probe>("").unwrap();
    first.run(get("/push")).assert_status(200);
    first.notify_queues();
    assert!(!logged(&first, "took job"));
    second.notify_queues();
    assert!(logged(&first, "took job"));
}

#[test]
fn a_configuration_is_refused_with_the_field() {
    let refused = |config: &str| Mesh::new().worker().native::<Probe>(config).err().unwrap();
    assert_eq!(refused(r#"{"greeting": ""}"#), "greeting: must not be empty");
    assert!(refused(r#"{"greetings": ""}"#).starts_with("greetings: unknown field `greetings`"));
}

#[test]
fn compare_and_swap_sees_other_writers() {
    let mesh = Mesh::new();
    let worker = mesh.worker();
    worker
        .start(|host| {
            mesh.set_shared("k", "1");
            let mut value = Vec::new();
            let version = host.shared_get(b"k", &mut value).unwrap();
            mesh.set_shared("k", "2");
            assert_eq!(
                host.shared_set(b"k", b"3", Some(version)),
                Err(HostError::Conflict)
            );
            assert_eq!(host.shared_set(b"new", b"3", Some(u32::MAX)), Ok(()));
            assert_eq!(
                host.shared_set(b"new", b"4", Some(u32::MAX)),
                Err(HostError::Conflict)
            );
            leno_sdk::native::start::<Probe>(b"", host)
        })
        .unwrap();
}
