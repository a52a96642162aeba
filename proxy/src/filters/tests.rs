//! Filters on a worker, from configuration to shutdown: what the proxy does around a plugin.

mod exchanges;
mod native;
mod probe;
mod wasm;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leno_model::bootstrap::Node;
use leno_model::filter::{FailurePolicy, FilterConfig, WasmCode, WasmFilter, WasmVm};
use leno_sdk::host::HostError;
use leno_sdk::plugin::CallResponse;
use leno_wasm::{Engine, Limits};
use tokio::task::LocalSet;

use crate::filters::slot::FilterSlot;
use crate::filters::slots::Slots;
use crate::filters::tests::probe::{PROBE, Peer, note, notes, wait_for};
use crate::filters::{Prepared, Shared, absent, prepare};
use crate::stats::Registry;

fn shared(registry: &Arc<Registry>) -> Arc<Shared> {
    let limits = Limits {
        instances: 0,
        ..Limits::default()
    };
    Arc::new(Shared::new(
        Engine::new(limits).unwrap(),
        registry.clone(),
        vec![PROBE, native::ASK],
    ))
}

/// A filter with this configuration, of the natively linked kind `probe`.
fn config(configuration: &str) -> WasmFilter {
    WasmFilter {
        name: "ns.probe".into(),
        root_id: "root".into(),
        vm: WasmVm {
            id: "ns".into(),
            code: WasmCode::Inline(b"probe"[..].into()),
            configuration: Vec::new(),
            environment: BTreeMap::new(),
            host_environment: BTreeSet::new(),
        },
        configuration: configuration.into(),
        failure: FailurePolicy::Closed,
        reload_backoff: Duration::ZERO,
        capabilities: None,
        allow_on_headers_stop_iteration: false,
    }
}

fn prepared(config: WasmFilter, shared: &Shared) -> Arc<Prepared> {
    let prepared = prepare(&FilterConfig::Wasm(Box::new(config)), None, shared).unwrap();
    // The canary has left its marks.
    notes();
    Arc::new(prepared)
}

fn worker(shared: &Arc<Shared>) -> (Slots, Rc<Peer>) {
    let peer = Rc::new(Peer::default());
    (
        Slots::new(shared.clone(), peer.clone(), Arc::new(Node::default())),
        peer,
    )
}

/// Runs on a worker of its own.
fn on_worker(test: impl AsyncFnOnce(&Arc<Shared>, &Arc<Registry>, &Slots, &Peer)) {
    let registry = Registry::new();
    let shared = shared(&registry);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (slots, peer) = worker(&shared);
        test(&shared, &registry, &slots, &peer).await;
    });
}

fn start(slots: &Slots, shared: &Shared, configuration: &str) -> Rc<FilterSlot> {
    slots.start(&prepared(config(configuration), shared)).unwrap()
}

/// What is counted about the filter.
fn counted(registry: &Registry, what: &str) -> u64 {
    registry
        .counter(
            &format!("wasm.ns.probe.{what}"),
            &[("envoy.wasm_plugin", "ns.probe")],
        )
        .total()
}

fn active(registry: &Registry) -> u64 {
    registry
        .gauge("wasm.envoy.wasm.runtime.wasmtime.active", &[])
        .total()
}

#[test]
fn a_configuration_that_does_not_start_is_refused_with_its_reason() {
    let shared = shared(&Registry::new());
    let refused = |config: WasmFilter| {
        prepare(&FilterConfig::Wasm(Box::new(config)), None, &shared)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        refused(config("refuse")),
        "config: the filter does not start with this configuration: it says refuse"
    );
    let mut remote = config("");
    remote.vm.code = WasmCode::File("gone.wasm".into());
    assert_eq!(
        refused(remote),
        "config.vm_config.code: the module has not been fetched"
    );
    let mut html = config("");
    html.vm.code = WasmCode::Inline(b"<html>"[..].into());
    let refusal = refused(html);
    assert!(
        refusal.starts_with("config.vm_config.code: not a WebAssembly module"),
        "{refusal}"
    );
}

