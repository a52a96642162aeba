//! What turns a bootstrap into plans, put together.

use std::sync::Arc;

use leno_model::bootstrap::Bootstrap;
use leno_sdk::native::NativeFactory;
use leno_wasm::{Engine, Limits};
use tokio::sync::{mpsc, oneshot, watch};

use crate::access_log::sinks::Sinks;
use crate::config::driver::{Config, Ends};
use crate::config::fetch::Fetcher;
use crate::config::link;
use crate::config::notes::Notes;
use crate::config::plan::Plan;
use crate::config::prepare::{Addresses, Preparer};
use crate::config::view::View;
use crate::filters;
use crate::stats::Registry;

/// What [`make`] leaves for its caller.
pub(super) struct Loose {
    pub(super) plans: watch::Receiver<Option<Arc<Plan>>>,
    pub(super) initialized: watch::Receiver<bool>,
    pub(super) ask_views: mpsc::Sender<oneshot::Sender<View>>,
    pub(super) filters: Arc<filters::Shared>,
    pub(super) link: Option<link::Link>,
}

/// Everything between a bootstrap and the plans for workers.
pub(super) fn make(
    bootstrap: Arc<Bootstrap>,
    natives: Vec<NativeFactory>,
    registry: &Arc<Registry>,
    sinks: &Arc<Sinks>,
    addresses: Addresses,
) -> Result<(Config, Loose), String> {
    let engine = Engine::new(Limits::default()).map_err(|error| error.to_string())?;
    let (plans, seen_plans) = watch::channel(None);
    let (initialized, seen_initialized) = watch::channel(false);
    let (ask_views, views) = mpsc::channel(4);
    let (link, from_server, to_server) = link::connect(&bootstrap);
    let filters = filters::Shared::new(engine, Arc::clone(registry), natives);
    let filters = Arc::new(filters.on(Arc::new(bootstrap.node.clone())));
    let known: watch::Receiver<Option<Arc<Plan>>> = seen_plans.clone();
    let find_cluster = move |name: &str| known.borrow().as_ref()?.clusters.get(name).cloned();
    let preparer = Preparer::new(
        Fetcher::new(Box::new(find_cluster)),
        Arc::clone(&filters),
        Arc::clone(sinks),
        addresses,
    );
    let ends = Ends {
        from_server,
        to_server,
        views,
        plans,
        initialized,
    };
    let config = Config::new(bootstrap, preparer, Notes::new(Arc::clone(registry)), ends);
    let loose = Loose {
        plans: seen_plans,
        initialized: seen_initialized,
        ask_views,
        filters,
        link,
    };
    Ok((config, loose))
}
