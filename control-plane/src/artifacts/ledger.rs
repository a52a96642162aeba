//! Which artifacts are to be fetched when, and what the last good of each is. No IO and no clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::Checked;
use super::failure::{Failure, Step};
use crate::api::meta::Key;
use crate::api::wasm_plugin::{PullPolicy, WasmPlugin};
use crate::world::{Object, World};

/// First pause after a failure; doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A registry that comes back is noticed within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One artifact to fetch and check.
#[derive(Clone, Debug)]
pub struct Job {
    /// Whose.
    pub key: Key,
    /// The plugin, as it is now.
    pub plugin: Arc<Object<WasmPlugin>>,
    /// The content of its pull secret.
    pub pull_secret: PullSecretOf,
    /// The registry is asked even if the tag is in the store.
    pub ask: bool,
}

/// A job's credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullSecretOf {
    /// The plugin names no secret.
    None,
    /// The plugin names this one, and it is there.
    Content(crate::api::secret::PullSecret),
    /// The plugin names one that is not there.
    Missing,
}

/// What is known of one plugin's artifact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The plugin that is worked on, or was last.
    pub wanted: Option<Arc<Object<WasmPlugin>>>,
    /// The last good one, with the plugin as it was then.
    pub good: Option<(Arc<Object<WasmPlugin>>, Checked)>,
    /// Why what is wanted now is not what serves.
    pub failure: Option<Failure>,
    /// How often in a row what is wanted failed.
    pub failures: u32,
    /// How often any version failed at a step, since the plugin is known.
    pub failed: BTreeMap<Step, u64>,
}

/// What is known of the version that is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase<'a> {
    /// It serves, or would where the plugin applies.
    Ready,
    /// It is being fetched and checked.
    Pending,
    /// It cannot serve, and is tried again.
    Failed(&'a Failure),
}

impl State {
    /// What is known of `plugin`, which may be newer than what was worked on.
    pub fn phase(&self, plugin: &Arc<Object<WasmPlugin>>) -> Phase<'_> {
        // A file is the proxy's own: nothing is fetched for it here.
        if plugin.spec.url.starts_with("file://") {
            return Phase::Ready;
        }
        match (&self.failure, &self.good) {
            (Some(failure), _) if self.wanted.as_ref() == Some(plugin) => Phase::Failed(failure),
            (_, Some((good, _))) if good == plugin => Phase::Ready,
            _ => Phase::Pending,
        }
    }
}

/// Decides and remembers.
#[derive(Debug)]
pub struct Ledger {
    poll: Duration,
    states: BTreeMap<Key, State>,
    plans: BTreeMap<Key, Plan>,
}

#[derive(Debug)]
struct Plan {
    /// What was asked for last.
    wanted: Arc<Object<WasmPlugin>>,
    pull_secret: PullSecretOf,
    running: bool,
    /// When to look again, if at all.
    next: Option<Instant>,
}

impl Ledger {
    /// An empty ledger that looks at moving tags every `poll`.
    pub fn new(poll: Duration) -> Self {
        Self {
            poll,
            states: BTreeMap::new(),
            plans: BTreeMap::new(),
        }
    }

    /// What is known, by plugin.
    pub fn states(&self) -> &BTreeMap<Key, State> {
        &self.states
    }

    /// When [`Ledger::jobs`] has something to do though nothing changed.
    pub fn due(&self) -> Option<Instant> {
        self.plans
            .values()
            .filter(|plan| !plan.running)
            .filter_map(|plan| plan.next)
            .min()
    }

