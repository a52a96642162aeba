//! What the proxy has been told, what of it is good, and what of that serves. Sans-IO: events and the time go in,
//! [`Action`]s come out.
//!
//! An update waits until everything in it has been prepared (guests compiled and started, routes compiled, log files
//! opened), and is then answered: what is good is taken, what is bad is refused by name and what it should have
//! replaced stays. Updates of one kind are answered in their order. A listener that is taken still *warms* until its
//! routes and filters are there, a cluster until its endpoints are; until then the one before it serves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use leno_model::bootstrap::Node;
use leno_model::cluster::Cluster;
use leno_model::endpoint::LoadAssignment;
use leno_model::filter::FilterConfig;
use leno_model::listener::Listener;
use leno_model::route::RouteConfiguration;
use leno_xds::resource::{Kind, Resource};

use crate::config::plan::{ClusterPlan, ListenerPlan, Plan, Same};

pub mod known;

pub mod parts;

mod references;

mod warming;

use known::{Known, Refusal, Slot, Stamp, put_known, put_slot, remove_dynamic};
use parts::{Part, PartId, Parts, Ready};

/// What an update is called in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its kind.
    pub kind: Kind,
    /// Counts up.
    pub number: u64,
}

/// An update of one kind.
pub struct Update {
    /// What to call it in the answer; `None` for the bootstrap, which is answered too.
    pub token: Option<Token>,
    /// Which kind.
    pub kind: Kind,
    /// New or changed.
    pub resources: Vec<Versioned>,
    /// Could not be read: name (may be empty) and reason.
    pub refused: Vec<(String, String)>,
    /// Gone.
    pub removed: Vec<String>,
    /// Of the whole set; may be empty.
    pub version: String,
}

/// A resource and its version.
#[derive(Clone)]
pub struct Versioned {
    /// The resource.
    pub resource: Resource,
    /// Of this one resource, or of its set.
    pub version: String,
}

/// What the owner of the store has to do.
pub enum Action {
    /// Prepare this, away from the request path, and report it with [`Store::prepared`].
    Prepare(PartId, Part),
    /// Answer an update: what was refused of it beside [`Update::refused`], by name.
    Answer(Option<Token>, Vec<(String, String)>),
    /// Ask for exactly these names of this kind.
    Subscribe(Kind, BTreeSet<String>),
    /// For counters and the log.
    Note(Note),
    /// Everything that was waited for at start is there, or has been waited for long enough.
    Initialized,
}

/// Something worth counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A resource was taken.
    Taken(Kind, String),
    /// A resource is gone.
    Removed(Kind, String),
    /// A resource was refused.
    Refused(Kind, String, String),
    /// A listener or cluster now serves.
    Active {
        /// Which of the two.
        kind: Kind,
        /// Its name.
        name: String,
        /// There was none of this name before.
        is_new: bool,
    },
    /// It was waited for in vain.
    TimedOut(Kind, String),
}

/// The time, both ways.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For people.
    pub wall: SystemTime,
}

impl Note {
    /// What it is about.
    pub fn subject(&self) -> (Kind, &str) {
        match self {
            Self::Taken(kind, name) | Self::Removed(kind, name) | Self::TimedOut(kind, name) => (*kind, name),
            Self::Refused(kind, name, _) => (*kind, name),
            Self::Active { kind, name, .. } => (*kind, name),
        }
    }
}

/// What to begin with.
pub struct Settings<R> {
    /// Who this proxy is.
    pub node: Arc<Node>,
    /// Clusters come over xDS: listeners wait for the first answer.
    pub discovers_clusters: bool,
    /// Listeners come over xDS.
    pub discovers_listeners: bool,
    /// How long anything is waited for.
    pub fetch_timeout: Duration,
    /// A table without routes, for listeners whose routes did not come in time.
    pub no_routes: R,
}

/// See the module.
pub struct Store<F, R> {
    settings: Settings<R>,
    started: Instant,
    pub(super) listeners: BTreeMap<String, Slot<Arc<Listener>, ListenerPlan<F, R>>>,
    pub(super) clusters: BTreeMap<String, Slot<Arc<Cluster>, ClusterPlan>>,
    pub(super) routes: BTreeMap<String, Known<Arc<RouteConfiguration>>>,
    pub(super) endpoints: BTreeMap<String, Known<Arc<LoadAssignment>>>,
    pub(super) filters: BTreeMap<String, Known<Arc<FilterConfig>>>,
    pub(super) versions: BTreeMap<Kind, String>,
    parts: Parts<F, R>,
    pending: BTreeMap<Kind, VecDeque<Pending>>,
    wanted: BTreeMap<Kind, BTreeSet<String>>,
    answered: BTreeSet<Kind>,
    loaded: bool,
    initialized: bool,
    changed: bool,
    plans: u64,
    actions: Vec<Action>,
}

