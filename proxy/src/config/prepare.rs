//! Makes parts ready, away from the request path: fetches, compiles, starts guests once, opens log files.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use leno_model::filter::{FilterConfig, WasmCode, WasmFilter};
use leno_model::invalid::Invalid;
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
use crate::tls::client::ClientTls;
use crate::tls::server::ServerTls;

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
            Part::Routes(_) | Part::Listener(_) | Part::ServerTls(_) | Part::ClientTls(_) => None,
        };
        async move {
            match part {
                Part::Filter(config) => this.filter(config, origin, running).await.map(Ready::Filter),
                Part::Routes(routes) => this.routes(routes).await.map(Ready::Routes),
                Part::Listener(listener) => this.listener(&listener).map(|()| Ready::Checked),
                Part::ServerTls(context) => {
                    let load = move || ServerTls::load(&context).map(Arc::new).map_err(of_socket);
                    this.on_a_thread(load).await.map(Ready::ServerTls)
                }
                Part::ClientTls(context) => {
                    let load = move || ClientTls::load(&context).map(Arc::new).map_err(of_socket);
                    this.on_a_thread(load).await.map(Ready::ClientTls)
                }
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
        for chain in listener.chains() {
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

fn of_socket(refusal: Invalid) -> String {
    refusal.within("transport_socket.typed_config").to_string()
}

fn of(wasm: &WasmFilter, reason: &str) -> String {
    format!("Wasm plugin {}: {reason}", wasm.name)
}

#[cfg(test)]
mod tests;
