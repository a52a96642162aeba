//! What one stream of a server watches of one kind, what was sent to it, and what is to be sent next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ads::message::DeltaResource;
use crate::ads::published::{Entry, Set};
use crate::resource::Kind;

/// A subscription of one kind.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Everything there is.
    pub(crate) all: bool,
    /// These, beside it.
    pub(crate) names: BTreeSet<String>,
    /// What the client holds, or will once it has read what was sent.
    pub(crate) held: BTreeMap<String, Held>,
    /// Names whose absence is to be told.
    pub(crate) missing: BTreeSet<String>,
    /// A response is owed even when there is nothing in it.
    pub(crate) owes_response: bool,
    /// The response that waits for its answer.
    pub(crate) sent: Option<Sent>,
    /// Of the last response on this stream; a request in the state of the world that names another is stale.
    pub(crate) nonce: String,
}

/// One resource of the client.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// We sent it.
    Sent(Arc<Entry>),
    /// It had it when it came, at this version.
    Claimed(String),
}

/// A response on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) nonce: String,
    pub(crate) version: String,
    pub(crate) versions: BTreeMap<String, Option<String>>,
}

/// Make before break: first nothing is taken away that listeners and routes may still use, then it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Make,
    Break,
}

/// What a response holds.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) entries: Vec<(String, Arc<Entry>)>,
    pub(crate) removed: Vec<String>,
}

impl Watch {
    /// The difference between what the client holds and what `set` offers it in `phase`.
    pub(crate) fn change(&self, kind: Kind, set: &Set, phase: Phase) -> Change {
        let offered = set.entries.iter().filter(|(name, _)| self.wants(name));
        let entries = offered
            .filter(|(name, entry)| {
                self.held
                    .get(*name)
                    .is_none_or(|held| held.version() != entry.version)
            })
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect();
        let gone = self.held.keys().filter(|name| !set.entries.contains_key(*name));
        let missing = self
            .missing
            .iter()
            .filter(|name| !set.entries.contains_key(*name));
        let removed: BTreeSet<&String> = match phase {
            Phase::Make if is_used_by_others(kind) => missing.collect(),
            Phase::Make | Phase::Break => gone.chain(missing).collect(),
        };
        Change {
            entries,
            removed: removed.into_iter().cloned().collect(),
        }
    }

    /// Names that were asked for, are not there, and of which the client holds nothing.
    pub(crate) fn absent(&self, set: &Set) -> impl Iterator<Item = &String> {
        let absent = |name: &&String| !set.entries.contains_key(*name) && !self.held.contains_key(*name);
        self.names.iter().filter(move |name| *name != "*" && absent(name))
    }

    /// Notes that `change` is on its way.
    pub(crate) fn note(&mut self, change: &Change, sent: Sent) {
        for (name, entry) in &change.entries {
            self.held.insert(name.clone(), Held::Sent(entry.clone()));
        }
        for name in &change.removed {
            self.held.remove(name);
        }
        self.missing.clear();
        self.owes_response = false;
        self.nonce.clone_from(&sent.nonce);
        self.sent = Some(sent);
    }

    /// All that the client is to hold after a full response: what it holds and `set` has no longer stays until
    /// the phase of breaking.
    pub(crate) fn complete(&self, kind: Kind, set: &Set, phase: Phase) -> Vec<(String, Arc<Entry>)> {
        let mut all: BTreeMap<&String, &Arc<Entry>> =
            set.entries.iter().filter(|(name, _)| self.wants(name)).collect();
        if phase == Phase::Make && is_used_by_others(kind) {
            for (name, held) in &self.held {
                if let Held::Sent(entry) = held {
                    all.entry(name).or_insert(entry);
                }
            }
        }
        all.into_iter()
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect()
    }

    fn wants(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }
}

impl Held {
    fn version(&self) -> &str {
        match self {
            Self::Sent(entry) => &entry.version,
            Self::Claimed(version) => version,
        }
    }
}

impl Change {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.removed.is_empty()
    }

    pub(crate) fn versions(&self) -> BTreeMap<String, Option<String>> {
        let entries = self.entries.iter();
        let entries = entries.map(|(name, entry)| (name.clone(), Some(entry.version.clone())));
        let removed = self.removed.iter().map(|name| (name.clone(), None));
        entries.chain(removed).collect()
    }

    pub(crate) fn resources(&self) -> Vec<DeltaResource> {
        let resources = self.entries.iter().map(|(name, entry)| DeltaResource {
            name: name.clone(),
            version: entry.version.clone(),
            body: Some(entry.body.clone()),
        });
        resources.collect()
    }
}

/// Listeners and routes are used by nothing that comes after them.
fn is_used_by_others(kind: Kind) -> bool {
    match kind {
        Kind::Cluster | Kind::LoadAssignment | Kind::Filter => true,
        Kind::Listener | Kind::RouteConfiguration => false,
    }
}