struct Pending {
    update: Update,
    /// Of each resource of the update.
    parts: Vec<Vec<PartId>>,
    /// Those that are not ready yet.
    waits: BTreeSet<PartId>,
}

impl<F: Clone + Same, R: Clone + Same> Store<F, R> {
    /// Nothing yet.
    pub fn new(settings: Settings<R>, now: Now) -> Self {
        Self {
            settings,
            started: now.instant,
            listeners: BTreeMap::new(),
            clusters: BTreeMap::new(),
            routes: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            filters: BTreeMap::new(),
            versions: BTreeMap::new(),
            parts: Parts::default(),
            pending: BTreeMap::new(),
            wanted: BTreeMap::new(),
            answered: BTreeSet::new(),
            loaded: false,
            initialized: false,
            changed: false,
            plans: 0,
            actions: Vec::new(),
        }
    }

    /// An update came in.
    pub fn update(&mut self, update: Update, now: Now) {
        let kind = update.kind;
        let resources = update.resources.iter();
        let parts: Vec<Vec<PartId>> = resources
            .map(|versioned| self.want(&versioned.resource))
            .collect();
        let waits = parts
            .iter()
            .flatten()
            .copied()
            .filter(|id| self.parts.is_waiting(*id))
            .collect();
        let pending = Pending { update, parts, waits };
        self.pending.entry(kind).or_default().push_back(pending);
        self.answer(kind, now);
    }

    /// All of the bootstrap has been given: from now on the start may be over.
    pub fn loaded(&mut self, now: Now) {
        self.loaded = true;
        self.settle(now);
    }

    /// A part is ready, or cannot be made so.
    pub fn prepared(&mut self, id: PartId, result: Result<Ready<F, R>, String>, now: Now) {
        self.parts.done(id, result);
        for pending in self.pending.values_mut().flatten() {
            pending.waits.remove(&id);
        }
        for kind in Kind::ALL {
            self.answer(kind, now);
        }
    }

    /// Time has passed: what was waited for may be given up.
    pub fn on_time(&mut self, now: Now) {
        self.settle(now);
    }

