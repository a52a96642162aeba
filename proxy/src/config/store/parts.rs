//! What has to be made ready before a resource can serve, and what of it is. Equal parts are prepared once and shared,
//! so that a push which repeats a filter's configuration keeps the guests that run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leno_model::filter::{FilterConfig, FilterSource};
use leno_model::http::RouteSource;
use leno_model::listener::{Listener, NetworkFilter};
use leno_model::route::{FilterOverride, RouteConfiguration};
use leno_model::tls::{DownstreamTls, UpstreamTls};
use leno_xds::resource::Resource;

use crate::tls::client::ClientTls;
use crate::tls::server::ServerTls;

/// One thing to prepare.
#[derive(Clone)]
pub enum Part {
    /// Fetch, compile and start a guest once.
    Filter(Arc<FilterConfig>),
    /// Compile a route table.
    Routes(Arc<RouteConfiguration>),
    /// Check what only this proxy can know, such as whether its log files can be opened.
    Listener(Arc<Listener>),
    /// Read certificates and keys of a filter chain.
    ServerTls(Arc<DownstreamTls>),
    /// Read certificates and keys of a cluster.
    ClientTls(Arc<UpstreamTls>),
}

/// Names a part between [`Action::Prepare`](super::Action::Prepare) and [`Store::prepared`](super::Store::prepared).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(u64);

/// A part that is ready.
pub enum Ready<F, R> {
    /// For [`Part::Filter`].
    Filter(F),
    /// For [`Part::Routes`].
    Routes(R),
    /// For [`Part::Listener`].
    Checked,
    /// For [`Part::ServerTls`].
    ServerTls(Arc<ServerTls>),
    /// For [`Part::ClientTls`].
    ClientTls(Arc<ClientTls>),
}

/// Everything that `resource` brings along itself.
pub fn of(resource: &Resource) -> Vec<Part> {
    match resource {
        Resource::Cluster(cluster) => cluster.tls.iter().cloned().map(Part::ClientTls).collect(),
        Resource::LoadAssignment(_) => Vec::new(),
        Resource::Filter { config, .. } => filter(config),
        Resource::RouteConfiguration(routes) => of_routes(routes),
        Resource::Listener(listener) => of_listener(listener),
    }
}

/// Filter configurations that routes bring along.
pub fn overrides(routes: &RouteConfiguration) -> impl Iterator<Item = &FilterConfig> {
    let hosts = routes.virtual_hosts.iter();
    let overrides = hosts.flat_map(|host| {
        let routes = host
            .routes
            .iter()
            .flat_map(|route| route.filter_overrides.values());
        host.filter_overrides.values().chain(routes)
    });
    overrides.filter_map(|entry| match entry {
        FilterOverride::Config(config) => Some(config.as_ref()),
        FilterOverride::Disabled => None,
    })
}

fn of_listener(listener: &Arc<Listener>) -> Vec<Part> {
    let mut parts = vec![Part::Listener(Arc::clone(listener))];
    for chain in listener.chains() {
        parts.extend(chain.tls.iter().cloned().map(Part::ServerTls));
        let NetworkFilter::Http(manager) = &chain.network;
        match &manager.routes {
            RouteSource::Inline(routes) => parts.extend(of_routes(routes)),
            RouteSource::Discovered(_) => {}
        }
        for entry in &manager.filters {
            match &entry.source {
                FilterSource::Inline(config) => parts.extend(filter(config)),
                FilterSource::Discovered(discovered) => {
                    parts.extend(discovered.default.iter().flat_map(filter))
                }
            }
        }
    }
    parts
}

fn of_routes(routes: &Arc<RouteConfiguration>) -> Vec<Part> {
    let mut parts = vec![Part::Routes(Arc::clone(routes))];
    parts.extend(overrides(routes).flat_map(|config| filter(&Arc::new(config.clone()))));
    parts
}

/// The router is not a guest: there is nothing to prepare.
fn filter(config: &Arc<FilterConfig>) -> Vec<Part> {
    match **config {
        FilterConfig::Router(_) => Vec::new(),
        FilterConfig::Wasm(_) => vec![Part::Filter(Arc::clone(config))],
    }
}

