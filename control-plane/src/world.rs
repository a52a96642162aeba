//! An immutable picture of all objects, and the problems of those that could not be taken.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::api::destination_rule::DestinationRule;
use crate::api::gateway::Gateway;
use crate::api::meta::{Key, Meta};
use crate::api::secret::PullSecret;
use crate::api::service_entry::ServiceEntry;
use crate::api::sidecar::Sidecar;
use crate::api::virtual_service::VirtualService;
use crate::api::wasm_plugin::WasmPlugin;

/// One object of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<Spec> {
    /// Who it is.
    pub meta: Meta,
    /// What is wanted.
    pub spec: Spec,
}

/// Objects of one kind, by namespace and name.
pub type Objects<Spec> = BTreeMap<Key, Arc<Object<Spec>>>;

/// All objects. Two worlds are equal when nothing has to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// Filters to attach.
    pub wasm_plugins: Objects<WasmPlugin>,
    /// Where gateways listen.
    pub gateways: Objects<Gateway>,
    /// HTTP routes.
    pub virtual_services: Objects<VirtualService>,
    /// Hosts and endpoints.
    pub service_entries: Objects<ServiceEntry>,
    /// Subsets and policies.
    pub destination_rules: Objects<DestinationRule>,
    /// Listeners beside workloads.
    pub sidecars: Objects<Sidecar>,
    /// Registry credentials.
    pub pull_secrets: Objects<PullSecret>,
}

/// Where a document stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}", self.file.display(), self.line)
    }
}

/// A document that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// Kind and key, as far as they could be read.
    pub object: Option<(String, Key)>,
    /// What is wrong: field path first.
    pub message: String,
    /// An earlier version of the same object goes on serving.
    pub keeps_last_good: bool,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: ", self.place)?;
        if let Some((kind, key)) = &self.object {
            write!(out, "{kind} {key}: ")?;
        }
        write!(out, "{}", self.message)?;
        if self.keeps_last_good {
            write!(out, " (the last good version keeps serving)")?;
        }
        Ok(())
    }
}