#[test]
fn trying_a_filter_out_leaves_no_trace_for_others() {
    let registry = Registry::new();
    let shared = shared(&registry);
    prepared(config("tick; call web; queue jobs; share k; count c"), &shared);
    assert!(registry.snapshot(std::time::Instant::now()).is_empty());
    assert_eq!(
        shared.name_spaces.open("ns").get(b"k", &mut Vec::new()),
        Err(HostError::NotFound)
    );
    // Others may count on the queue, which has no entries and nobody who listens.
    let queue = shared.queues.resolve("ns", b"jobs").unwrap();
    assert_eq!(shared.queues.pop(queue, &mut Vec::new()), Err(HostError::Empty));
}

#[test]
fn a_filter_is_tried_out_as_part_of_this_proxy() {
    let node = Node {
        id: "n1".to_owned(),
        ..Node::default()
    };
    let shared = Shared::new(
        Engine::new(Limits::default()).unwrap(),
        Registry::new(),
        vec![PROBE],
    );
    let shared = shared.on(Arc::new(node));
    let tried = |configuration: &str| {
        let config = FilterConfig::Wasm(Box::new(config(configuration)));
        prepare(&config, None, &shared).map(drop)
    };
    tried("node n1").unwrap();
    assert!(!tried("node n2").unwrap_err().lacks_queue);
    assert!(tried("resolve jobs").unwrap_err().lacks_queue);
    tried("queue jobs").unwrap();
    tried("resolve jobs").unwrap();
}

#[test]
fn a_filter_without_its_code_leaves_exchanges_to_its_policy() {
    on_worker(async |_, registry, slots, _| {
        for failure in [FailurePolicy::Closed, FailurePolicy::Open, FailurePolicy::Reload] {
            let mut config = config("");
            config.failure = failure;
            let absent = absent(&FilterConfig::Wasm(Box::new(config))).unwrap();
            let slot = slots.start(&Arc::new(absent)).unwrap();
            let (_, chain, step) = exchanges::begin(&slot, "x");
            let expected = (failure != FailurePolicy::Open).then(|| b"503".to_vec());
            assert_eq!(exchanges::answered(&chain, step), expected, "{failure:?}");
        }
        assert_eq!(notes(), [""; 0]);
        assert_eq!(counted(registry, "vm_reload"), 0);
    });
}

#[test]
fn one_configuration_is_one_filter_as_long_as_somebody_holds_it() {
    on_worker(async |shared, registry, slots, _| {
        let first = prepared(config(""), shared);
        let second = prepared(config(""), shared);
        let slot = slots.start(&first).unwrap();
        assert!(Rc::ptr_eq(&slot, &slots.start(&first).unwrap()));
        assert!(!Rc::ptr_eq(&slot, &slots.start(&second).unwrap()));
        assert_eq!(notes(), ["start", "start", "shutdown"]);
        let held = slot.clone();
        drop(slot);
        assert_eq!(active(registry), 1);
        drop(held);
        assert_eq!(notes(), ["shutdown"]);
        assert_eq!(active(registry), 0);
        slots.start(&first).unwrap();
        assert_eq!(notes(), ["start", "shutdown"]);
    });
}

#[test]
fn ticks_come_until_the_filter_is_gone() {
    on_worker(async |shared, _, slots, _| {
        let slot = start(slots, shared, "tick");
        wait_for(&["start", "tick", "tick"]).await;
        drop(slot);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(notes().last().map(String::as_str), Some("shutdown"));
    });
}

#[test]
fn answers_come_later_and_once() {
    on_worker(async |shared, _, slots, peer| {
        let _slot = start(slots, shared, "call web");
        assert_eq!(notes(), ["start", "called 1"]);
        peer.answer(CallResponse {
            body: b"hello".into(),
            ..CallResponse::default()
        });
        wait_for(&["answer 1 hello"]).await;
        assert_eq!(peer.open(), 0);
    });
}

