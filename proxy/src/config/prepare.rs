//! Makes parts ready, away from the request path: fetches, compiles, starts guests once, opens log files.

use std::sync::Arc;

use leno_model::filter::{FilterConfig, WasmFilter};
use leno_model::listener::{Listener, NetworkFilter};
use leno_model::route::RouteConfiguration;
use tokio::sync::Semaphore;

use crate::access_log::AccessLogger;
use crate::access_log::sinks::Sinks;
use crate::config::fetch::Fetcher;
use crate::config::store::parts::{Part, Ready};
use crate::filters::{self, Prepared};
use crate::router::RouteTable;

/// Parts that are compiled at once. Compiling takes all processors by itself, and workers need them more.
const COMPILING: usize = 2;

/// What parts are made with. Clones share it.
#[derive(Clone)]
pub struct Preparer {
    fetcher: Arc<Fetcher>,
    shared: Arc<filters::Shared>,
    sinks: Arc<Sinks>,
    compiling: Arc<Semaphore>,
}

impl Preparer {
    /// With these.
    pub fn new(fetcher: Fetcher, shared: Arc<filters::Shared>, sinks: Arc<Sinks>) -> Self {
        Self {
            fetcher: Arc::new(fetcher),
            shared,
            sinks,
            compiling: Arc::new(Semaphore::new(COMPILING)),
        }
    }

    /// Makes `part` ready.
    ///
    /// # Errors
    /// A sentence for the one who wrote the configuration.
    pub async fn prepare(&self, part: Part) -> Result<Ready<Arc<Prepared>, Arc<RouteTable>>, String> {
        match part {
            Part::Filter(config) => self.filter(config).await.map(Ready::Filter),
            Part::Routes(routes) => self.routes(routes).await.map(Ready::Routes),
            Part::Listener(listener) => self.listener(&listener).map(|()| Ready::Checked),
        }
    }

    async fn filter(&self, config: Arc<FilterConfig>) -> Result<Arc<Prepared>, String> {
        let code = match &*config {
            FilterConfig::Wasm(wasm) => Some(
                self.fetcher
                    .fetch(&wasm.vm.code)
                    .await
                    .map_err(|reason| of(wasm, &reason))?,
            ),
            FilterConfig::Router(_) => None,
        };
        let shared = Arc::clone(&self.shared);
        self.on_a_thread(move || {
            let prepared = filters::prepare(&config, code.as_deref(), &shared);
            prepared.map(Arc::new).map_err(|refusal| match &*config {
                FilterConfig::Wasm(wasm) => of(wasm, &refusal.to_string()),
                FilterConfig::Router(_) => refusal.to_string(),
            })
        })
        .await
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

fn of(wasm: &WasmFilter, reason: &str) -> String {
    format!("Wasm plugin {}: {reason}", wasm.name)
}
