//! Hands plans to the workers, and knows what they do with them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use leno_model::invalid::Invalid;
use leno_model::listener::Direction;
use tokio::sync::Mutex;

use crate::admin::Shared;
use crate::config::plan::Plan;
use crate::worker::{Parts, Workers};

/// See the module.
pub(super) struct Publisher {
    state: Mutex<State>,
    shared: Arc<Shared>,
    published: AtomicU64,
}

struct State {
    /// `None` once they have been stopped.
    workers: Option<Workers>,
    /// The newest plan as it came.
    plan: Option<Arc<Plan>>,
    /// What an operator has closed; it stays closed.
    closed: Closed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Closed {
    Nothing,
    Inbound,
    Everything,
}

impl Publisher {
    /// Starts the workers, which wait for their first plan.
    pub(super) fn start(shared: Arc<Shared>, parts: &Parts) -> Result<Self, String> {
        let workers = Workers::start(shared.options.workers(), parts);
        let workers = workers.map_err(|error| format!("cannot start worker threads: {error}"))?;
        let state = State {
            workers: Some(workers),
            plan: None,
            closed: Closed::Nothing,
        };
        Ok(Self {
            state: Mutex::new(state),
            shared,
            published: AtomicU64::new(0),
        })
    }

    /// The number of the newest plan that was handed out.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Has all workers run `plan`. Where that fails, what they ran before goes on, and it is said.
    pub(super) async fn publish(&self, plan: Arc<Plan>) -> Result<(), Invalid> {
        let mut state = self.state.lock().await;
        self.published.store(plan.number, Ordering::Relaxed);
        state.plan = Some(Arc::clone(&plan));
        self.apply(&mut state, plan).await
    }

    /// Closes listeners for good: connections that are open may finish what they do.
    pub(super) async fn close_listeners(&self, inbound_only: bool) {
        let mut state = self.state.lock().await;
        let closes = if inbound_only {
            Closed::Inbound
        } else {
            Closed::Everything
        };
        if state.closed != Closed::Everything {
            state.closed = closes;
        }
        if let Some(plan) = state.plan.clone() {
            // What goes wrong is said there.
            let _ = self.apply(&mut state, plan).await;
        }
    }

    /// Closes all listeners, and waits until every exchange has ended.
    pub(super) async fn drain(&self) {
        let state = self.state.lock().await;
        if let Some(workers) = &state.workers {
            self.show(BTreeMap::new());
            workers.drain().await;
        }
    }

    /// Ends the workers.
    pub(super) async fn stop(&self) {
        if let Some(workers) = self.state.lock().await.workers.take() {
            // Waits for threads; a panic of one was reported by the panic hook.
            let _ = tokio::task::spawn_blocking(move || workers.stop()).await;
        }
    }

    async fn apply(&self, state: &mut State, plan: Arc<Plan>) -> Result<(), Invalid> {
        let Some(workers) = &mut state.workers else {
            return Ok(());
        };
        let number = plan.number;
        let result = workers.apply(without(plan, state.closed)).await;
        self.show(workers.addresses());
        let registry = &self.shared.registry;
        match &result {
            Ok(()) => {
                registry
                    .shared_counter("listener_manager.listener_create_success", &[])
                    .inc();
                tracing::debug!(code = "plan", number, "all workers run it");
            }
            Err(refusal) => {
                registry
                    .shared_counter("listener_manager.listener_create_failure", &[])
                    .inc();
                tracing::error!(code = "plan_failed", number, reason = %refusal, "what it concerns stays as it was before");
            }
        }
        result
    }

    fn show(&self, addresses: BTreeMap<String, SocketAddr>) {
        *self
            .shared
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

fn without(plan: Arc<Plan>, closed: Closed) -> Arc<Plan> {
    if closed == Closed::Nothing {
        return plan;
    }
    let stays = |direction| closed == Closed::Inbound && direction != Direction::Inbound;
    let listeners = plan
        .listeners
        .iter()
        .filter(|(_, listener)| stays(listener.listener.direction));
    Arc::new(Plan {
        number: plan.number,
        node: Arc::clone(&plan.node),
        listeners: listeners
            .map(|(name, listener)| (name.clone(), Arc::clone(listener)))
            .collect(),
        clusters: plan.clusters.clone(),
    })
}
