//! A proxy and a control plane with a stream between them that loses nothing and keeps order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use leno_model::bootstrap::AdsVariant;
use leno_model::cluster::Discovery;
use leno_model::filter::FilterSource;
use leno_model::http::RouteSource;
use leno_model::invalid::Invalid;
use leno_model::listener::NetworkFilter;
use leno_model::snapshot::Snapshot;
use leno_xds::ads::client::{self, Refused, Update, Wanted};
use leno_xds::ads::message::{ClientMessage, Node, ServerMessage};
use leno_xds::ads::published::Published;
use leno_xds::ads::server::{self, Event};
use leno_xds::resource::{Kind, Resource};

use crate::mesh;

pub(crate) struct Wire {
    variant: AdsVariant,
    pub(crate) client: client::Session,
    pub(crate) server: server::Session,
    published: Arc<Published>,
    up: VecDeque<ClientMessage>,
    down: VecDeque<ServerMessage>,
    /// What the proxy runs.
    pub(crate) runs: BTreeMap<(Kind, String), Resource>,
    /// Names that the proxy refuses to apply.
    pub(crate) refuses: BTreeSet<String>,
    pub(crate) events: Vec<Event>,
    /// Names of resources that came down, for tests that count.
    pub(crate) received: Vec<String>,
    /// The proxy answers clusters only when all of them have endpoints, as Envoy does.
    pub(crate) warms: bool,
    unanswered: Vec<(Kind, Vec<Refused>)>,
    /// Names that the control plane said something of, be it that they are not there.
    told: BTreeSet<String>,
}

