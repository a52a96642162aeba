//! Makes parts ready, away from the request path: fetches, compiles, starts guests once, opens log files.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use leno_model::filter::{FilterConfig, WasmCode, WasmFilter};
use leno_model::listener::{Listener, NetworkFilter};
use leno_model::route::RouteConfiguration;
use tokio::sync::{Semaphore, watch};

use crate::access_log::AccessLogger;
use crate::access_log::sinks::Sinks;
use crate::config::fetch::Fetcher;
use crate::config::store::parts::{Part, Ready};
use crate::filters::{self, Prepared};
use crate::listener;
use crate::router::RouteTable;

/// Parts that are compiled at once. Compiling takes all processors by itself, and workers need them more.
const COMPILING: usize = 2;

/// What parts are made with. Clones share it.
#[derive(Clone)]
pub struct Preparer {
    fetcher: Arc<Fetcher>,
    shared: Arc<filters::Shared>,
    sinks: Arc<Sinks>,
    addresses: Addresses,
    compiling: Arc<Semaphore>,
    others: watch::Sender<Others>,
}

/// What is done about the world outside of the configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Addresses must be free, or ours; modules are fetched.
    Checked,
    /// Nothing will listen: addresses may be taken, and the network is not asked for anything.
    Ignored,
}

/// Whose configuration a part belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The bootstrap's: the proxy starts with all of it, so that a server of modules which is down does not keep it
    /// from starting.
    Bootstrap,
    /// A server's: what cannot be had is refused, and what was there before serves on.
    Server,
}

/// Filters that are on their way, because one may wait for what another one registers.
#[derive(Clone, Copy, Default)]
struct Others {
    running: usize,
    ready: u64,
}

/// One of [`Others`], until it is dropped.
struct Running(watch::Sender<Others>);

impl Running {
    fn begin(others: &watch::Sender<Others>) -> Self {
        others.send_modify(|others| others.running += 1);
        Self(others.clone())
    }

    fn ready(self) {
        self.0.send_modify(|others| others.ready += 1);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|others| others.running -= 1);
    }
}

