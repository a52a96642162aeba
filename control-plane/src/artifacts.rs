//! The artifacts that plugins name: pulled, verified, checked and tried once, before any proxy hears of them.
//!
//! [`ledger`] decides what is to be done and remembers what was good, without IO and clock; [`check`] does the work on
//! one artifact; this file runs the two.

pub mod check;

pub mod failure;

pub mod ledger;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use leno_oci::fetch::Fetcher;
use leno_wasm::{Engine, Module};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::api::meta::Key;
use crate::folder::watch::Readings;
use failure::{Failure, Step};
use ledger::{Job, Ledger, State};

/// What is known of each plugin's artifact. Changes only when something did.
pub type States = Arc<BTreeMap<Key, State>>;

/// An artifact that was pushed to a registry which tells of it: host-less repository name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// As `filters/auth`.
    pub repository: String,
}

/// What fetches and checks artifacts.
#[derive(Clone)]
pub struct Tools {
    /// Registries and the store.
    pub fetcher: Fetcher,
    /// Compiles and tries modules.
    pub engine: Engine,
    /// How often the tags of plugins with pull policy `Always` are looked at.
    pub poll: Duration,
    /// What was compiled lately.
    pub compiled: Compiled,
}

/// Modules that were compiled lately, by digest: a change of configuration alone does not compile again.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    modules: Arc<Mutex<VecDeque<(String, Module)>>>,
}

impl Compiled {
    /// How many are kept. Arbitrary: the stages of a mesh in two versions, and room.
    const MOST: usize = 32;

    /// The module of this digest, compiled by `compile` if need be.
    ///
    /// # Errors
    /// As `compile`.
    pub fn get<Error>(
        &self,
        sha256: &str,
        compile: impl FnOnce() -> Result<Module, Error>,
    ) -> Result<Module, Error> {
        let found = self
            .modules()
            .iter()
            .find(|(digest, _)| digest == sha256)
            .map(|(_, module)| module.clone());
        if let Some(module) = found {
            return Ok(module);
        }
        // Not under the lock: two at once may compile the same, which costs time and nothing else.
        let module = compile()?;
        let mut modules = self.modules();
        if modules.len() == Self::MOST {
            modules.pop_front();
        }
        modules.push_back((sha256.to_owned(), module.clone()));
        Ok(module)
    }

    fn modules(&self) -> MutexGuard<'_, VecDeque<(String, Module)>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps artifacts as the readings want them, until the readings end.
pub fn run(
    tools: Tools,
    mut readings: Readings,
    mut pushes: mpsc::Receiver<Pushed>,
) -> watch::Receiver<States> {
    let (states, receiver) = watch::channel(States::default());
    tokio::spawn(async move {
        let mut ledger = Ledger::new(tools.poll);
        let mut running = JoinSet::new();
        loop {
            let world = readings.borrow_and_update().world.clone();
            for job in ledger.jobs(&world, Instant::now()) {
                let tools = tools.clone();
                running.spawn(async move {
                    let checked = tokio::spawn({
                        let job = job.clone();
                        async move { check::check(&tools, &job).await }
                    });
                    // A check that panics is a defect of ours; its plugin is tried again like any that failed.
                    let outcome = checked.await.unwrap_or_else(|error| {
                        Err(Failure::new(Step::Compile, format!("checking it: {error}")))
                    });
                    (job, outcome)
                });
            }
            publish(&states, &ledger);
            let due = ledger.due();
            tokio::select! {
                changed = readings.changed() => if changed.is_err() { return },
                pushed = pushes.recv() => match pushed {
                    Some(pushed) => ledger.pushed(&pushed.repository),
                    // The sender is gone with the registry: only polls remain.
                    None => std::future::pending().await,
                },
                Some(finished) = running.join_next() => finish(&mut ledger, finished),
                () = sleep_until(due) => {}
            }
        }
    });
    receiver
}

type Finished = Result<(Job, Result<check::Checked, Failure>), tokio::task::JoinError>;

fn finish(ledger: &mut Ledger, finished: Finished) {
    let (job, outcome) = match finished {
        Ok(finished) => finished,
        Err(error) => return tracing::error!(%error, "waiting for the check of an artifact"),
    };
    let is_news = ledger.finished(&job, outcome.clone(), Instant::now());
    let (plugin, url) = (&job.key, &job.plugin.spec.url);
    match outcome {
        Ok(checked) if is_news => {
            tracing::info!(%plugin, url, sha256 = checked.sha256, "artifact is ready");
            if let Some(note) = checked.note {
                tracing::warn!(%plugin, url, note, "artifact is ready, and was not tried");
            }
        }
        Ok(checked) => tracing::debug!(%plugin, url, sha256 = checked.sha256, "artifact is ready"),
        Err(Failure { step, reason }) if is_news => {
            tracing::error!(%plugin, url, step = step.name(), reason, "artifact is refused");
        }
        Err(Failure { step, reason }) => {
            tracing::debug!(%plugin, url, step = step.name(), reason, "artifact is refused");
        }
    }
}

fn publish(states: &watch::Sender<States>, ledger: &Ledger) {
    states.send_if_modified(|current| {
        let differs = **current != *ledger.states();
        if differs {
            *current = Arc::new(ledger.states().clone());
        }
        differs
    });
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