#[test]
fn an_answer_may_lead_to_the_next_call() {
    on_worker(async |shared, _, slots, peer| {
        let _slot = start(slots, shared, "call web; again");
        peer.answer(CallResponse::default());
        wait_for(&["start", "called 1", "answer 1 ", "called 2"]).await;
        peer.answer(CallResponse::default());
        wait_for(&["answer 2 ", "called 3"]).await;
    });
}

#[test]
fn cancelled_calls_and_those_of_a_gone_filter_are_dropped() {
    on_worker(async |shared, _, slots, peer| {
        let slot = start(slots, shared, "call web; call web; cancel 1");
        tokio::task::yield_now().await;
        assert_eq!(peer.open(), 1);
        drop(slot);
        tokio::task::yield_now().await;
        assert_eq!(peer.open(), 0);
        assert_eq!(notes(), ["start", "called 1", "called 2", "shutdown"]);
    });
}

#[test]
fn calls_that_cannot_start_say_so() {
    on_worker(async |shared, _, slots, peer| {
        let _slot = start(slots, shared, "call none; headless web");
        assert_eq!(
            notes(),
            ["start", "no call: invalid argument", "no call: invalid argument"]
        );
        assert_eq!(peer.open(), 0);
    });
}

#[test]
fn queue_entries_reach_the_worker_that_listens() {
    on_worker(async |shared, _, slots, _| {
        let _slot = start(slots, shared, "queue jobs");
        let there = shared.clone();
        let pusher = std::thread::spawn(move || {
            let queue = there.queues.resolve("ns", b"jobs").unwrap();
            there.queues.push(queue, b"a").unwrap();
            there.queues.push(queue, b"b").unwrap();
        });
        wait_for(&["start", "entry a", "entry b"]).await;
        pusher.join().unwrap();
    });
}

#[test]
fn a_broken_guest_starts_again_whatever_the_policy_says() {
    on_worker(async |shared, registry, slots, _| {
        for policy in [FailurePolicy::Closed, FailurePolicy::Open, FailurePolicy::Reload] {
            let mut config = config("trap");
            config.failure = policy;
            let slot = slots.start(&prepared(config, shared)).unwrap();
            wait_for(&["start", "trap"]).await;
            assert!(slot.plugin().is_some(), "{policy:?}");
            assert_eq!(notes(), ["start"], "{policy:?}");
            drop(slot);
            notes();
        }
        assert_eq!(counted(registry, "vm_reload_success"), 3);
        assert_eq!(counted(registry, "failures"), 3);
    });
}

#[test]
fn reloads_wait_for_their_pause() {
    on_worker(async |shared, registry, slots, _| {
        let mut config = config("trap");
        config.reload_backoff = Duration::from_secs(3600);
        let slot = slots.start(&prepared(config, shared)).unwrap();
        wait_for(&["start", "trap"]).await;
        assert!(slot.plugin().is_none());
        assert_eq!(counted(registry, "vm_reload_backoff"), 1);
    });
}

#[test]
fn metrics_of_filters_are_counted_under_their_names() {
    on_worker(async |shared, registry, slots, _| {
        let (one, two) = (
            prepared(config("count c"), shared),
            prepared(config("count c; gauge c"), shared),
        );
        let _running = (slots.start(&one).unwrap(), slots.start(&two).unwrap());
        assert_eq!(registry.counter("wasmcustom.c", &[]).total(), 2);
        assert_eq!(
            notes(),
            ["start", "c is 1", "start", "c is 2", "no gauge: invalid argument"]
        );
    });
}

#[test]
fn filters_of_one_name_space_share_data() {
    on_worker(async |shared, _, slots, _| {
        let _slot = start(slots, shared, "share k");
        let mut value = Vec::new();
        shared.name_spaces.open("ns").get(b"k", &mut value).unwrap();
        assert_eq!(value, b"shared");
        note("done");
        assert_eq!(notes(), ["start", "done"]);
    });
}
