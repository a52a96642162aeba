//! A component of the `leno:filter` world, written as the core module that `wit-component` wraps.

use std::path::Path;
use std::sync::LazyLock;

use leno_sdk::host::{CallId, Direction, Map, QueueId};
use leno_sdk::plugin::{BodyVerdict, CallResponse, HeadersVerdict, Interest};
use leno_wasm::{Abi, Module, StartError};

use crate::support::{Recorded, engine, start};

/// Edits request headers, replies when it sees `end`, resumes the exchange that it saw last when a call is
/// answered, and breaks in response headers. A configuration that begins with `r` is refused.
const GUEST: &str = r#"(module
  (import "[export]leno:filter/plugin@0.1.0" "[resource-new]exchange" (func $new (param i32) (result i32)))
  (import "leno:filter/http@0.1.0" "edit" (func $edit (param i64 i32 i32 i32 i32)))
  (import "leno:filter/http@0.1.0" "header" (func $header (param i64 i32 i32 i32 i32)))
  (import "leno:filter/http@0.1.0" "reply"
    (func $reply (param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "leno:filter/flow@0.1.0" "resume" (func $resume (param i64 i32)))
  (import "leno:filter/log@0.1.0" "write" (func $write (param i32 i32 i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (data (i32.const 1024) "x-added") (data (i32.const 1040) "yes") (data (i32.const 1056) "wrong field")
  (data (i32.const 1072) "why: it") (data (i32.const 1088) ":path") (data (i32.const 1104) "gone")
  (data (i32.const 1120) "answer ")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 3))))
  (func (export "leno:filter/plugin@0.1.0#configure") (param $at i32) (param $size i32) (result i32)
    (call $write (i32.const 2) (local.get $at) (local.get $size))
    (if (i32.and (i32.gt_u (local.get $size) (i32.const 0))
                 (i32.eq (i32.load8_u (local.get $at)) (i32.const 114)))
      (then
        (i32.store8 (i32.const 2048) (i32.const 1))
        (i32.store (i32.const 2052) (i32.const 1056))
        (i32.store (i32.const 2056) (i32.const 11)))
      (else
        (i32.store8 (i32.const 2048) (i32.const 0))
        (i32.store8 (i32.const 2052) (i32.const 11))))
    (i32.const 2048))
  (func (export "leno:filter/plugin@0.1.0#on-tick"))
  (func (export "leno:filter/plugin@0.1.0#on-queue-ready") (param i32))
  (func (export "leno:filter/plugin@0.1.0#on-call-response") (param i32 i32 i32 i32 i32 i32 i32)
    (call $write (i32.const 2) (local.get 3) (local.get 4))
    (call $resume (i64.load (i32.const 3000)) (i32.const 0)))
  (func (export "leno:filter/plugin@0.1.0#[constructor]exchange") (param $id i64) (result i32)
    (local $self i32)
    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (local.set $self (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (i32.const 8)))
    (i64.store (local.get $self) (local.get $id))
    (i64.store (i32.const 3000) (local.get $id))
    (call $new (local.get $self)))
  (func (export "leno:filter/plugin@0.1.0#[dtor]exchange") (param i32)
    (call $write (i32.const 2) (i32.const 1104) (i32.const 4)))
  (func (export "leno:filter/plugin@0.1.0#[method]exchange.on-request-headers")
    (param $self i32) (param $fields i32) (param $end i32) (result i32)
    ;; log the path
    (call $header (i64.load (local.get $self)) (i32.const 0) (i32.const 1088) (i32.const 5) (i32.const 2100))
    (if (i32.eqz (i32.load8_u (i32.const 2100)))
      (then (call $write (i32.const 2) (i32.load (i32.const 2104)) (i32.load (i32.const 2108)))))
    ;; one edit: append x-added: yes
    (i32.store8 (i32.const 2200) (i32.const 0))
    (i32.store (i32.const 2204) (i32.const 1024)) (i32.store (i32.const 2208) (i32.const 7))
    (i32.store (i32.const 2212) (i32.const 1040)) (i32.store (i32.const 2216) (i32.const 3))
    (call $edit (i64.load (local.get $self)) (i32.const 0) (i32.const 2200) (i32.const 1) (i32.const 2300))
    (if (local.get $end) (then
      (call $reply (i64.load (local.get $self)) (i32.const 429) (i32.const 0) (i32.const 0)
        (i32.const 1040) (i32.const 3) (i32.const 1) (i32.const 8) (i32.const 1072) (i32.const 7))))
    (i32.const 2))
  (func (export "leno:filter/plugin@0.1.0#[method]exchange.on-request-body")
    (param i32 i32 i32) (result i32) (i32.const 1))
  (func (export "leno:filter/plugin@0.1.0#[method]exchange.on-request-trailers")
    (param i32 i32) (result i32) (i32.const 0))
  (func (export "leno:filter/plugin@0.1.0#[method]exchange.on-response-headers")
    (param i32 i32 i32) (result i32) unreachable)
  (func (export "leno:filter/plugin@0.1.0#[method]exchange.on-response-body")
    (param i32 i32 i32) (result i32) (loop $again (br $again)) (i32.const 0))
  (func (export "leno:filter/plugin@0.1.0#[method]exchange.on-response-trailers")
    (param i32 i32) (result i32) (i32.const 0))
  (func (export "leno:filter/plugin@0.1.0#[method]exchange.on-log") (param i32) unreachable))"#;