/// Pause before a module that could not be had is asked for again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Preparer {
    /// With these.
    pub fn new(
        fetcher: Fetcher,
        shared: Arc<filters::Shared>,
        sinks: Arc<Sinks>,
        addresses: Addresses,
    ) -> Self {
        Self {
            addresses,
            fetcher: Arc::new(fetcher),
            shared,
            sinks,
            compiling: Arc::new(Semaphore::new(COMPILING)),
            others: watch::Sender::default(),
        }
    }

    /// Makes `part` ready. A filter whose code cannot be had may be ready without it ([`Prepared::is_absent`]):
    /// then [`Self::fetch_later`] goes on.
    ///
    /// # Errors
    /// A sentence for the one who wrote the configuration.
    pub fn prepare(
        &self,
        part: Part,
        origin: Origin,
    ) -> impl Future<Output = Result<Ready<Arc<Prepared>, Arc<RouteTable>>, String>> + Send + 'static {
        let this = self.clone();
        // Counted before any of those that are asked for together begins.
        let running = match part {
            Part::Filter(_) => Some(Running::begin(&self.others)),
            Part::Routes(_) | Part::Listener(_) => None,
        };
        async move {
            match part {
                Part::Filter(config) => this.filter(config, origin, running).await.map(Ready::Filter),
                Part::Routes(routes) => this.routes(routes).await.map(Ready::Routes),
                Part::Listener(listener) => this.listener(&listener).map(|()| Ready::Checked),
            }
        }
    }

    /// Whether [`Self::fetch_later`] is of any use.
    pub fn fetches(&self) -> bool {
        self.addresses == Addresses::Checked
    }

    /// Asks for the code of a filter until it has come, and makes the filter ready.
    pub fn fetch_later(
        &self,
        config: Arc<FilterConfig>,
    ) -> impl Future<Output = Arc<Prepared>> + Send + 'static {
        let this = self.clone();
        async move {
            let mut pause = FIRST_PAUSE;
            loop {
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                let running = Running::begin(&this.others);
                match this
                    .filter(Arc::clone(&config), Origin::Server, Some(running))
                    .await
                {
                    Ok(prepared) => {
                        tracing::info!(
                            code = "wasm_fetched",
                            plugin = prepared.identity().name,
                            "the module has come: the filter serves"
                        );
                        return prepared;
                    }
                    Err(reason) => tracing::warn!(code = "wasm_fetch", reason, "trying again in {pause:?}"),
                }
            }
        }
    }

    async fn filter(
        &self,
        config: Arc<FilterConfig>,
        origin: Origin,
        running: Option<Running>,
    ) -> Result<Arc<Prepared>, String> {
        let FilterConfig::Wasm(wasm) = &*config else {
            return Err("the router is not a guest: there is nothing to prepare".to_owned());
        };
        let is_remote = matches!(wasm.vm.code, WasmCode::Remote(_));
        if is_remote && !self.fetches() {
            return absent(&config);
        }
        let code = match self.fetcher.fetch(&wasm.vm.code).await {
            Ok(code) => code,
            Err(reason) => {
                let reason = of(wasm, &reason);
                if is_remote {
                    self.shared.fetched(&wasm.name, false);
                }
                if !is_remote || origin == Origin::Server {
                    return Err(reason);
                }
                tracing::error!(
                    code = "wasm_fetch",
                    reason,
                    "until the module comes the filter does what its failure policy says"
                );
                return absent(&config);
            }
        };
        if is_remote {
            self.shared.fetched(&wasm.name, true);
        }
        let prepared = self.try_until_others_are_done(&config, code, running).await;
        prepared.map_err(|reason| of(wasm, &reason))
    }

    /// Compiles and starts it. One that lacks a queue is tried again when other filters have become ready.
    async fn try_until_others_are_done(
        &self,
        config: &Arc<FilterConfig>,
        code: Bytes,
        mut running: Option<Running>,
    ) -> Result<Arc<Prepared>, String> {
        let mut others = self.others.subscribe();
        loop {
            let ready = others.borrow_and_update().ready;
            let (shared, config, code) = (Arc::clone(&self.shared), Arc::clone(config), code.clone());
            let tried = self.on_a_thread(move || Ok(filters::prepare(&config, Some(&code), &shared)));
            let refusal = match tried.await? {
                Ok(prepared) => {
                    if let Some(running) = running {
                        running.ready();
                    }
                    return Ok(Arc::new(prepared));
                }
                Err(refusal) => refusal,
            };
            drop(running.take());
            let more = others.wait_for(|others| others.ready != ready || others.running == 0);
            let more = refusal.lacks_queue && more.await.is_ok_and(|others| others.ready != ready);
            if !more {
                return Err(refusal.to_string());
            }
            running = Some(Running::begin(&self.others));
        }
    }

    async fn routes(&self, routes: Arc<RouteConfiguration>) -> Result<Arc<RouteTable>, String> {
        let compile = move || {
            RouteTable::compile(&routes)
                .map(Arc::new)
                .map_err(|refusal| refusal.to_string())
        };
        self.on_a_thread(compile).await
    }

    fn listener(&self, listener: &Listener) -> Result<(), String> {
        let address = listener.address;
        if self.addresses == Addresses::Checked {
            listener::check(address)
                .map_err(|error| format!("address: cannot listen on {address}: {error}"))?;
        }
        for chain in &listener.filter_chains {
            let NetworkFilter::Http(manager) = &chain.network;
            AccessLogger::new(&manager.access_log, &self.sinks).map_err(|refusal| refusal.to_string())?;
        }
        Ok(())
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let permit = Arc::clone(&self.compiling).acquire_owned().await;
        let result = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        result
            .await
            .unwrap_or_else(|error| Err(format!("preparing it broke: {error}")))
    }
}

fn absent(config: &FilterConfig) -> Result<Arc<Prepared>, String> {
    filters::absent(config)
        .map(Arc::new)
        .map_err(|refusal| refusal.to_string())
}

fn of(wasm: &WasmFilter, reason: &str) -> String {
    format!("Wasm plugin {}: {reason}", wasm.name)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::time::Duration;

    use leno_model::filter::{FailurePolicy, FilterConfig, RemoteCode, WasmCode, WasmFilter, WasmVm};
    use leno_model::listener::{Direction, Listener};

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
        let listener = Listener {
            name: "l".to_owned(),
            address,
            filter_chains: Vec::new(),
            stat_prefix: String::new(),
            direction: Direction::Unspecified,
            per_connection_buffer_limit: 0,
            access_log: Vec::new(),
        };
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
            Ok(Ready::Routes(_) | Ready::Checked) => panic!("a filter"),
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
}
