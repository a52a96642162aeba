//! What a control plane offers one view: every resource encoded once, with a version that depends on its content.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use leno_model::snapshot::Snapshot;
use sha2::{Digest, Sha256};

use crate::ads::message::Any;
use crate::codec;
use crate::resource::{Kind, Resource};

/// One resource, ready to send.
#[derive(Debug)]
pub struct Entry {
    /// Equal for equal content, in every replica of a control plane.
    pub version: String,
    /// As it goes over the wire.
    pub body: Any,
    /// As it is meant.
    pub resource: Resource,
}

/// All resources of one kind, by name.
#[derive(Debug, Default)]
pub struct Set {
    /// Of the whole set.
    pub version: String,
    /// By name.
    pub entries: BTreeMap<String, Arc<Entry>>,
}

/// A snapshot, ready to send to any number of proxies.
#[derive(Debug, Default)]
pub struct Published {
    sets: BTreeMap<Kind, Set>,
}

impl Published {
    /// Encodes what is in none of `others`; the rest is shared with them. Where most is shared should come first.
    pub fn new<'a>(snapshot: &Snapshot, others: impl IntoIterator<Item = &'a Self>) -> Self {
        let others: Vec<&Self> = others.into_iter().collect();
        let sets = Kind::ALL.into_iter().map(|kind| {
            let entries: BTreeMap<String, Arc<Entry>> = resources(snapshot, kind)
                .map(|resource| (resource.name().to_owned(), entry(resource, &others)))
                .collect();
            let version = set_version(&entries);
            (kind, Set { version, entries })
        });
        Self { sets: sets.collect() }
    }

    /// The resources of one kind.
    pub fn set(&self, kind: Kind) -> &Set {
        static EMPTY: Set = Set {
            version: String::new(),
            entries: BTreeMap::new(),
        };
        self.sets.get(&kind).unwrap_or(&EMPTY)
    }
}

fn resources(snapshot: &Snapshot, kind: Kind) -> Box<dyn Iterator<Item = Resource> + '_> {
    match kind {
        Kind::Cluster => Box::new(snapshot.clusters.values().cloned().map(Resource::Cluster)),
        Kind::LoadAssignment => Box::new(snapshot.endpoints.values().cloned().map(Resource::LoadAssignment)),
        Kind::Filter => Box::new(snapshot.filters.iter().map(|(name, config)| Resource::Filter {
            name: name.clone(),
            config: config.clone(),
        })),
        Kind::Listener => Box::new(snapshot.listeners.values().cloned().map(Resource::Listener)),
        Kind::RouteConfiguration => Box::new(
            snapshot
                .routes
                .values()
                .cloned()
                .map(Resource::RouteConfiguration),
        ),
    }
}

fn entry(resource: Resource, others: &[&Published]) -> Arc<Entry> {
    let known = others
        .iter()
        .filter_map(|other| other.set(resource.kind()).entries.get(resource.name()))
        .find(|entry| entry.resource == resource)
        .cloned();
    known.unwrap_or_else(|| Entry::new(resource))
}

impl Entry {
    /// Encodes `resource`.
    pub(crate) fn new(resource: Resource) -> Arc<Self> {
        let (type_url, value) = codec::encode(&resource);
        Arc::new(Self {
            version: content_version(&resource),
            body: Any {
                type_url: type_url.to_owned(),
                value,
            },
            resource,
        })
    }
}

/// The digest of what the resource means. Not of its bytes: maps have no order on the wire, so two replicas may
/// write the same resource in two ways.
fn content_version(resource: &Resource) -> String {
    let mut digest = DigestWriter(Sha256::new());
    write!(digest, "{resource:?}").expect("writing to a digest cannot fail");
    digest.finish()
}

fn set_version(entries: &BTreeMap<String, Arc<Entry>>) -> String {
    let mut digest = DigestWriter(Sha256::new());
    for (name, entry) in entries {
        write!(digest, "{}:{name}{}", name.len(), entry.version).expect("writing to a digest cannot fail");
    }
    digest.finish()
}

struct DigestWriter(Sha256);

impl DigestWriter {
    /// 64 bits: enough to tell versions of one resource apart, short enough to read.
    fn finish(self) -> String {
        self.0
            .finalize()
            .iter()
            .take(8)
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a string cannot fail");
                text
            })
    }
}

impl Write for DigestWriter {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}
