//! What a plugin may ask of the proxy, outside of any exchange: [`PluginHost`] on one worker.
//!
//! Ticks, answers to calls and queue entries are tasks of the worker's `LocalSet`: they never run while a callback
//! of a guest does, and end with the plugin.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leno_model::bootstrap::Node;
use leno_sdk::host::{Call, CallId, HostError, LogLevel, MetricId, MetricKind, PluginHost, QueueId};
use leno_sdk::plugin::{CallResponse, Plugin, Trap};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::Level;

use crate::exchange::properties;
use crate::filters::metrics::{FilterStats, Metrics};
use crate::filters::shared_data::NameSpace;
use crate::filters::{Identity, Shared};

/// Makes the requests of filters. Each worker has one.
pub trait Caller {
    /// Begins a call, and reads the answer to its end. What goes wrong later is an answer too: 504 when the call
    /// took longer than its timeout, 503 when there was no answer, no headers when it broke off.
    ///
    /// # Errors
    /// `Invalid` for an unknown cluster.
    fn call(&self, call: Call) -> Result<Answer, HostError>;
}

/// An answer to come.
pub type Answer = Pin<Box<dyn Future<Output = CallResponse>>>;

/// The host of one plugin.
pub struct Host {
    identity: Rc<Identity>,
    node: Arc<Node>,
    shared: Arc<Shared>,
    space: Arc<NameSpace>,
    stats: Rc<FilterStats>,
    metrics: Metrics,
    /// `None` while a guest is only tried out: then nothing happens later.
    caller: Option<Rc<dyn Caller>>,
    plugin: RefCell<Option<Weak<dyn Plugin>>>,
    itself: Weak<Self>,
    ticker: RefCell<Option<Task>>,
    listeners: RefCell<HashMap<QueueId, Task>>,
    calls: RefCell<HashMap<CallId, Task>>,
    next_call: Cell<u32>,
}

/// Calls that one plugin may have open on one worker. Arbitrary.
const CALLS: usize = 10_000;

/// A task that ends with its owner.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Host {
    pub(crate) fn new(
        (identity, stats): (Rc<Identity>, Rc<FilterStats>),
        node: Arc<Node>,
        shared: Arc<Shared>,
        caller: Option<Rc<dyn Caller>>,
    ) -> Rc<Self> {
        Rc::new_cyclic(|itself| Self {
            space: shared.name_spaces.open(&identity.vm_id),
            metrics: Metrics::new(shared.registry.clone()),
            identity,
            node,
            shared,
            stats,
            caller,
            plugin: RefCell::new(None),
            itself: itself.clone(),
            ticker: RefCell::new(None),
            listeners: RefCell::default(),
            calls: RefCell::default(),
            next_call: Cell::new(0),
        })
    }

    /// Who gets the callbacks. Until then none is due, because a plugin starts within one turn of the loop.
    pub(crate) fn serve(&self, plugin: &Rc<dyn Plugin>) {
        *self.plugin.borrow_mut() = Some(Rc::downgrade(plugin));
    }

    /// Nothing is called any more.
    pub(crate) fn close(&self) {
        self.plugin.take();
        self.ticker.take();
        self.listeners.take();
        self.calls.take();
    }

    /// Whether the plugin is still there to be called again.
    fn call_plugin(&self, callback: impl FnOnce(&dyn Plugin) -> Result<(), Trap>) -> bool {
        let plugin = self.plugin.borrow().as_ref().and_then(Weak::upgrade);
        let Some(plugin) = plugin.filter(|plugin| !plugin.is_broken()) else {
            return false;
        };
        if let Err(trap) = callback(plugin.as_ref()) {
            self.stats.failed(&self.identity, &trap);
        }
        !plugin.is_broken()
    }

    fn deliver(&self, call: CallId, response: &CallResponse) {
        // The task that delivers must not abort itself, so its handle is forgotten first.
        let open = self.calls.borrow_mut().remove(&call);
        if open.is_some() {
            self.call_plugin(|plugin| plugin.on_call_response(call, response));
        }
    }

    fn free_call_id(&self) -> Result<CallId, HostError> {
        let calls = self.calls.borrow();
        if calls.len() >= CALLS {
            return Err(HostError::Limit);
        }
        loop {
            let id = CallId(self.next_call.get().wrapping_add(1));
            self.next_call.set(id.0);
            if !calls.contains_key(&id) {
                return Ok(id);
            }
        }
    }
}

