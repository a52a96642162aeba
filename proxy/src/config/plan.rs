//! What workers are told to run: one complete, immutable picture, built and checked before any worker sees it.
//!
//! Parts that did not change are the same `Arc` from one plan to the next, so a worker finds what to rebuild by
//! comparing pointers, and everything else survives.

use std::collections::BTreeMap;
use std::sync::Arc;

use leno_model::bootstrap::Node;
use leno_model::cluster::Cluster;
use leno_model::endpoint::LoadAssignment;
use leno_model::filter::FilterConfig;
use leno_model::http::HttpConnectionManager;
use leno_model::listener::Listener;

use crate::filters::Prepared;
use crate::router::RouteTable;
use crate::tls::client::ClientTls;
use crate::tls::server::ServerTls;

/// Everything that a worker runs. `F` is a filter ready to start, `R` a table of routes ready to select from; both
/// are parameters only so that the bookkeeping above them can be tested without a Wasm engine.
pub struct Plan<F = Arc<Prepared>, R = Arc<RouteTable>> {
    /// Counts up with every plan of this process.
    pub number: u64,
    /// Who this proxy is.
    pub node: Arc<Node>,
    /// By name.
    pub listeners: BTreeMap<String, Arc<ListenerPlan<F, R>>>,
    /// By name.
    pub clusters: BTreeMap<String, Arc<ClusterPlan>>,
}

/// A listener and what stands behind it.
pub struct ListenerPlan<F = Arc<Prepared>, R = Arc<RouteTable>> {
    /// As the model has it.
    pub listener: Arc<Listener>,
    /// One for each of [`Listener::chains`], in their order.
    pub chains: Vec<ChainPlan<F, R>>,
    /// The TLS of each of them; `None` for plain TCP.
    pub tls: Vec<Option<Arc<ServerTls>>>,
}

/// What a filter chain ends in.
pub enum ChainPlan<F = Arc<Prepared>, R = Arc<RouteTable>> {
    /// HTTP.
    Http(HttpPlan<F, R>),
}

/// An HTTP connection manager with all that it names.
pub struct HttpPlan<F = Arc<Prepared>, R = Arc<RouteTable>> {
    /// As the model has it.
    pub manager: Arc<HttpConnectionManager>,
    /// Inline or discovered.
    pub routes: R,
    /// One for each of [`HttpConnectionManager::filters`], in their order, the router included.
    pub filters: Vec<FilterPlan<F>>,
    /// Filter configurations that routes bring along, ready to start.
    pub overrides: Vec<(FilterConfig, F)>,
}

/// One filter of a chain.
pub struct FilterPlan<F = Arc<Prepared>> {
    /// Its name in the chain.
    pub name: String,
    /// It runs only where a route enables it.
    pub disabled: bool,
    /// What it is, as it was accepted.
    pub config: Arc<FilterConfig>,
    /// Ready to start; `None` for the router.
    pub prepared: Option<F>,
}

/// A cluster and its endpoints.
#[derive(PartialEq)]
pub struct ClusterPlan {
    /// As the model has it.
    pub cluster: Arc<Cluster>,
    /// `None`: plain TCP.
    pub tls: Option<Arc<ClientTls>>,
    /// As EDS gave them; `None` when the cluster holds its own, or when EDS has not answered in time.
    pub endpoints: Option<Arc<LoadAssignment>>,
}

/// Two handles on the same thing.
pub trait Same {
    /// Whether they are.
    fn is_same(&self, other: &Self) -> bool;
}

impl<T> Same for Arc<T> {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }
}

impl<F: Same, R: Same> Same for ListenerPlan<F, R> {
    fn is_same(&self, other: &Self) -> bool {
        let chains = self.chains.iter().zip(&other.chains);
        let mut chains = chains.map(|(ChainPlan::Http(ours), ChainPlan::Http(theirs))| ours.is_same(theirs));
        let mut tls = self.tls.iter().zip(&other.tls);
        *self.listener == *other.listener
            && self.chains.len() == other.chains.len()
            && chains.all(|same| same)
            && tls.all(|(ours, theirs)| ours.as_ref().map(Arc::as_ptr) == theirs.as_ref().map(Arc::as_ptr))
    }
}

impl<F: Same, R: Same> Same for HttpPlan<F, R> {
    fn is_same(&self, other: &Self) -> bool {
        let mut filters = self.filters.iter().zip(&other.filters);
        let mut overrides = self.overrides.iter().zip(&other.overrides);
        self.routes.is_same(&other.routes)
            && self.filters.len() == other.filters.len()
            && filters.all(|(ours, theirs)| ours.is_same(theirs))
            && self.overrides.len() == other.overrides.len()
            && overrides.all(|((_, ours), (_, theirs))| ours.is_same(theirs))
    }
}

impl<F: Same> Same for FilterPlan<F> {
    fn is_same(&self, other: &Self) -> bool {
        match (&self.prepared, &other.prepared) {
            (Some(ours), Some(theirs)) => ours.is_same(theirs),
            (None, None) => self.config == other.config,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}
