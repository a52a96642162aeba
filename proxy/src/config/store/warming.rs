//! From what was taken to what serves: a listener or cluster replaces its predecessor when everything that it names
//! is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leno_model::cluster::Discovery;
use leno_model::filter::{FilterConfig, FilterSource, HttpFilter};
use leno_model::http::{HttpConnectionManager, RouteSource};
use leno_model::listener::{Listener, NetworkFilter};
use leno_model::route::RouteConfiguration;
use leno_xds::resource::{Kind, Resource};

use super::known::Slot;
use super::{Action, Note, Now, Store, parts};
use crate::config::plan::{ChainPlan, ClusterPlan, FilterPlan, HttpPlan, ListenerPlan, Same};

impl<F: Clone + Same, R: Clone + Same> Store<F, R> {
    /// Brings everything that can serve into service.
    pub(super) fn settle(&mut self, now: Now) {
        self.subscribe();
        self.settle_clusters(now);
        let too_late = now.instant >= self.started + self.settings.fetch_timeout;
        let clusters = self.initialized || too_late || self.clusters_are_there();
        if clusters {
            self.settle_listeners(now);
        }
        if self.loaded && !self.initialized && clusters && (too_late || self.listeners_are_there()) {
            self.initialized = true;
            self.actions.push(Action::Initialized);
        }
        self.forget();
    }

    /// A filter that comes over ECDS must be of a type that everybody who asks for it expects.
    pub(super) fn check_type(&self, name: &str, config: &FilterConfig) -> Result<(), String> {
        let type_url = match config {
            FilterConfig::Router(_) => "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            FilterConfig::Wasm(_) => "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        };
        for (listener, filter) in self
            .all_listeners()
            .flat_map(|listener| filters(listener).map(move |f| (listener, f)))
        {
            let FilterSource::Discovered(discovered) = &filter.source else {
                continue;
            };
            let expected = &discovered.type_urls;
            if filter.name == name && !expected.is_empty() && !expected.iter().any(|one| one == type_url) {
                return Err(format!(
                    "filter config has type URL {type_url} but listener {} expects {}",
                    listener.name,
                    expected.join(", ")
                ));
            }
        }
        Ok(())
    }

    fn clusters_are_there(&self) -> bool {
        let asked = !self.settings.discovers_clusters || self.answered.contains(&Kind::Cluster);
        asked && self.is_idle(Kind::Cluster) && self.clusters.values().all(|slot| slot.warming.is_none())
    }

    fn listeners_are_there(&self) -> bool {
        let asked = !self.settings.discovers_listeners || self.answered.contains(&Kind::Listener);
        asked && self.is_idle(Kind::Listener) && self.listeners.values().all(|slot| slot.warming.is_none())
    }

    fn is_idle(&self, kind: Kind) -> bool {
        self.pending.get(&kind).is_none_or(|queue| queue.is_empty())
    }

    fn settle_clusters(&mut self, now: Now) {
        for (name, slot) in &mut self.clusters {
            if let Some((taken, until)) = slot.warming.take() {
                let endpoints = match &taken.resource.discovery {
                    Discovery::Eds(service) => {
                        self.endpoints.get(service).and_then(|known| known.taken.as_ref())
                    }
                    Discovery::Static(_) | Discovery::StrictDns(_) | Discovery::LogicalDns(_) => None,
                };
                let waits = matches!(taken.resource.discovery, Discovery::Eds(_)) && endpoints.is_none();
                let too_late = until.is_none_or(|until| now.instant >= until);
                if waits && !too_late {
                    slot.warming = Some((taken, until));
                    continue;
                }
                if waits {
                    self.actions
                        .push(Action::Note(Note::TimedOut(Kind::Cluster, name.clone())));
                }
                let context = taken.resource.tls.as_ref();
                let tls = context.map(|context| self.parts.client_tls(context));
                // It was prepared before the cluster was taken; without it nothing may leave.
                if matches!(tls, Some(None)) {
                    slot.warming = Some((taken, until));
                    continue;
                }
                let plan = ClusterPlan {
                    tls: tls.flatten(),
                    cluster: Arc::clone(&taken.resource),
                    endpoints: endpoints.map(|taken| Arc::clone(&taken.resource)),
                };
                let is_new = slot.active.replace((taken, Arc::new(plan))).is_none();
                self.changed = true;
                let (kind, name) = (Kind::Cluster, name.clone());
                self.actions
                    .push(Action::Note(Note::Active { kind, name, is_new }));
            } else if let Some((taken, plan)) = &mut slot.active
                && let Discovery::Eds(service) = &taken.resource.discovery
                && let Some(known) = self.endpoints.get(service).and_then(|known| known.taken.as_ref())
                && plan
                    .endpoints
                    .as_ref()
                    .is_none_or(|before| !Arc::ptr_eq(before, &known.resource))
            {
                *plan = Arc::new(ClusterPlan {
                    tls: plan.tls.clone(),
                    cluster: Arc::clone(&taken.resource),
                    endpoints: Some(Arc::clone(&known.resource)),
                });
                self.changed = true;
            }
        }
    }

