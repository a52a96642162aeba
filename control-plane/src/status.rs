//! What became of the documents: per plugin and per proxy, as one JSON page.

pub mod metrics;

pub mod proxies;

use std::collections::BTreeMap;
use std::sync::Arc;

use leno_xds::resource::Kind;
use serde::{Deserialize, Serialize};

use crate::artifacts::States;
use crate::artifacts::ledger::{Phase, State};
use crate::folder::Reading;
use crate::publish::{Offer, Publisher};
use crate::translate::plugins::resource_name;
use crate::translate::scope::{Role, View};
use proxies::{Answer, Entry};

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
    /// `Kind namespace/name`, or a path below the folder that is watched.
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
    /// Of what it names now: `ready`, `pending` or `failed`. A good version from before serves meanwhile.
    #[serde(default)]
    pub state: String,
    /// What the module that serves was named by.
    #[serde(default)]
    pub serving_url: Option<String>,
    /// Of the module that serves, in hexadecimal digits.
    pub sha256: Option<String>,
    /// Of the manifest that it came from.
    pub manifest: Option<String>,
    /// As `proxy-wasm 0.2.1`.
    pub abi: Option<String>,
    /// `programmed 2/2`; or `pending` or `failed`, why, and what serves.
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
    /// `programmed`, `outdated` (it runs the last good version), `waiting` or `refused`.
    pub state: String,
    /// Why not: in the words of the proxy, or of what keeps the plugin from it.
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
    notes.extend(reading.skipped.iter().map(|skipped| Note {
        object: skipped.path.display().to_string(),
        message: skipped.reason.clone(),
    }));
    notes.extend(states.iter().filter_map(|(key, state)| {
        let (_, checked) = state.good.as_ref()?;
        Some(Note {
            object: format!("WasmPlugin {key}"),
            message: checked.note.clone()?,
        })
    }));
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
            let phase = state.phase(plugin);
            let resource = resource_name(key);
            let at = |entry: &Entry| at_proxy(entry, offers.get(&entry.view)?, &resource, &state, phase);
            let proxies: Vec<PluginAtProxy> = entries.iter().filter_map(at).collect();
            let checked = state.good.as_ref().map(|(_, checked)| checked);
            Plugin {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                url: plugin.spec.url.clone(),
                state: match phase {
                    Phase::Ready => "ready".to_owned(),
                    Phase::Pending => "pending".to_owned(),
                    Phase::Failed(_) => "failed".to_owned(),
                },
                serving_url: state.good.as_ref().map(|(good, _)| good.spec.url.clone()),
                sha256: checked.map(|checked| checked.sha256.clone()),
                manifest: checked.and_then(|checked| checked.manifest.clone()),
                abi: checked.map(|checked| checked.abi.clone()),
                summary: summary(phase, checked.is_some(), &proxies),
                failure: match phase {
                    Phase::Failed(failure) => Some(failure.reason.clone()),
                    Phase::Ready | Phase::Pending => None,
                },
                proxies,
            }
        })
        .collect()
}

/// Never `programmed` where the version that serves is not the one that is wanted.
fn summary(phase: Phase<'_>, has_good: bool, proxies: &[PluginAtProxy]) -> String {
    let all = proxies.len();
    let count = |state: &str| proxies.iter().filter(|at| at.state == state).count();
    let what = match phase {
        Phase::Ready => {
            let programmed = format!("programmed {}/{all}", count("programmed"));
            return match proxies.iter().find_map(|at| at.message.as_ref()) {
                Some(why) => format!("{programmed}: {why}"),
                None => programmed,
            };
        }
        Phase::Pending => "pending: its artifact is being fetched".to_owned(),
        Phase::Failed(failure) => format!("failed: {failure}"),
    };
    if has_good {
        format!("{what}; the last good version serves {}/{all}", count("outdated"))
    } else {
        what
    }
}

/// What became of a plugin at a proxy; `None` where it does not apply.
fn at_proxy(
    entry: &Entry,
    offer: &Offer,
    resource: &str,
    state: &State,
    phase: Phase<'_>,
) -> Option<PluginAtProxy> {
    let offered = offer.published.set(Kind::Filter).entries.get(resource);
    let (is, message) = match (offer.translation.left_out.get(resource), offered) {
        (Some(reason), _) if state.good.is_some() => ("refused", Some(reason.clone())),
        (Some(reason), _) => ("waiting", Some(reason.clone())),
        (None, None) => return None,
        (None, Some(offered)) => match entry.said.filters.get(resource) {
            Some(Answer::Accepted(version)) if *version != offered.version => ("waiting", None),
            Some(Answer::Accepted(_)) if phase == Phase::Ready => ("programmed", None),
            Some(Answer::Accepted(_)) => {
                let serving = state.good.as_ref().map_or("", |(good, _)| good.spec.url.as_str());
                ("outdated", Some(format!("runs the last good version, {serving}")))
            }
            Some(Answer::Refused(reason)) => ("refused", Some(reason.clone())),
            None => ("waiting", None),
        },
    };
    Some(PluginAtProxy {
        node: entry.node.id.clone(),
        state: is.to_owned(),
        message,
    })
}

fn proxy(entry: &Entry) -> Proxy {
    let kinds = entry.said.kinds.iter().map(|(kind, answer)| {
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

#[cfg(test)]
mod tests;
