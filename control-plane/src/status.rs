//! What became of the documents: per plugin and per proxy, as one JSON page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use leno_xds::ads::message::Node;
use leno_xds::ads::server::Event;
use leno_xds::resource::Kind;
use serde::{Deserialize, Serialize};

use crate::artifacts::States;
use crate::folder::Reading;
use crate::publish::{Offer, Publisher};
use crate::translate::plugins::resource_name;
use crate::translate::scope::{Role, View};

/// The whole page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Below the folder that is watched.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// `Kind namespace/name`, where it could be read.
    pub object: Option<String>,
    /// Field path and reason.
    pub message: String,
    /// An earlier version serves.
    pub keeps_last_good: bool,
}

/// A remark.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// `Kind namespace/name`.
    pub object: String,
    /// Field path and reason.
    pub message: String,
}

/// A plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plugin {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it names now.
    pub url: String,
    /// Of the module that serves, in hexadecimal digits.
    pub sha256: Option<String>,
    /// Of the manifest that it came from.
    pub manifest: Option<String>,
    /// As `proxy-wasm 0.2.1`.
    pub abi: Option<String>,
    /// `programmed 2/2`, or why not.
    pub summary: String,
    /// Why what is wanted is not what serves.
    pub failure: Option<String>,
    /// What each proxy that should run it said.
    pub proxies: Vec<PluginAtProxy>,
}

/// A plugin at a proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginAtProxy {
    /// The proxy's node id.
    pub node: String,
    /// `programmed`, `waiting` or `refused`.
    pub state: String,
    /// In the words of the proxy.
    pub message: Option<String>,
}

/// A connected proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Its node id.
    pub node: String,
    /// `gateway` or `sidecar`.
    pub role: String,
    /// Its namespace.
    pub namespace: String,
    /// As `leno 0.1.0` or `envoy`.
    pub agent: String,
    /// Seconds since 1970.
    pub connected: u64,
    /// By kind: `synced VERSION`, or `refused: REASON`.
    pub kinds: BTreeMap<String, String>,
}

/// The connected proxies.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    last: u64,
    proxies: BTreeMap<u64, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    node: Node,
    view: View,
    connected: u64,
    kinds: BTreeMap<Kind, Answer>,
    /// What was last said of each filter configuration.
    filters: BTreeMap<String, Answer>,
}

#[derive(Clone, Debug)]
enum Answer {
    Accepted(String),
    Refused(String),
}

/// A connected proxy, for as long as it lives.
#[derive(Debug)]
pub struct Registration {
    known: Arc<Mutex<Known>>,
    id: u64,
}

impl Proxies {
    /// Adds a proxy until the registration is dropped.
    pub fn register(&self, node: &Node, view: &View) -> Registration {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.last += 1;
        let id = known.last;
        let connected = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        tracing::info!(node = node.id, agent = node.user_agent_name, "proxy connected");
        known.proxies.insert(
            id,
            Entry {
                node: node.clone(),
                view: view.clone(),
                connected,
                kinds: BTreeMap::new(),
                filters: BTreeMap::new(),
            },
        );
        Registration {
            known: Arc::clone(&self.known),
            id,
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.proxies.values().cloned().collect()
    }
}

impl Registration {
    /// Remembers what the proxy said.
    pub fn note(&self, event: &Event) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = known.proxies.get_mut(&self.id) else {
            return;
        };
        let (kind, names, answer) = match event {
            Event::Accepted { kind, version, names } => (*kind, names, Answer::Accepted(version.clone())),
            Event::Refused {
                kind, names, reason, ..
            } => {
                tracing::error!(
                    node = entry.node.id,
                    kind = kind.noun(),
                    reason,
                    "refused by the proxy; it keeps what it has"
                );
                (*kind, names, Answer::Refused(reason.clone()))
            }
            Event::Connected(_) => return,
            Event::UnknownType(type_url) => {
                tracing::warn!(
                    node = entry.node.id,
                    type_url,
                    "asks for a type that is not served"
                );
                return;
            }
        };
        if kind == Kind::Filter {
            for name in names {
                // A refusal speaks of the resources that it names; the others were taken.
                let own = match &answer {
                    Answer::Refused(reason) if names.len() > 1 && !reason.contains(name.as_str()) => {
                        Answer::Accepted(String::new())
                    }
                    other => other.clone(),
                };
                entry.filters.insert(name.clone(), own);
            }
        }
        entry.kinds.insert(kind, answer);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.proxies.remove(&self.id) {
            tracing::info!(node = entry.node.id, "proxy disconnected");
        }
    }
}