impl Part {
    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Filter(ours), Self::Filter(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            (Self::Routes(ours), Self::Routes(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            (Self::Listener(ours), Self::Listener(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            (Self::ServerTls(ours), Self::ServerTls(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            (Self::ClientTls(ours), Self::ClientTls(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            (
                Self::Filter(_)
                | Self::Routes(_)
                | Self::Listener(_)
                | Self::ServerTls(_)
                | Self::ClientTls(_),
                _,
            ) => false,
        }
    }
}

/// All parts that somebody needs.
pub(super) struct Parts<F, R> {
    entries: BTreeMap<PartId, Entry<F, R>>,
    next: u64,
}

struct Entry<F, R> {
    part: Part,
    /// `None`: being prepared.
    result: Option<Result<Ready<F, R>, String>>,
}

impl<F, R> Default for Parts<F, R> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<F: Clone, R: Clone> Parts<F, R> {
    /// The id of `part`, and whether it has to be prepared now. What failed before is tried again.
    pub(super) fn want(&mut self, part: &Part) -> (PartId, bool) {
        let usable = |entry: &Entry<F, R>| !matches!(entry.result, Some(Err(_)));
        let mut entries = self.entries.iter();
        if let Some((id, _)) = entries.find(|(_, entry)| usable(entry) && entry.part.equals(part)) {
            return (*id, false);
        }
        self.next += 1;
        let id = PartId(self.next);
        let entry = Entry {
            part: part.clone(),
            result: None,
        };
        self.entries.insert(id, entry);
        (id, true)
    }

    pub(super) fn is_waiting(&self, id: PartId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.result.is_none())
    }

    pub(super) fn done(&mut self, id: PartId, result: Result<Ready<F, R>, String>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.result = Some(result);
        }
    }

    pub(super) fn check(&self, id: PartId) -> Result<(), String> {
        match self.entries.get(&id).and_then(|entry| entry.result.as_ref()) {
            Some(Ok(_)) => Ok(()),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("has not been prepared".to_owned()),
        }
    }

    pub(super) fn filter(&self, config: &FilterConfig) -> Option<F> {
        self.entries
            .values()
            .find_map(|entry| match (&entry.part, &entry.result) {
                (Part::Filter(other), Some(Ok(Ready::Filter(ready))))
                    if std::ptr::eq(config, Arc::as_ptr(other)) || **other == *config =>
                {
                    Some(ready.clone())
                }
                _ => None,
            })
    }

    pub(super) fn routes(&self, routes: &Arc<RouteConfiguration>) -> Option<R> {
        self.entries
            .values()
            .find_map(|entry| match (&entry.part, &entry.result) {
                (Part::Routes(other), Some(Ok(Ready::Routes(ready))))
                    if Arc::ptr_eq(other, routes) || other == routes =>
                {
                    Some(ready.clone())
                }
                _ => None,
            })
    }

    pub(super) fn server_tls(&self, context: &Arc<DownstreamTls>) -> Option<Arc<ServerTls>> {
        self.entries
            .values()
            .find_map(|entry| match (&entry.part, &entry.result) {
                (Part::ServerTls(other), Some(Ok(Ready::ServerTls(ready)))) if other == context => {
                    Some(Arc::clone(ready))
                }
                _ => None,
            })
    }

    pub(super) fn client_tls(&self, context: &Arc<UpstreamTls>) -> Option<Arc<ClientTls>> {
        self.entries
            .values()
            .find_map(|entry| match (&entry.part, &entry.result) {
                (Part::ClientTls(other), Some(Ok(Ready::ClientTls(ready)))) if other == context => {
                    Some(Arc::clone(ready))
                }
                _ => None,
            })
    }

    /// Forgets what is neither being prepared nor one of `used`.
    pub(super) fn keep(&mut self, used: &[Part]) {
        let ids: BTreeSet<PartId> = used.iter().filter_map(|part| self.find(part)).collect();
        self.entries
            .retain(|id, entry| entry.result.is_none() || ids.contains(id));
    }

    fn find(&self, part: &Part) -> Option<PartId> {
        let mut entries = self.entries.iter();
        entries
            .find(|(_, entry)| matches!(entry.result, Some(Ok(_))) && entry.part.equals(part))
            .map(|(id, _)| *id)
    }
}
