//! From the world to what one kind of proxy runs: a pure function, so that a golden file is a whole test.

pub mod scope;

pub mod plugins;

pub mod services;

mod rules;

pub mod routes;

mod matches;

pub mod everywhere;

mod hosts;

pub mod listeners;

pub mod retry;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use leno_model::snapshot::Snapshot;

use crate::api::meta::Key;
use crate::world::World;
use plugins::Artifact;
use scope::{View, is_exported};

/// What is the same for all proxies.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Plugins of this namespace apply to every namespace (Istio's `istio-system`).
    pub root_namespace: String,
    /// Where proxies fetch artifacts by digest.
    pub artifacts: SocketAddr,
    /// Where access logs go; `None` writes none. `/dev/stdout` is the standard output.
    pub access_log: Option<PathBuf>,
}

/// What is known of the artifacts that plugins name, by plugin.
pub type Artifacts = BTreeMap<Key, Artifact>;

/// What one kind of proxy runs, and what could not be honoured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// What it runs.
    pub snapshot: Snapshot,
    /// Listeners that wait for an artifact whose plugin fails closed: the version that serves stays, and where none
    /// serves there is none.
    pub held: BTreeSet<String>,
    /// What users should know, in a stable order.
    pub notes: BTreeSet<Note>,
    /// The plugins that apply and cannot run, by ECDS name, and why.
    pub left_out: BTreeMap<String, String>,
}

/// A remark on an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// As `VirtualService`.
    pub kind: &'static str,
    /// Which one.
    pub key: Key,
    /// Field path and reason.
    pub message: String,
}

/// Translates the world for proxies that look like `view`.
pub fn translate(world: &World, artifacts: &Artifacts, view: &View, settings: &Settings) -> Translation {
    let mut translation = Translation::default();
    missing_gateways(world, view, &mut translation.notes);
    let services = services::visible(world, view, &mut translation.notes);
    listeners::build(world, artifacts, view, settings, &services, &mut translation);
    services::clusters(&services, settings, &mut translation);
    translation
}

/// Gateways that virtual services name and that nobody defines.
fn missing_gateways(world: &World, view: &View, notes: &mut BTreeSet<Note>) {
    for (key, service) in &world.virtual_services {
        if !is_exported(&service.spec.export_to, &key.namespace, &view.namespace) {
            continue;
        }
        let own = ("spec.gateways".to_owned(), &service.spec.gateways);
        let narrowed = service.spec.http.iter().enumerate().flat_map(|(position, http)| {
            let matches = http.matches.iter().enumerate();
            matches.map(move |(index, matched)| {
                (
                    format!("spec.http[{position}].match[{index}].gateways"),
                    &matched.gateways,
                )
            })
        });
        for (path, names) in std::iter::once(own).chain(narrowed) {
            for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != "mesh") {
                let gateway = gateway_key(name, &key.namespace);
                if !world.gateways.contains_key(&gateway) {
                    notes.insert(Note {
                        kind: "VirtualService",
                        key: key.clone(),
                        message: format!("{path}[{index}]: there is no Gateway {gateway}"),
                    });
                }
            }
        }
    }
}

/// The Gateway that a virtual service of `namespace` names: `[NAMESPACE/]NAME`.
fn gateway_key(name: &str, namespace: &str) -> Key {
    let (namespace, name) = name.split_once('/').unwrap_or((namespace, name));
    Key {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
