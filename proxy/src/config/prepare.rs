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
}

/// What is done about the addresses of listeners.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// They must be free, or ours.
    Checked,
    /// They may be taken: nothing will listen.
    Ignored,
}

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

fn of(wasm: &WasmFilter, reason: &str) -> String {
    format!("Wasm plugin {}: {reason}", wasm.name)
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::time::Duration;

    use leno_model::listener::{Direction, Listener};

    use super::{Addresses, Preparer};
    use crate::access_log::sinks::Sinks;
    use crate::config::fetch::Fetcher;
    use crate::config::store::parts::Part;
    use crate::filters;
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
            .prepare(Part::Listener(Arc::new(listener)))
            .await
            .map(drop)
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