impl PluginHost for Host {
    fn log(&self, level: LogLevel, message: &[u8]) {
        let Identity { name, root_id, vm_id } = &*self.identity;
        let message = String::from_utf8_lossy(message);
        let line = format_args!("wasm log {name} {root_id} {vm_id}: {message}");
        match level {
            LogLevel::Trace => tracing::trace!(target: "wasm", "{line}"),
            LogLevel::Debug => tracing::debug!(target: "wasm", "{line}"),
            LogLevel::Info => tracing::info!(target: "wasm", "{line}"),
            LogLevel::Warn => tracing::warn!(target: "wasm", "{line}"),
            LogLevel::Error | LogLevel::Critical => tracing::error!(target: "wasm", "{line}"),
        }
    }

    fn log_level(&self) -> LogLevel {
        if tracing::enabled!(target: "wasm", Level::TRACE) {
            LogLevel::Trace
        } else if tracing::enabled!(target: "wasm", Level::DEBUG) {
            LogLevel::Debug
        } else if tracing::enabled!(target: "wasm", Level::INFO) {
            LogLevel::Info
        } else if tracing::enabled!(target: "wasm", Level::WARN) {
            LogLevel::Warn
        } else if tracing::enabled!(target: "wasm", Level::ERROR) {
            LogLevel::Error
        } else {
            LogLevel::Critical
        }
    }

    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn set_tick_period(&self, period: Duration) {
        if self.caller.is_none() {
            return;
        }
        let host = self.itself.clone();
        let task = (!period.is_zero()).then(|| {
            spawn_local(async move {
                let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let Some(host) = host.upgrade() else { return };
                    if !host.call_plugin(|plugin| plugin.on_tick()) {
                        return;
                    }
                }
            })
        });
        // A tick that sets the period replaces its own task: that ends at its next await.
        self.ticker.replace(task.map(|task| Task(task.abort_handle())));
    }

    fn call(&self, call: Call) -> Result<CallId, HostError> {
        let has = |name: &[u8]| {
            call.headers
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        if !has(b":method") || !has(b":path") || !(has(b":authority") || has(b"host")) {
            return Err(HostError::Invalid);
        }
        let id = self.free_call_id()?;
        let Some(caller) = &self.caller else { return Ok(id) };
        let answer = caller.call(call)?;
        let host = self.itself.clone();
        let task = spawn_local(async move {
            let response = answer.await;
            if let Some(host) = host.upgrade() {
                host.deliver(id, &response);
            }
        });
        self.calls.borrow_mut().insert(id, Task(task.abort_handle()));
        Ok(id)
    }

    fn cancel_call(&self, call: CallId) {
        let open = self.calls.borrow_mut().remove(&call);
        drop(open);
    }

    fn shared_get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, HostError> {
        self.space.get(key, value)
    }

    fn shared_set(&self, key: &[u8], value: &[u8], expected: Option<u32>) -> Result<(), HostError> {
        self.space.set(key, value, expected)
    }

    fn queue_register(&self, name: &[u8]) -> QueueId {
        let (queue, listener) = self.shared.queues.register(&self.identity.vm_id, name);
        if self.caller.is_none() {
            return queue;
        }
        let host = self.itself.clone();
        let task = spawn_local(async move {
            loop {
                for _ in 0..listener.entries().await {
                    let Some(host) = host.upgrade() else { return };
                    if !host.call_plugin(|plugin| plugin.on_queue_ready(queue)) {
                        return;
                    }
                    drop(host);
                    tokio::task::yield_now().await;
                }
            }
        });
        self.listeners
            .borrow_mut()
            .insert(queue, Task(task.abort_handle()));
        queue
    }

    fn queue_resolve(&self, name_space: &[u8], name: &[u8]) -> Result<QueueId, HostError> {
        let name_space = std::str::from_utf8(name_space).map_err(|_| HostError::NotFound)?;
        let name_space = if name_space.is_empty() {
            &self.identity.vm_id
        } else {
            name_space
        };
        self.shared.queues.resolve(name_space, name)
    }

    fn queue_push(&self, queue: QueueId, entry: &[u8]) -> Result<(), HostError> {
        self.shared.queues.push(queue, entry)
    }

    fn queue_pop(&self, queue: QueueId, entry: &mut Vec<u8>) -> Result<(), HostError> {
        self.shared.queues.pop(queue, entry)
    }

    fn metric_define(&self, kind: MetricKind, name: &str) -> Result<MetricId, HostError> {
        self.metrics.define(&self.shared.metric_names, kind, name)
    }

    fn metric_add(&self, metric: MetricId, by: i64) -> Result<(), HostError> {
        self.metrics.add(metric, by)
    }

    fn metric_record(&self, metric: MetricId, value: u64) -> Result<(), HostError> {
        self.metrics.record(metric, value)
    }

    fn metric_value(&self, metric: MetricId) -> Result<u64, HostError> {
        self.metrics.value(metric)
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        properties::of_plugin(&self.identity, &self.node, path, value)
    }

    fn account(&self, callback: &'static str, took: Duration) {
        self.stats.account(callback, took);
    }
}