impl Wire {
    pub(crate) fn new(variant: AdsVariant) -> Self {
        let node = Node {
            id: "proxy-1".to_owned(),
            ..Node::default()
        };
        let mut client = client::Session::new(node, variant);
        assert_eq!(
            client.subscribe(Kind::Cluster, Wanted::All),
            None,
            "there is no stream yet"
        );
        client.subscribe(Kind::Listener, Wanted::All);
        let mut wire = Self {
            variant,
            client,
            server: server::Session::new("test", variant),
            published: Arc::default(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            runs: BTreeMap::new(),
            refuses: BTreeSet::new(),
            events: Vec::new(),
            received: Vec::new(),
            warms: false,
            unanswered: Vec::new(),
            told: BTreeSet::new(),
        };
        wire.connect();
        wire
    }

    fn connect(&mut self) {
        self.up.extend(self.client.on_connected());
    }

    pub(crate) fn disconnect(&mut self) {
        let now = Instant::now();
        assert!(self.client.on_disconnected(now, 0.5) > now);
        self.server = server::Session::new("test", self.variant);
        self.up.clear();
        self.down.clear();
        self.unanswered.clear();
    }

    /// A new stream to a server that offers what was published last.
    pub(crate) fn reconnect(&mut self) {
        let published = self.published.clone();
        self.down.extend(self.server.publish(published));
        self.connect();
    }

    pub(crate) fn publish(&mut self, snapshot: &Snapshot) {
        self.published = Arc::new(Published::new(snapshot, Some(&*self.published)));
        let published = self.published.clone();
        self.down.extend(self.server.publish(published));
    }

    /// Changes what is offered without telling anybody, as while the stream is down.
    pub(crate) fn publish_unseen(&mut self, snapshot: &Snapshot) {
        self.published = Arc::new(Published::new(snapshot, Some(&*self.published)));
    }

    /// Moves messages until both ends are silent; `check` looks at the proxy after each update.
    pub(crate) fn settle(&mut self, check: impl Fn(&Self)) {
        for _ in 0..10_000 {
            if !self.step() {
                assert!(self.server.is_settled(), "a response was never answered");
                return;
            }
            check(self);
        }
        panic!("the two ends talk for ever");
    }

    /// Moves one message, those of the proxy first; `false` when there is none.
    pub(crate) fn step(&mut self) -> bool {
        if let Some(message) = self.up.pop_front() {
            let reaction = self.server.on_message(message);
            self.down.extend(reaction.messages);
            self.events.extend(reaction.events);
        } else if let Some(message) = self.down.pop_front() {
            let update = self.client.on_message(message).expect("it was asked for");
            self.apply(update);
        } else {
            return false;
        }
        true
    }

    fn apply(&mut self, update: Update) {
        let mut refused = Vec::new();
        for (resource, _) in update.resources {
            let name = resource.name().to_owned();
            self.received.push(name.clone());
            self.told.insert(name.clone());
            if self.refuses.contains(&name) {
                refused.push(Refused {
                    name,
                    reason: Invalid::new("field", "the proxy cannot"),
                });
            } else {
                self.runs.insert((update.kind, name), resource);
            }
        }
        for name in update.removed {
            self.told.insert(name.clone());
            self.runs.remove(&(update.kind, name));
        }
        for (kind, names) in self.names_in_use(update.kind) {
            // What nothing names any more is dropped by the proxy itself.
            self.runs
                .retain(|(of, name), _| *of != kind || names.contains(name));
            self.up.extend(self.client.subscribe(kind, Wanted::Names(names)));
        }
        self.unanswered.push((update.kind, refused));
        for (kind, refused) in std::mem::take(&mut self.unanswered) {
            if kind == Kind::Cluster && self.warms && !self.has_all_endpoints() {
                self.unanswered.push((kind, refused));
            } else {
                self.up.extend(self.client.answer(kind, refused));
            }
        }
    }

    fn has_all_endpoints(&self) -> bool {
        let names = self.names_in_use(Kind::Cluster);
        let mut services = names[&Kind::LoadAssignment].iter();
        services.all(|service| self.told.contains(service))
    }

    /// What the resources of `kind` ask for by name, per kind.
    fn names_in_use(&self, kind: Kind) -> BTreeMap<Kind, BTreeSet<String>> {
        let mut names: BTreeMap<Kind, BTreeSet<String>> = match kind {
            Kind::Cluster => BTreeMap::from([(Kind::LoadAssignment, BTreeSet::new())]),
            Kind::Listener => BTreeMap::from([
                (Kind::Filter, BTreeSet::new()),
                (Kind::RouteConfiguration, BTreeSet::new()),
            ]),
            Kind::LoadAssignment | Kind::Filter | Kind::RouteConfiguration => BTreeMap::new(),
        };
        let mut add = |kind, name: &str| names.entry(kind).or_default().insert(name.to_owned());
        for resource in self
            .runs
            .iter()
            .filter(|((of, _), _)| *of == kind)
            .map(|(_, resource)| resource)
        {
            match resource {
                Resource::Cluster(cluster) => {
                    if let Discovery::Eds(service) = &cluster.discovery {
                        add(Kind::LoadAssignment, service);
                    }
                }
                Resource::Listener(listener) => {
                    let NetworkFilter::Http(manager) = &listener.filter_chains[0].network;
                    if let RouteSource::Discovered(routes) = &manager.routes {
                        add(Kind::RouteConfiguration, routes);
                    }
                    for filter in &manager.filters {
                        if matches!(filter.source, FilterSource::Discovered(_)) {
                            add(Kind::Filter, &filter.name);
                        }
                    }
                }
                Resource::LoadAssignment(_) | Resource::Filter { .. } | Resource::RouteConfiguration(_) => {}
            }
        }
        names
    }

    /// The proxy runs exactly `snapshot`.
    pub(crate) fn assert_runs(&self, snapshot: &Snapshot) {
        let published = Published::new(snapshot, None);
        let expected: BTreeMap<(Kind, String), Resource> = Kind::ALL
            .into_iter()
            .flat_map(|kind| {
                let entries = published.set(kind).entries.iter();
                entries.map(move |(name, entry)| ((kind, name.clone()), entry.resource.clone()))
            })
            .collect();
        assert_eq!(self.runs, expected);
    }

    /// Make before break: no route that is in use names a cluster that is not there.
    pub(crate) fn assert_no_dangling_route(&self) {
        for resource in self.runs.values() {
            if let Resource::RouteConfiguration(routes) = resource {
                let cluster = mesh::cluster_of(routes);
                let is_there = self.runs.contains_key(&(Kind::Cluster, cluster.to_owned()));
                assert!(
                    is_there,
                    "{} names {cluster}, which is gone or not there yet",
                    routes.name
                );
            }
        }
    }
}