/// The page as of now.
pub fn status(publisher: &Publisher) -> Status {
    let (reading, states) = publisher.inputs();
    let offers: BTreeMap<View, Arc<Offer>> = publisher.offers().into_iter().collect();
    let entries = publisher.proxies().entries();
    let mut notes: Vec<Note> = offers
        .values()
        .flat_map(|offer| &offer.translation.notes)
        .map(|note| Note {
            object: format!("{} {}", note.kind, note.key),
            message: note.message.clone(),
        })
        .collect();
    notes.sort();
    notes.dedup();
    Status {
        problems: problems(&reading),
        notes,
        plugins: plugins(&reading, &states, &offers, &entries),
        proxies: entries.iter().map(proxy).collect(),
    }
}

fn problems(reading: &Reading) -> Vec<Problem> {
    let problem = |problem: &crate::world::Problem| Problem {
        file: problem.place.file.display().to_string(),
        line: problem.place.line,
        object: problem.object.as_ref().map(|(kind, key)| format!("{kind} {key}")),
        message: problem.message.clone(),
        keeps_last_good: problem.keeps_last_good,
    };
    reading.problems.iter().map(problem).collect()
}

fn plugins(
    reading: &Reading,
    states: &States,
    offers: &BTreeMap<View, Arc<Offer>>,
    entries: &[Entry],
) -> Vec<Plugin> {
    reading
        .world
        .wasm_plugins
        .iter()
        .map(|(key, plugin)| {
            let state = states.get(key).cloned().unwrap_or_default();
            let checked = state.good.as_ref().map(|(_, checked)| checked);
            let resource = resource_name(key);
            let proxies: Vec<PluginAtProxy> = entries
                .iter()
                .filter(|entry| {
                    offers
                        .get(&entry.view)
                        .is_some_and(|offer| offer.translation.plugins.contains_key(&resource))
                })
                .map(|entry| at_proxy(entry, &resource))
                .collect();
            let programmed = proxies.iter().filter(|at| at.state == "programmed").count();
            let refused = proxies.iter().find_map(|at| at.message.clone());
            let mut summary = format!("programmed {programmed}/{}", proxies.len());
            if let Some(why) = state.failure.as_ref().or(refused.as_ref()) {
                summary = format!("{summary}: {why}");
            }
            Plugin {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                url: plugin.spec.url.clone(),
                sha256: checked.map(|checked| checked.sha256.clone()),
                manifest: checked.and_then(|checked| checked.manifest.clone()),
                abi: checked.map(|checked| checked.abi.clone()),
                summary,
                failure: state.failure,
                proxies,
            }
        })
        .collect()
}

fn at_proxy(entry: &Entry, resource: &str) -> PluginAtProxy {
    let (state, message) = match entry.filters.get(resource) {
        Some(Answer::Accepted(_)) => ("programmed", None),
        Some(Answer::Refused(reason)) => ("refused", Some(reason.clone())),
        None => ("waiting", None),
    };
    PluginAtProxy {
        node: entry.node.id.clone(),
        state: state.to_owned(),
        message,
    }
}

fn proxy(entry: &Entry) -> Proxy {
    let kinds = entry.kinds.iter().map(|(kind, answer)| {
        let text = match answer {
            Answer::Accepted(version) => format!("synced {version}"),
            Answer::Refused(reason) => format!("refused: {reason}"),
        };
        (kind.noun().to_owned(), text)
    });
    Proxy {
        node: entry.node.id.clone(),
        role: match entry.view.role {
            Role::Gateway => "gateway".to_owned(),
            Role::Sidecar => "sidecar".to_owned(),
        },
        namespace: entry.view.namespace.clone(),
        agent: format!("{} {}", entry.node.user_agent_name, entry.node.user_agent_version)
            .trim()
            .to_owned(),
        connected: entry.connected,
        kinds: kinds.collect(),
    }
}
