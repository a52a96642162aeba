//! What the store holds, for people: a copy that the admin page renders at its leisure.

use std::sync::Arc;
use std::time::SystemTime;

use leno_model::bootstrap::Bootstrap;
use leno_xds::resource::{Kind, Resource};

use crate::config::plan::Same;
use crate::config::store::Store;
use crate::config::store::known::{Known, Refusal, Slot, Taken};

/// Everything that is known, by kind and name.
pub struct View {
    /// The bootstrap as it was read.
    pub bootstrap: Arc<Bootstrap>,
    /// When it was read.
    pub bootstrap_at: SystemTime,
    /// All resources.
    pub entries: Vec<Entry>,
    /// The version of the last set of each kind that was taken as a whole.
    pub versions: Vec<(Kind, String)>,
}

/// One name of one kind.
pub struct Entry {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// It stands in the bootstrap.
    pub is_static: bool,
    /// What serves.
    pub active: Option<State>,
    /// What waits for its parts.
    pub warming: Option<State>,
    /// Why the last one was refused.
    pub refusal: Option<Refusal>,
}

/// A resource with its version and time.
pub struct State {
    /// The resource.
    pub resource: Resource,
    /// Its version.
    pub version: String,
    /// When it was taken.
    pub at: SystemTime,
}

impl View {
    /// A copy of what `store` holds.
    pub fn of<F: Clone + Same, R: Clone + Same>(
        store: &Store<F, R>,
        bootstrap: (Arc<Bootstrap>, SystemTime),
    ) -> Self {
        let clusters = store
            .clusters
            .iter()
            .map(|(name, slot)| of_slot(Kind::Cluster, name, slot, Resource::Cluster));
        let listeners = store
            .listeners
            .iter()
            .map(|(name, slot)| of_slot(Kind::Listener, name, slot, Resource::Listener));
        let routes = store.routes.iter();
        let routes = routes.map(|(name, known)| {
            of_known(
                Kind::RouteConfiguration,
                name,
                known,
                Resource::RouteConfiguration,
            )
        });
        let endpoints = store.endpoints.iter();
        let endpoints = endpoints
            .map(|(name, known)| of_known(Kind::LoadAssignment, name, known, Resource::LoadAssignment));
        let filters = store.filters.iter().map(|(name, known)| {
            of_known(Kind::Filter, name, known, |config| Resource::Filter {
                name: name.clone(),
                config,
            })
        });
        Self {
            bootstrap: bootstrap.0,
            bootstrap_at: bootstrap.1,
            entries: clusters
                .chain(listeners)
                .chain(routes)
                .chain(endpoints)
                .chain(filters)
                .collect(),
            versions: store
                .versions
                .iter()
                .map(|(kind, version)| (*kind, version.clone()))
                .collect(),
        }
    }

    /// All names of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.kind == kind)
    }

    /// The version of the last set of `kind`; empty when there was none.
    pub fn version(&self, kind: Kind) -> &str {
        let version = self.versions.iter().find(|(other, _)| *other == kind);
        version.map_or("", |(_, version)| version)
    }
}

fn of_slot<T: Clone, L>(kind: Kind, name: &str, slot: &Slot<T, L>, wrap: fn(T) -> Resource) -> Entry {
    Entry {
        kind,
        name: name.to_owned(),
        is_static: slot.is_static(),
        active: slot.active.as_ref().map(|(taken, _)| state(taken, wrap)),
        warming: slot.warming.as_ref().map(|(taken, _)| state(taken, wrap)),
        refusal: slot.refusal.clone(),
    }
}

fn of_known<T: Clone>(kind: Kind, name: &str, known: &Known<T>, wrap: impl Fn(T) -> Resource) -> Entry {
    Entry {
        kind,
        name: name.to_owned(),
        is_static: false,
        active: known.taken.as_ref().map(|taken| state(taken, wrap)),
        warming: None,
        refusal: known.refusal.clone(),
    }
}

fn state<T: Clone>(taken: &Taken<T>, wrap: impl Fn(T) -> Resource) -> State {
    State {
        resource: wrap(taken.resource.clone()),
        version: taken.version.clone(),
        at: taken.at,
    }
}