fn module() -> &'static Module {
    static MODULE: LazyLock<Module> = LazyLock::new(|| {
        let mut resolve = wit_parser::Resolve::default();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let (package, _) = resolve.push_dir(&folder).unwrap();
        let world = resolve.select_world(&[package], Some("filter")).unwrap();
        let mut core = wat::parse_str(GUEST).unwrap();
        let encoding = wit_component::StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut core, &resolve, world, encoding).unwrap();
        let mut encoder = wit_component::ComponentEncoder::default().module(&core).unwrap();
        engine().compile(&encoder.encode().unwrap()).unwrap()
    });
    &MODULE
}

#[test]
fn imports_only_what_it_uses() {
    assert_eq!(module().abi(), Abi::Component);
    let names: Vec<_> = module()
        .inspection()
        .imports
        .iter()
        .map(|import| import.name.as_str())
        .collect();
    let expected = ["types", "http", "flow", "log"].map(|name| format!("leno:filter/{name}@0.1.0"));
    assert_eq!(names, expected);
}

#[test]
fn is_configured_and_says_what_it_wants() {
    let (plugin, host) = start(module(), "hello").unwrap();
    assert_eq!(host.take_log(), ["Info hello"]);
    let expected = Interest {
        request_headers: true,
        request_body: true,
        response_headers: true,
        ..Interest::NONE
    };
    assert_eq!(plugin.interest(), expected);
    assert_eq!(*host.accounted.borrow(), ["configure"]);
}

#[test]
fn refuses_a_wrong_configuration_with_its_reason() {
    let error = start(module(), "refuse").err().unwrap();
    let expected = StartError::Configuration {
        reason: "wrong field".into(),
        log: vec!["refuse".into()],
    };
    assert_eq!(error, expected);
}

#[test]
fn edits_replies_and_ends() {
    let (plugin, host) = start(module(), "").unwrap();
    host.take_log();
    let recorded = Recorded::get("/a");
    let mut exchange = plugin.exchange(recorded.clone()).unwrap();
    assert_eq!(
        exchange.on_request_headers(4, true).unwrap(),
        HeadersVerdict::Hold
    );
    assert_eq!(
        recorded.field(Map::RequestHeaders, "x-added").as_deref(),
        Some("yes")
    );
    let replies = recorded.replies.borrow();
    assert_eq!((replies[0].status, replies[0].grpc_status), (429, Some(8)));
    assert_eq!(
        (replies[0].body.as_slice(), replies[0].details.as_str()),
        (b"yes".as_slice(), "why:_it")
    );
    assert_eq!(exchange.on_request_body(1, false).unwrap(), BodyVerdict::Buffer);
    exchange.on_log().expect("it does not want the log");
    exchange.finish();
    assert_eq!(host.take_log(), ["Info /a", "Info gone"]);
    drop(replies);
    assert_eq!(std::rc::Rc::strong_count(&recorded), 1);
}

#[test]
fn acts_on_a_live_exchange_from_a_plugins_callback() {
    let (plugin, host) = start(module(), "").unwrap();
    host.take_log();
    let (first, second) = (Recorded::get("/a"), Recorded::get("/b"));
    let first_part = plugin.exchange(first.clone()).unwrap();
    let second_part = plugin.exchange(second.clone()).unwrap();
    plugin.on_tick().unwrap();
    plugin.on_queue_ready(QueueId(1)).unwrap();
    let response = CallResponse {
        body: b"the answer".to_vec(),
        ..CallResponse::default()
    };
    plugin.on_call_response(CallId(9), &response).unwrap();
    assert_eq!(host.take_log(), ["Info the answer"]);
    assert!(first.resumed.borrow().is_empty());
    assert_eq!(*second.resumed.borrow(), [Direction::Request]);
    second_part.finish();
    plugin
        .on_call_response(CallId(10), &response)
        .expect("an exchange that is over is nobody");
    first_part.finish();
}

#[test]
fn a_trap_fails_the_other_exchanges_of_the_plugin() {
    let (plugin, _host) = start(module(), "").unwrap();
    let (first, second) = (Recorded::get("/a"), Recorded::get("/b"));
    let mut breaks = plugin.exchange(first.clone()).unwrap();
    let other = plugin.exchange(second.clone()).unwrap();
    let trap = breaks.on_response_headers(1, true).unwrap_err();
    assert!(
        trap.0
            .starts_with("on-response-headers failed: wasm trap: wasm `unreachable`"),
        "{trap}"
    );
    assert_eq!((first.failed.get(), second.failed.get()), (false, true));
    assert!(plugin.is_broken() && plugin.exchange(Recorded::get("/c")).is_err());
    breaks.finish();
    other.finish();
}

#[test]
fn an_endless_loop_is_stopped_at_its_deadline() {
    let (plugin, _host) = start(module(), "").unwrap();
    let mut exchange = plugin.exchange(Recorded::get("/a")).unwrap();
    let trap = exchange.on_response_body(1, true).unwrap_err();
    assert!(trap.0.contains("it ran longer than its deadline"), "{trap}");
}