    fn settle_listeners(&mut self, now: Now) {
        let mut listeners = std::mem::take(&mut self.listeners);
        for (name, slot) in &mut listeners {
            self.settle_listener(name, slot, now);
        }
        self.listeners = listeners;
    }

    fn settle_listener(&mut self, name: &str, slot: &mut Slot<Arc<Listener>, ListenerPlan<F, R>>, now: Now) {
        if let Some((taken, until)) = slot.warming.take() {
            let too_late = until.is_none_or(|until| now.instant >= until);
            match self.listener_plan(&taken.resource, too_late) {
                Some(plan) => {
                    let is_new = slot.active.replace((taken, Arc::new(plan))).is_none();
                    self.changed = true;
                    let (kind, name) = (Kind::Listener, name.to_owned());
                    self.actions
                        .push(Action::Note(Note::Active { kind, name, is_new }));
                    return;
                }
                // Without its filters it must not serve: it stays closed until they come.
                None => {
                    if too_late && until.is_some() {
                        self.actions
                            .push(Action::Note(Note::TimedOut(Kind::Listener, name.to_owned())));
                    }
                    slot.warming = Some((taken, until.filter(|_| !too_late)));
                }
            }
        }
        if let Some((taken, plan)) = &mut slot.active
            && let Some(next) = self.listener_plan(&taken.resource, true)
            && !next.is_same(plan)
        {
            *plan = Arc::new(next);
            self.changed = true;
        }
    }

    /// The listener with everything that it names; `None` while something is missing. With `give_up`, routes that
    /// have not come are no routes, and defaults of filters serve.
    fn listener_plan(&self, listener: &Arc<Listener>, give_up: bool) -> Option<ListenerPlan<F, R>> {
        let chains = listener.chains().map(|chain| {
            let NetworkFilter::Http(manager) = &chain.network;
            self.http_plan(manager, give_up).map(ChainPlan::Http)
        });
        let tls = listener.chains().map(|chain| match &chain.tls {
            Some(context) => self.parts.server_tls(context).map(Some),
            None => Some(None),
        });
        Some(ListenerPlan {
            listener: Arc::clone(listener),
            chains: chains.collect::<Option<_>>()?,
            tls: tls.collect::<Option<_>>()?,
        })
    }

    fn http_plan(&self, manager: &Arc<HttpConnectionManager>, give_up: bool) -> Option<HttpPlan<F, R>> {
        let config = match &manager.routes {
            RouteSource::Inline(routes) => Some(routes),
            RouteSource::Discovered(name) => self
                .routes
                .get(name)
                .and_then(|known| known.taken.as_ref())
                .map(|taken| &taken.resource),
        };
        let (routes, overrides) = match config {
            Some(config) => (self.parts.routes(config)?, self.overrides(config)?),
            None if give_up => (self.settings.no_routes.clone(), Vec::new()),
            None => return None,
        };
        let filters = manager
            .filters
            .iter()
            .map(|filter| self.filter_plan(filter, give_up));
        Some(HttpPlan {
            manager: Arc::clone(manager),
            routes,
            filters: filters.collect::<Option<_>>()?,
            overrides,
        })
    }

    fn overrides(&self, routes: &RouteConfiguration) -> Option<Vec<(FilterConfig, F)>> {
        let guests = parts::overrides(routes).filter(|config| matches!(config, FilterConfig::Wasm(_)));
        guests
            .map(|config| Some((config.clone(), self.parts.filter(config)?)))
            .collect()
    }

    fn filter_plan(&self, filter: &HttpFilter, give_up: bool) -> Option<FilterPlan<F>> {
        let config = match &filter.source {
            FilterSource::Inline(config) => config,
            FilterSource::Discovered(discovered) => {
                let known = self
                    .filters
                    .get(&filter.name)
                    .and_then(|known| known.taken.as_ref());
                let default = discovered.default.as_ref();
                let default = default.filter(|_| give_up || discovered.apply_default_without_warming);
                known.map(|taken| &taken.resource).or(default)?
            }
        };
        let prepared = match **config {
            FilterConfig::Router(_) => None,
            FilterConfig::Wasm(_) => Some(self.parts.filter(config)?),
        };
        Some(FilterPlan {
            name: filter.name.clone(),
            disabled: filter.disabled,
            config: Arc::clone(config),
            prepared,
        })
    }