    /// When [`Self::on_time`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let warming = self
            .listeners
            .values()
            .filter_map(|slot| slot.warming.as_ref()?.1);
        let clusters = self.clusters.values().filter_map(|slot| slot.warming.as_ref()?.1);
        let start = (!self.initialized).then_some(self.started + self.settings.fetch_timeout);
        warming.chain(clusters).chain(start).min()
    }

    /// What has to be done since the last call.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The next plan, when something that serves has changed since the last call.
    pub fn plan(&mut self) -> Option<Plan<F, R>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.plans += 1;
        let listeners = self.listeners.iter();
        let listeners =
            listeners.filter_map(|(name, slot)| Some((name.clone(), Arc::clone(&slot.active.as_ref()?.1))));
        let clusters = self.clusters.iter();
        let clusters =
            clusters.filter_map(|(name, slot)| Some((name.clone(), Arc::clone(&slot.active.as_ref()?.1))));
        Some(Plan {
            number: self.plans,
            node: Arc::clone(&self.settings.node),
            listeners: listeners.collect(),
            clusters: clusters.collect(),
        })
    }

    /// Answers the updates of `kind` whose parts are all done, in their order.
    fn answer(&mut self, kind: Kind, now: Now) {
        // What names clusters is taken after those that still wait for their certificates.
        let names_clusters = matches!(kind, Kind::Listener | Kind::RouteConfiguration);
        let clusters_wait = self
            .pending
            .get(&Kind::Cluster)
            .is_some_and(|queue| !queue.is_empty());
        if names_clusters && clusters_wait {
            return;
        }
        let queue = self.pending.entry(kind).or_default();
        let mut done = Vec::new();
        while queue.front().is_some_and(|pending| pending.waits.is_empty()) {
            done.extend(queue.pop_front());
        }
        for pending in done {
            let token = pending.update.token;
            let refused = self.take(pending, now);
            self.actions.push(Action::Answer(token, refused));
        }
        self.settle(now);
    }

    fn want(&mut self, resource: &Resource) -> Vec<PartId> {
        let mut ids = Vec::new();
        for part in parts::of(resource) {
            let (id, is_new) = self.parts.want(&part);
            if is_new {
                self.actions.push(Action::Prepare(id, part));
            }
            ids.push(id);
        }
        ids
    }

    /// Takes what is good of an update, and says what is not.
    fn take(&mut self, pending: Pending, now: Now) -> Vec<(String, String)> {
        let Pending { update, parts, .. } = pending;
        let (kind, is_static) = (update.kind, update.token.is_none());
        let mut refused = Vec::new();
        // First, because what comes may take over an address from what goes.
        for name in &update.removed {
            self.remove(kind, name);
        }
        for (versioned, parts) in update.resources.into_iter().zip(parts) {
            let name = versioned.resource.name().to_owned();
            match self.check(&versioned.resource, &parts, is_static) {
                Ok(()) => self.put(versioned, is_static, now),
                Err(reason) => refused.push((name, reason)),
            }
        }
        for (name, reason) in update.refused.iter().chain(&refused) {
            self.refuse(kind, name, reason, &update.version, now);
        }
        if !is_static {
            self.answered.insert(kind);
            let all_taken = refused.is_empty() && update.refused.is_empty();
            if all_taken && !update.version.is_empty() {
                self.versions.insert(kind, update.version);
            }
        }
        refused
    }

    /// Whether a resource whose parts were prepared may be taken.
    fn check(&self, resource: &Resource, parts: &[PartId], is_static: bool) -> Result<(), String> {
        parts.iter().try_for_each(|id| self.parts.check(*id))?;
        let in_bootstrap = match resource {
            Resource::Cluster(cluster) => self.clusters.get(&cluster.name).is_some_and(Slot::is_static),
            Resource::Listener(listener) => self.listeners.get(&listener.name).is_some_and(Slot::is_static),
            Resource::Filter { name, config } => return self.check_type(name, config),
            Resource::LoadAssignment(_) | Resource::RouteConfiguration(_) => false,
        };
        if in_bootstrap && !is_static {
            return Err("stands in the bootstrap and cannot be changed over xDS".to_owned());
        }
        self.check_address(resource)?;
        let known = |name: &str| self.clusters.get(name).is_some_and(Slot::exists);
        references::check(resource, &known).map_err(|refusal| refusal.to_string())
    }

    /// Every worker has its own socket on an address, so the kernel would let two listeners share it by chance.
    fn check_address(&self, resource: &Resource) -> Result<(), String> {
        let Resource::Listener(listener) = resource else {
            return Ok(());
        };
        let address = listener.address;
        let other = self
            .all_listeners()
            .find(|other| other.name != listener.name && other.address == address);
        match other {
            Some(other) if address.port() != 0 => {
                Err(format!("address: {address} is taken by listener {}", other.name))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn put(&mut self, versioned: Versioned, is_static: bool, now: Now) {
        let Versioned { resource, version } = versioned;
        let kind = resource.kind();
        let name = resource.name().to_owned();
        let until = now.instant + self.settings.fetch_timeout;
        let taken = Stamp {
            version,
            at: now.wall,
            is_static,
        };
        match resource {
            Resource::Cluster(cluster) => put_slot(&mut self.clusters, &name, taken.on(cluster), until),
            Resource::Listener(listener) => put_slot(&mut self.listeners, &name, taken.on(listener), until),
            Resource::RouteConfiguration(routes) => put_known(&mut self.routes, &name, taken.on(routes)),
            Resource::LoadAssignment(endpoints) => put_known(&mut self.endpoints, &name, taken.on(endpoints)),
            Resource::Filter { config, .. } => put_known(&mut self.filters, &name, taken.on(config)),
        }
        self.actions.push(Action::Note(Note::Taken(kind, name)));
    }

    fn refuse(&mut self, kind: Kind, name: &str, reason: &str, version: &str, now: Now) {
        let refusal = Some(Refusal {
            reason: reason.to_owned(),
            version: version.to_owned(),
            at: now.wall,
        });
        let name = name.to_owned();
        match kind {
            Kind::Cluster => self.clusters.entry(name.clone()).or_default().refusal = refusal,
            Kind::Listener => self.listeners.entry(name.clone()).or_default().refusal = refusal,
            Kind::RouteConfiguration => self.routes.entry(name.clone()).or_default().refusal = refusal,
            Kind::LoadAssignment => self.endpoints.entry(name.clone()).or_default().refusal = refusal,
            Kind::Filter => self.filters.entry(name.clone()).or_default().refusal = refusal,
        }
        self.actions
            .push(Action::Note(Note::Refused(kind, name, reason.to_owned())));
    }

    /// Listeners and clusters go. What they name by itself (routes, endpoints, filters) stays as long as it is
    /// named: a server that forgets it does not take down what serves.
    fn remove(&mut self, kind: Kind, name: &str) {
        let had = match kind {
            Kind::Cluster => remove_dynamic(&mut self.clusters, name),
            Kind::Listener => remove_dynamic(&mut self.listeners, name),
            Kind::RouteConfiguration | Kind::LoadAssignment | Kind::Filter => return,
        };
        if had {
            self.changed = true;
            self.actions
                .push(Action::Note(Note::Removed(kind, name.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests;
