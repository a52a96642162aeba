//! A filter of the Proxy-Wasm SDK for Rust, which panics on every status it does not know and on every callback
//! that comes at the wrong time.

use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use leno_sdk::host::{CallId, Direction, Map, QueueId};
use leno_sdk::plugin::{BodyVerdict, CallResponse, Exchange, HeadersVerdict, Plugin};
use leno_wasm::{Abi, Module, ProxyWasmVersion, StartError};

use crate::support::{Host, Recorded, build, engine, fields, start};

/// Built once per run.
fn module() -> &'static Module {
    static MODULE: LazyLock<Module> =
        LazyLock::new(|| engine().compile(&build("classic", "wasm32-wasip1")).unwrap());
    &MODULE
}

/// An exchange that has seen its request headers.
struct Seen {
    plugin: Rc<dyn Plugin>,
    host: Rc<Host>,
    recorded: Rc<Recorded>,
    exchange: Box<dyn Exchange>,
    verdict: HeadersVerdict,
}

fn request(path: &str) -> Seen {
    let (plugin, host) = start(module(), "hello").unwrap();
    let recorded = Recorded::get(path);
    let mut exchange = plugin.exchange(recorded.clone()).unwrap();
    let verdict = exchange.on_request_headers(4, true).unwrap();
    Seen {
        plugin,
        host,
        recorded,
        exchange,
        verdict,
    }
}

#[test]
fn is_recognised_and_starts_with_its_configuration() {
    assert_eq!(module().abi(), Abi::ProxyWasm(ProxyWasmVersion::V0_2_1));
    let (plugin, host) = start(module(), "hello").unwrap();
    assert_eq!(host.tick.get(), Duration::from_millis(250));
    plugin.on_tick().unwrap();
    assert_eq!(host.take_log(), ["Info tick of hello"]);
}

#[test]
fn refuses_a_wrong_configuration_with_its_reason() {
    let Err(StartError::Refused { callback, log }) = start(module(), "refuse") else {
        panic!("it started")
    };
    assert_eq!(
        (callback, log),
        (
            "proxy_on_configure",
            vec!["the field `answer` is missing".to_owned()]
        )
    );
}

#[test]
fn reads_and_edits_headers() {
    let Seen {
        host,
        recorded,
        verdict,
        exchange: _exchange,
        ..
    } = request("/headers");
    assert_eq!(verdict, HeadersVerdict::Continue);
    let field = |name| recorded.field(Map::RequestHeaders, name);
    assert_eq!(field("x-count").as_deref(), Some("4"));
    assert_eq!(field("x-configuration").as_deref(), Some("hello"));
    assert_eq!(field("x-secret"), None);
    assert_eq!(*host.metrics.borrow(), [("seen".to_owned(), 1)]);
}

#[test]
fn answers_instead_of_the_upstream() {
    let Seen {
        recorded,
        verdict,
        exchange: _exchange,
        ..
    } = request("/reply");
    assert_eq!(verdict, HeadersVerdict::Hold);
    let replies = recorded.replies.borrow();
    assert_eq!(
        (replies[0].status, replies[0].body.as_slice()),
        (403, b"no".as_slice())
    );
    assert_eq!(replies[0].headers, fields(&[("x-why", "because")]));
    assert_eq!(replies[0].grpc_status, None);
}

#[test]
fn buffers_a_body_and_replaces_it() {
    let Seen {
        recorded,
        mut exchange,
        ..
    } = request("/body");
    recorded.bodies.borrow_mut()[0] = Some(b"some ".to_vec());
    assert_eq!(exchange.on_request_body(5, false).unwrap(), BodyVerdict::Buffer);
    recorded.bodies.borrow_mut()[0] = Some(b"some text".to_vec());
    assert_eq!(exchange.on_request_body(9, true).unwrap(), BodyVerdict::Continue);
    assert_eq!(
        recorded.bodies.borrow()[0].as_deref(),
        Some(b"SOME TEXT".as_slice())
    );
    recorded.maps.borrow_mut()[2] = Some(fields(&[(":status", "200")]));
    recorded.bodies.borrow_mut()[1] = Some(b"answer".to_vec());
    exchange.on_response_headers(1, false).unwrap();
    exchange.on_response_body(6, true).unwrap();
    assert_eq!(
        recorded.field(Map::ResponseHeaders, "x-filter").as_deref(),
        Some("classic")
    );
    assert_eq!(
        recorded.bodies.borrow()[1].as_deref(),
        Some(b"answer!".as_slice())
    );
}

