//! Real guests in chains: the part of a filter's life in which module, chain and policy meet.

use std::rc::Rc;
use std::sync::Arc;

use leno_model::filter::{FailurePolicy, FilterConfig, WasmCode};
use leno_sdk::host::Direction;

use super::exchanges::{answered, begin};
use super::{config, on_worker, shared};
use crate::chain::Step;
use crate::filters::slot::FilterSlot;
use crate::filters::slots::Slots;
use crate::filters::{Shared, prepare};
use crate::stats::Registry;

/// Writes `x-wasm: 1` into each request; traps for `x-trap`, holds for `x-hold`; refuses the configuration `no`.
const GUEST: &str = r#"(module
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-wasm") (data (i32.const 32) "1")
  (data (i32.const 48) "x-trap") (data (i32.const 64) "x-hold")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.ne (local.get 1) (i32.const 2)))
  (func $has (param i32) (result i32)
    (i32.eqz (call $get (i32.const 0) (local.get 0) (i32.const 6) (i32.const 128) (i32.const 132))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (call $has (i32.const 48)) (then (unreachable)))
    (drop (call $add (i32.const 0) (i32.const 16) (i32.const 6) (i32.const 32) (i32.const 1)))
    (call $has (i32.const 64))))"#;

fn guest() -> Vec<u8> {
    wat::parse_str(GUEST).unwrap()
}

fn start(slots: &Slots, shared: &Shared, failure: FailurePolicy) -> Rc<FilterSlot> {
    let mut config = config("");
    config.failure = failure;
    config.vm.code = WasmCode::File("guest.wasm".into());
    let prepared = prepare(&FilterConfig::Wasm(Box::new(config)), Some(&guest()), shared);
    slots.start(&Arc::new(prepared.unwrap())).unwrap()
}

fn status(slot: &Rc<FilterSlot>, field: &str) -> Option<Vec<u8>> {
    let (_, chain, step) = begin(slot, field);
    answered(&chain, step)
}

#[test]
fn a_guest_changes_a_request() {
    on_worker(async |shared, _, slots, _| {
        let slot = start(slots, shared, FailurePolicy::Closed);
        let (state, chain, step) = begin(&slot, "x");
        assert_eq!(answered(&chain, step), None);
        assert_eq!(state.headers(Direction::Request).get(b"x-wasm"), Some(&b"1"[..]));
        assert!(state.take_route_cleared(), "the route depends on the request");
        chain.log();
        chain.finish();
    });
}

#[test]
fn a_trap_is_answered_by_the_policy() {
    let unavailable = || Some(b"503".to_vec());
    on_worker(async |shared, _, slots, _| {
        let closed = start(slots, shared, FailurePolicy::Closed);
        assert_eq!(status(&closed, "x-trap"), unavailable());
        assert_eq!(status(&closed, "x"), None, "a fresh guest serves");
        let open = start(slots, shared, FailurePolicy::Open);
        let (state, chain, step) = begin(&open, "x-trap");
        assert_eq!(answered(&chain, step), None);
        assert_eq!(state.headers(Direction::Request).get(b"x-wasm"), None, "skipped");
        let (state, chain, step) = begin(&open, "x");
        assert_eq!(answered(&chain, step), None);
        assert!(
            state.headers(Direction::Request).contains(b"x-wasm"),
            "a fresh guest"
        );
        let reload = start(slots, shared, FailurePolicy::Reload);
        assert_eq!(status(&reload, "x-trap"), unavailable());
        assert_eq!(status(&reload, "x"), None);
    });
}

#[test]
fn a_trap_ends_the_other_exchanges_of_its_vm_at_once() {
    on_worker(async |shared, _, slots, _| {
        let slot = start(slots, shared, FailurePolicy::Closed);
        let (state, held, step) = begin(&slot, "x-hold");
        assert!(matches!(step, Step::Hold));
        assert_eq!(status(&slot, "x-trap"), Some(b"503".to_vec()));
        state.woken(Direction::Request).await;
        let step = held.resumed(Direction::Request);
        assert_eq!(answered(&held, step), Some(b"503".to_vec()));
        assert_eq!(state.facts().response_details, "wasm_fail_stream");
    });
}

#[test]
fn a_guest_that_refuses_its_configuration_is_refused() {
    let mut config = config("no");
    config.vm.code = WasmCode::File("guest.wasm".into());
    let config = FilterConfig::Wasm(Box::new(config));
    let refusal = prepare(&config, Some(&guest()), &shared(&Registry::new()))
        .err()
        .unwrap();
    assert_eq!(
        refusal.to_string(),
        "config: the filter does not start with this configuration: proxy_on_configure returned false"
    );
}

#[test]
fn equal_modules_are_compiled_once() {
    let shared = shared(&Registry::new());
    let first = shared.module(&guest()).unwrap();
    assert!(Arc::ptr_eq(&first, &shared.module(&guest()).unwrap()));
    drop(first);
    assert!(shared.modules().values().all(|module| module.strong_count() == 0));
}
