//! The status page of the control plane, as its readers know it: names of fields are a promise.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The page.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// Documents that were not taken.
    pub problems: Vec<Problem>,
    /// Remarks on documents that were.
    pub notes: Vec<Note>,
    /// Every `WasmPlugin`.
    pub plugins: Vec<Plugin>,
    /// Every connected proxy.
    pub proxies: Vec<Proxy>,
}

/// A document that was not taken.
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    /// Below the folder.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// Field path and reason.
    pub message: String,
}

/// A remark.
#[derive(Clone, Debug, Deserialize)]
pub struct Note {
    /// Field path and reason.
    pub message: String,
}

/// A plugin.
#[derive(Clone, Debug, Deserialize)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// `programmed 2/2`, or why not.
    pub summary: String,
    /// Why what is wanted is not what serves.
    pub failure: Option<String>,
    /// What each proxy said.
    pub proxies: Vec<PluginAtProxy>,
}

/// A plugin at a proxy.
#[derive(Clone, Debug, Deserialize)]
pub struct PluginAtProxy {
    /// `programmed`, `waiting` or `refused`.
    pub state: String,
    /// In the words of the proxy.
    pub message: Option<String>,
}

/// A connected proxy.
#[derive(Clone, Debug, Deserialize)]
pub struct Proxy {
    /// By kind: `synced VERSION`, or `refused: REASON`.
    pub kinds: BTreeMap<String, String>,
}