#[test]
fn a_call_pauses_the_exchange_until_its_answer() {
    let Seen {
        plugin,
        host,
        recorded,
        verdict,
        exchange: _exchange,
    } = request("/call");
    assert_eq!(verdict, HeadersVerdict::Hold);
    let call = host.calls.borrow()[0].clone();
    assert_eq!(
        (call.cluster.as_str(), call.body.as_slice()),
        ("keys", b"?".as_slice())
    );
    assert_eq!((call.headers.len(), call.timeout), (3, Duration::from_secs(1)));
    let response = CallResponse {
        headers: fields(&[(":status", "200"), ("x", "y")]),
        body: b"key".to_vec(),
        trailers: Vec::new(),
    };
    plugin.on_call_response(CallId(1), &response).unwrap();
    assert_eq!(host.take_log(), ["Info 2 2 0 200 key"]);
    assert_eq!(*recorded.resumed.borrow(), [Direction::Request]);
    assert_eq!(
        recorded.field(Map::RequestHeaders, "x-answer").as_deref(),
        Some("200")
    );
    plugin.on_call_response(CallId(1), &response).unwrap();
    assert_eq!(
        host.take_log(),
        [""; 0],
        "an answer that was given before does not reach the guest"
    );
}

#[test]
fn an_answer_may_come_after_its_exchange() {
    let Seen {
        plugin,
        host,
        recorded,
        exchange,
        ..
    } = request("/call");
    exchange.finish();
    plugin
        .on_call_response(CallId(1), &CallResponse::default())
        .unwrap();
    assert!(!plugin.is_broken());
    assert!(recorded.resumed.borrow().is_empty());
    assert_eq!(host.take_log(), [""; 0]);
}

#[test]
fn open_calls_are_cancelled_when_the_plugin_ends() {
    let Seen {
        plugin,
        host,
        exchange,
        ..
    } = request("/call");
    exchange.finish();
    plugin.on_shutdown();
    assert_eq!(*host.cancelled.borrow(), [CallId(1)]);
}

#[test]
fn open_calls_are_cancelled_when_the_guest_breaks() {
    let Seen { plugin, host, .. } = request("/call");
    plugin
        .exchange(Recorded::get("/panic"))
        .unwrap()
        .on_request_headers(4, true)
        .unwrap_err();
    assert_eq!(*host.cancelled.borrow(), [CallId(1)]);
    plugin
        .on_call_response(CallId(1), &CallResponse::default())
        .expect("it is not asked any more");
}

#[test]
fn a_call_to_nobody_is_refused_and_the_guest_goes_on() {
    let Seen { plugin, host, .. } = request("/call-nobody");
    assert_eq!(host.take_log(), ["Info Err(BadArgument)"]);
    assert!(!plugin.is_broken());
}

#[test]
fn shared_data_is_counted_with_compare_and_swap() {
    let Seen { plugin, host, .. } = request("/shared");
    let recorded = Recorded::get("/shared");
    plugin
        .exchange(recorded.clone())
        .unwrap()
        .on_request_headers(4, true)
        .unwrap();
    assert_eq!(
        recorded.field(Map::RequestHeaders, "x-count").as_deref(),
        Some("2")
    );
    assert_eq!(host.shared.borrow()[b"count".as_slice()].0, 2u32.to_le_bytes());
}

#[test]
fn queues_carry_entries_to_their_root() {
    let Seen { plugin, host, .. } = request("/queue");
    plugin.on_queue_ready(QueueId(7)).unwrap();
    assert_eq!(host.take_log(), ["Info from the queue: job"]);
    assert!(host.queue.borrow().is_empty());
}

#[test]
fn attributes_are_read_and_written_by_path() {
    let Seen { host, recorded, .. } = request("/property");
    assert_eq!(host.take_log(), ["Info id-1 None"]);
    assert_eq!(recorded.properties.borrow()[b"seen".as_slice()], b"yes");
}

#[test]
fn a_panic_is_logged_and_breaks_the_guest() {
    let (plugin, host) = start(module(), "").unwrap();
    let mut exchange = plugin.exchange(Recorded::get("/panic")).unwrap();
    let trap = exchange.on_request_headers(4, true).unwrap_err();
    assert!(
        trap.0.contains("unreachable") && trap.0.contains("rust_panic"),
        "{trap}"
    );
    let log = host.take_log().join("\n");
    assert!(log.contains("panicked at") && log.contains("on purpose"), "{log}");
    assert!(plugin.is_broken());
    exchange.finish();
}

#[test]
fn a_thousand_exchanges_leave_nothing_behind() {
    let (plugin, host) = start(module(), "hello").unwrap();
    for _ in 0..1000 {
        let recorded = Recorded::get("/headers");
        let mut exchange = plugin.exchange(recorded.clone()).unwrap();
        exchange.on_request_headers(4, true).unwrap();
        exchange.on_log().unwrap();
        exchange.finish();
        assert_eq!(Rc::strong_count(&recorded), 1);
    }
    drop(plugin);
    assert_eq!(host.metrics.borrow()[0].1, 1000);
    assert_eq!(Rc::strong_count(&host), 1);
}