    /// What is to be fetched now. Each job must be answered by [`Ledger::finished`].
    pub fn jobs(&mut self, world: &World, now: Instant) -> Vec<Job> {
        self.states.retain(|key, _| world.wasm_plugins.contains_key(key));
        self.plans.retain(|key, _| world.wasm_plugins.contains_key(key));
        let mut jobs = Vec::new();
        for (key, plugin) in &world.wasm_plugins {
            if plugin.spec.url.starts_with("file://") {
                self.states.remove(key);
                self.plans.remove(key);
                continue;
            }
            let pull_secret = pull_secret(world, plugin);
            let plan = self.plans.get(key);
            let changed = plan.is_none_or(|plan| plan.wanted != *plugin || plan.pull_secret != pull_secret);
            let due = plan.is_some_and(|plan| !plan.running && plan.next.is_some_and(|next| next <= now));
            if !changed && !due {
                continue;
            }
            let state = self.states.entry(key.clone()).or_default();
            if changed {
                // What was said of another version is not true of this one.
                (state.wanted, state.failure, state.failures) = (Some(Arc::clone(plugin)), None, 0);
            }
            self.plans.insert(
                key.clone(),
                Plan {
                    wanted: Arc::clone(plugin),
                    pull_secret: pull_secret.clone(),
                    running: true,
                    next: None,
                },
            );
            // Istio: with Always, any edit of the object asks the registry again.
            jobs.push(Job {
                key: key.clone(),
                plugin: Arc::clone(plugin),
                pull_secret,
                ask: moves(&plugin.spec),
            });
        }
        jobs
    }

    /// A repository has something new: plugins with moving tags in it are due at once.
    pub fn pushed(&mut self, repository: &str) {
        for plan in self.plans.values_mut() {
            let url = plan.wanted.spec.url.as_str();
            let path = url.split_once("://").map_or(url, |(_, rest)| rest);
            let path = path.split_once('/').map_or(path, |(_, path)| path);
            let name = path.split('@').next().unwrap_or(path);
            let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
            let failed = self.states.values().any(|state| state.failure.is_some());
            if name == repository && (moves(&plan.wanted.spec) || failed) {
                // Long past: due whatever the time is.
                plan.next = Some(Instant::now());
            }
        }
    }

    /// A job has ended. One whose plugin changed meanwhile counts for nothing. Plugins of one module share its bytes.
    /// Gives whether it is news: a retry that fails like the one before is not, nor a look that finds the same.
    pub fn finished(&mut self, job: &Job, outcome: Result<Checked, Failure>, now: Instant) -> bool {
        let Some(plan) = self.plans.get_mut(&job.key) else {
            return false;
        };
        if plan.wanted != job.plugin || plan.pull_secret != job.pull_secret {
            return false;
        }
        plan.running = false;
        let shared = outcome.as_ref().ok().and_then(|checked| {
            let mut known = self.states.values().filter_map(|state| state.good.as_ref());
            let same = known.find(|(_, known)| known.sha256 == checked.sha256);
            same.and_then(|(_, known)| known.proxy_wasm.clone())
        });
        let state = self.states.entry(job.key.clone()).or_default();
        match outcome {
            Ok(mut checked) => {
                if let Some(code) = shared {
                    checked.proxy_wasm = Some(code);
                }
                let good = Some((Arc::clone(&job.plugin), checked));
                let is_news = state.failure.is_some() || state.good != good;
                (state.good, state.failure, state.failures) = (good, None, 0);
                plan.next = moves(&job.plugin.spec).then(|| now + self.poll);
                is_news
            }
            Err(failure) => {
                let is_news = state.failure.as_ref() != Some(&failure);
                *state.failed.entry(failure.step).or_default() += 1;
                state.failure = Some(failure);
                let pause = FIRST_PAUSE * 2u32.saturating_pow(state.failures.min(5));
                state.failures = state.failures.saturating_add(1);
                plan.next = Some(now + pause.min(LONGEST_PAUSE));
                is_news
            }
        }
    }
}

/// Whether the same URL may mean something else tomorrow. As in Istio, a digest pins, and only a URL that ends in
/// `:latest` moves without being told to.
pub fn moves(spec: &WasmPlugin) -> bool {
    if !spec.sha256.is_empty() || spec.url.contains("@sha256:") {
        return false;
    }
    match spec.image_pull_policy {
        PullPolicy::Always => true,
        PullPolicy::IfNotPresent => false,
        PullPolicy::Unspecified => spec.url.ends_with(":latest"),
    }
}

fn pull_secret(world: &World, plugin: &Object<WasmPlugin>) -> PullSecretOf {
    if plugin.spec.image_pull_secret.is_empty() {
        return PullSecretOf::None;
    }
    let key = Key {
        namespace: plugin.meta.namespace.clone(),
        name: plugin.spec.image_pull_secret.clone(),
    };
    match world.pull_secrets.get(&key) {
        Some(secret) => PullSecretOf::Content(secret.spec.clone()),
        None => PullSecretOf::Missing,
    }
}

#[cfg(test)]
mod tests;
