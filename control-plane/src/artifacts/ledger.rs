//! Which artifacts are to be fetched when, and what the last good of each is. No IO and no clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::Checked;
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
    /// The last good one, with the plugin as it was then.
    pub good: Option<(Arc<Object<WasmPlugin>>, Checked)>,
    /// Why what is wanted now is not what serves.
    pub failure: Option<String>,
    /// How often in a row it failed.
    pub failures: u32,
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
            self.states.entry(key.clone()).or_default();
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
    pub fn finished(&mut self, job: &Job, outcome: Result<Checked, String>, now: Instant) {
        let Some(plan) = self.plans.get_mut(&job.key) else {
            return;
        };
        if plan.wanted != job.plugin || plan.pull_secret != job.pull_secret {
            return;
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
                state.good = Some((Arc::clone(&job.plugin), checked));
                state.failure = None;
                state.failures = 0;
                plan.next = moves(&job.plugin.spec).then(|| now + self.poll);
            }
            Err(reason) => {
                state.failure = Some(reason);
                let pause = FIRST_PAUSE * 2u32.saturating_pow(state.failures.min(5));
                state.failures += 1;
                plan.next = Some(now + pause.min(LONGEST_PAUSE));
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
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::check::Checked;
    use super::{Job, Ledger};
    use crate::api::meta::{Key, Meta};
    use crate::world::{Object, World};

    fn world(url: &str, policy: &str) -> World {
        let spec = serde_json::from_value(serde_json::json!({"url": url, "imagePullPolicy": policy}))
            .expect("a spec");
        let meta = Meta {
            name: "p".into(),
            namespace: "n".into(),
            ..Meta::default()
        };
        let mut world = World::default();
        world
            .wasm_plugins
            .insert(meta.key(), Arc::new(Object { meta, spec }));
        world
    }

    fn key() -> Key {
        Key {
            namespace: "n".into(),
            name: "p".into(),
        }
    }

    fn checked(sha256: &str) -> Checked {
        Checked {
            sha256: sha256.into(),
            ..Checked::default()
        }
    }

    fn only(jobs: Vec<Job>) -> Job {
        assert_eq!(jobs.len(), 1);
        jobs.into_iter().next().expect("a job")
    }

    #[test]
    fn a_failed_version_keeps_the_last_good_and_is_tried_again_later() {
        let (mut ledger, start) = (Ledger::new(Duration::from_secs(10)), Instant::now());
        let first = world("oci://r/a/b:v1", "IfNotPresent");
        let job = only(ledger.jobs(&first, start));
        ledger.finished(&job, Ok(checked("aa")), start);
        assert!(
            ledger.jobs(&first, start + Duration::from_secs(100)).is_empty(),
            "a fixed tag is asked for once"
        );
        assert_eq!(ledger.due(), None);

        let second = world("oci://r/a/b:v2", "IfNotPresent");
        let job = only(ledger.jobs(&second, start));
        ledger.finished(&job, Err("not Wasm".into()), start);
        let state = &ledger.states()[&key()];
        let (plugin, good) = state.good.as_ref().expect("the last good");
        assert_eq!(
            (plugin.spec.url.as_str(), good.sha256.as_str()),
            ("oci://r/a/b:v1", "aa")
        );
        assert_eq!(state.failure.as_deref(), Some("not Wasm"));
        assert_eq!(ledger.due(), Some(start + Duration::from_secs(1)));
        assert!(ledger.jobs(&second, start).is_empty());

        let job = only(ledger.jobs(&second, start + Duration::from_secs(1)));
        ledger.finished(&job, Ok(checked("bb")), start);
        let state = &ledger.states()[&key()];
        assert_eq!(
            (
                state.failure.clone(),
                state.good.as_ref().map(|good| good.1.sha256.as_str())
            ),
            (None, Some("bb"))
        );
    }

    #[test]
    fn moving_tags_are_looked_at_again_and_at_once_after_a_push() {
        let (mut ledger, start) = (Ledger::new(Duration::from_secs(10)), Instant::now());
        let world = world("oci://r:5000/a/b:v1", "Always");
        let job = only(ledger.jobs(&world, start));
        assert!(job.ask);
        ledger.finished(&job, Ok(checked("aa")), start);
        assert_eq!(ledger.due(), Some(start + Duration::from_secs(10)));
        ledger.pushed("other/b");
        assert_eq!(ledger.due(), Some(start + Duration::from_secs(10)));
        ledger.pushed("a/b");
        assert!(ledger.due().expect("due") <= Instant::now());
    }

    #[test]
    fn results_for_a_plugin_that_changed_count_for_nothing() {
        let (mut ledger, start) = (Ledger::new(Duration::from_secs(10)), Instant::now());
        let old = only(ledger.jobs(&world("oci://r/a/b:v1", "IfNotPresent"), start));
        let new = only(ledger.jobs(&world("oci://r/a/b:v2", "IfNotPresent"), start));
        ledger.finished(&new, Ok(checked("bb")), start);
        ledger.finished(&old, Ok(checked("aa")), start);
        assert_eq!(
            ledger.states()[&key()].good.as_ref().expect("good").1.sha256,
            "bb"
        );
        assert!(ledger.jobs(&World::default(), start).is_empty());
        assert!(
            ledger.states().is_empty(),
            "what is not wanted any more is forgotten"
        );
    }
}
