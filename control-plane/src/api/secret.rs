//! `v1 Secret` of type `kubernetes.io/dockerconfigjson`: credentials for a registry.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::meta::Meta;

/// A whole Secret document: it has no `spec`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretDocument {
    /// `v1`.
    pub api_version: String,
    /// `Secret`.
    pub kind: String,
    /// Who it is.
    pub metadata: Meta,
    /// `kubernetes.io/dockerconfigjson`.
    #[serde(rename = "type")]
    pub secret_type: String,
    /// Values in base64.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// Values as they are.
    #[serde(default)]
    pub string_data: BTreeMap<String, String>,
    /// May not change.
    #[serde(default)]
    pub immutable: bool,
}

/// The content of a `kubernetes.io/dockerconfigjson` Secret. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PullSecret(pub String);

impl fmt::Debug for PullSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PullSecret(..)")
    }
}

impl fmt::Debug for SecretDocument {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secret({})", self.metadata.key())
    }
}