    /// Asks for what is named by what was taken.
    fn subscribe(&mut self) {
        let mut wanted = BTreeMap::from([
            (Kind::LoadAssignment, BTreeSet::new()),
            (Kind::Filter, BTreeSet::new()),
            (Kind::RouteConfiguration, BTreeSet::new()),
        ]);
        let mut want = |kind: Kind, name: &str| wanted.entry(kind).or_default().insert(name.to_owned());
        for slot in self.clusters.values() {
            let warming = slot.warming.as_ref().map(|(taken, _)| taken);
            for taken in slot
                .active
                .as_ref()
                .map(|(taken, _)| taken)
                .into_iter()
                .chain(warming)
            {
                if let Discovery::Eds(service) = &taken.resource.discovery {
                    want(Kind::LoadAssignment, service);
                }
            }
        }
        for listener in self.all_listeners() {
            for chain in listener.chains() {
                let NetworkFilter::Http(manager) = &chain.network;
                if let RouteSource::Discovered(name) = &manager.routes {
                    want(Kind::RouteConfiguration, name);
                }
            }
            for filter in filters(listener) {
                if let FilterSource::Discovered(_) = filter.source {
                    want(Kind::Filter, &filter.name);
                }
            }
        }
        for (kind, names) in wanted {
            let before = self.wanted.entry(kind).or_default();
            if *before == names {
                continue;
            }
            before.clone_from(&names);
            match kind {
                Kind::LoadAssignment => self.endpoints.retain(|name, _| names.contains(name)),
                Kind::RouteConfiguration => self.routes.retain(|name, _| names.contains(name)),
                Kind::Filter => self.filters.retain(|name, _| names.contains(name)),
                Kind::Cluster | Kind::Listener => {}
            }
            self.actions.push(Action::Subscribe(kind, names));
        }
    }

    /// The statistics prefixes of the connection managers that name this resource.
    pub fn stat_prefixes(&self, kind: Kind, name: &str) -> Vec<String> {
        let managers = self
            .all_listeners()
            .flat_map(|listener| listener.chains())
            .map(|chain| {
                let NetworkFilter::Http(manager) = &chain.network;
                manager
            });
        let names = |manager: &&Arc<HttpConnectionManager>| match kind {
            Kind::RouteConfiguration => {
                matches!(&manager.routes, RouteSource::Discovered(other) if other == name)
            }
            Kind::Filter => manager.filters.iter().any(|filter| filter.name == name),
            Kind::Cluster | Kind::Listener | Kind::LoadAssignment => false,
        };
        let prefixes: BTreeSet<&String> = managers
            .filter(names)
            .map(|manager| &manager.stat_prefix)
            .collect();
        prefixes.into_iter().cloned().collect()
    }

    /// How many listeners serve and warm, and how many clusters.
    pub fn totals(&self) -> [[u64; 2]; 2] {
        let listeners = self.listeners.values();
        let active = listeners.clone().filter(|slot| slot.active.is_some()).count();
        let warming = listeners.filter(|slot| slot.warming.is_some()).count();
        let clusters = self.clusters.values();
        let active_clusters = clusters.clone().filter(|slot| slot.active.is_some()).count();
        let warming_clusters = clusters.filter(|slot| slot.warming.is_some()).count();
        [
            [active as u64, warming as u64],
            [active_clusters as u64, warming_clusters as u64],
        ]
    }

    /// Listeners that serve and that warm.
    pub(super) fn all_listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.values().flat_map(|slot| {
            let active = slot.active.as_ref().map(|(taken, _)| &taken.resource);
            active
                .into_iter()
                .chain(slot.warming.as_ref().map(|(taken, _)| &taken.resource))
        })
    }

    /// Lets go of guests and tables that nothing names any more.
    fn forget(&mut self) {
        if self.pending.values().any(|queue| !queue.is_empty()) {
            return;
        }
        let listeners = self.all_listeners().cloned().map(Resource::Listener);
        let routes = self.routes.values().filter_map(|known| known.taken.as_ref());
        let routes = routes.map(|taken| Resource::RouteConfiguration(Arc::clone(&taken.resource)));
        let filters = self.filters.iter().filter_map(|(name, known)| {
            let config = Arc::clone(&known.taken.as_ref()?.resource);
            Some(Resource::Filter {
                name: name.clone(),
                config,
            })
        });
        let clusters = self.clusters.values().flat_map(|slot| {
            let active = slot.active.as_ref().map(|(taken, _)| taken);
            let taken = active
                .into_iter()
                .chain(slot.warming.as_ref().map(|(taken, _)| taken));
            taken.map(|taken| Resource::Cluster(Arc::clone(&taken.resource)))
        });
        let used: Vec<_> = listeners
            .chain(clusters)
            .chain(routes)
            .chain(filters)
            .flat_map(|resource| parts::of(&resource))
            .collect();
        self.parts.keep(&used);
    }
}

fn filters(listener: &Listener) -> impl Iterator<Item = &HttpFilter> {
    listener.chains().flat_map(|chain| {
        let NetworkFilter::Http(manager) = &chain.network;
        manager.filters.iter()
    })
}
