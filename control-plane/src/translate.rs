//! From the world to what one kind of proxy runs: a pure function, so that a golden file is a whole test.

pub mod scope;

pub mod plugins;

pub mod services;

pub mod routes;

pub mod listeners;

pub mod retry;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use leno_model::snapshot::Snapshot;

use crate::api::meta::Key;
use crate::world::World;
use plugins::Artifact;
use scope::View;

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
    let services = services::visible(world, view);
    listeners::build(world, artifacts, view, settings, &services, &mut translation);
    services::clusters(&services, settings, &mut translation);
    translation
}

#[cfg(test)]
mod tests;
