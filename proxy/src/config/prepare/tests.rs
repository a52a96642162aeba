//! What is made ready, refused, or left out for later.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use leno_model::filter::{FailurePolicy, FilterConfig, RemoteCode, WasmCode, WasmFilter, WasmVm};
use leno_model::http::HttpConnectionManager;
use leno_model::listener::{FilterChain, Listener};

use super::{Addresses, Origin, Preparer, Ready};
use crate::access_log::sinks::Sinks;
use crate::config::fetch::Fetcher;
use crate::config::store::parts::Part;
use crate::filters::{self, Prepared};
use crate::router::RouteTable;
use crate::stats::Registry;

fn preparer(addresses: Addresses) -> Preparer {
    let registry = Registry::new();
    let engine = leno_wasm::Engine::new(leno_wasm::Limits::default()).unwrap();
    let shared = filters::Shared::new(engine, Arc::clone(&registry), Vec::new());
    let sinks = Sinks::new(&registry, Duration::from_secs(1));
    Preparer::new(
        Fetcher::new(Box::new(|_| None)),
        Arc::new(shared),
        sinks,
        addresses,
    )
}

async fn prepare(preparer: &Preparer, address: SocketAddr) -> Result<(), String> {
    let chain = FilterChain::http(HttpConnectionManager::default());
    let listener = Listener::new("l", address, chain);
    preparer
        .prepare(Part::Listener(Arc::new(listener)), Origin::Server)
        .await
        .map(drop)
}

fn guest(configuration: &str, code: WasmCode) -> Part {
    Part::Filter(Arc::new(FilterConfig::Wasm(Box::new(WasmFilter {
        name: "guest".to_owned(),
        root_id: String::new(),
        vm: WasmVm {
            id: "ns".to_owned(),
            code,
            configuration: Vec::new(),
            environment: BTreeMap::new(),
            host_environment: BTreeSet::new(),
        },
        configuration: configuration.into(),
        failure: FailurePolicy::Closed,
        reload_backoff: Duration::from_secs(1),
        capabilities: None,
        allow_on_headers_stop_iteration: false,
    }))))
}

/// Registers the queue `jobs` with one byte of configuration, and needs it with two.
const QUEUES: &str = r#"(module
  (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
  (import "env" "proxy_resolve_shared_queue" (func $resolve (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "ns") (data (i32.const 32) "jobs")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (if (result i32) (i32.eq (local.get 1) (i32.const 1))
      (then (i32.eqz (call $register (i32.const 32) (i32.const 4) (i32.const 64))))
      (else (i32.eqz (call $resolve
        (i32.const 16) (i32.const 2) (i32.const 32) (i32.const 4) (i32.const 64)))))))"#;

#[tokio::test]
async fn a_filter_that_needs_a_queue_waits_for_those_beside_it() {
    let code = || WasmCode::Inline(wat::parse_str(QUEUES).unwrap().into());
    let preparer = preparer(Addresses::Checked);
    let alone = preparer.prepare(guest("12", code()), Origin::Bootstrap).await;
    let reason = alone.map(drop).unwrap_err();
    assert!(reason.ends_with("proxy_on_configure returned false"), "{reason}");
    let needs = preparer.prepare(guest("12", code()), Origin::Bootstrap);
    let registers = preparer.prepare(guest("1", code()), Origin::Bootstrap);
    let (needs, registers) = tokio::join!(needs, registers);
    assert_eq!((needs.map(drop), registers.map(drop)), (Ok(()), Ok(())));
}

#[tokio::test]
async fn code_that_cannot_be_had_is_absent_only_where_the_proxy_starts_with_it() {
    let remote = || {
        WasmCode::Remote(RemoteCode {
            uri: "http://store/m.wasm".to_owned(),
            cluster: "gone".to_owned(),
            timeout: Duration::from_secs(5),
            sha256: "ab".repeat(32),
            retries: 0,
        })
    };
    let absent = |result: Result<Ready<Arc<Prepared>, Arc<RouteTable>>, String>| match result {
        Ok(Ready::Filter(prepared)) => Ok(prepared.is_absent()),
        Ok(Ready::Routes(_) | Ready::Checked | Ready::ServerTls(_) | Ready::ClientTls(_)) => {
            panic!("a filter")
        }
        Err(reason) => Err(reason),
    };
    let serves = preparer(Addresses::Checked);
    let reason = "Wasm plugin guest: cannot fetch http://store/m.wasm: there is no cluster gone";
    let of_server = serves.prepare(guest("", remote()), Origin::Server).await;
    assert_eq!(absent(of_server), Err(reason.to_owned()));
    let of_bootstrap = serves.prepare(guest("", remote()), Origin::Bootstrap).await;
    assert_eq!(absent(of_bootstrap), Ok(true));
    let missing = guest("", WasmCode::File("/nonexistent.wasm".into()));
    let missing = serves.prepare(missing, Origin::Bootstrap).await;
    assert!(absent(missing).is_err(), "a file is there or not");
    let validates = preparer(Addresses::Ignored);
    assert!(!validates.fetches());
    let validated = validates.prepare(guest("", remote()), Origin::Bootstrap).await;
    assert_eq!(absent(validated), Ok(true));
}

#[tokio::test]
async fn an_address_that_is_taken_is_refused_while_it_is() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let checks = preparer(Addresses::Checked);
    assert_eq!(
        prepare(&checks, address).await,
        Err(format!(
            "address: cannot listen on {address}: Address already in use (os error 98)"
        ))
    );
    assert_eq!(prepare(&preparer(Addresses::Ignored), address).await, Ok(()));
    drop(other);
    assert_eq!(prepare(&checks, address).await, Ok(()));
    // Ours may be shared: that is how a listener with a new configuration begins.
    let _own = crate::listener::bind(address, 2).unwrap();
    assert_eq!(prepare(&checks, address).await, Ok(()));
}
