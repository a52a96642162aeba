//! What workers share, and what one worker offers to a filter.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::running::Running;
use super::text;
use crate::filter::Filter;
use crate::host::{Call, CallId, HostError, LogLevel, MetricId, MetricKind, PluginHost, QueueId};
use crate::native::start;
use crate::plugin::Plugin;
use crate::property::join;

/// Where the clock of a new mesh stands: 2026-01-01, 00:00:00 UTC.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// What all workers of a proxy share.
#[derive(Clone)]
pub struct Mesh(pub(super) Rc<State>);

pub(super) struct State {
    pub(super) now: Cell<Duration>,
    shared: RefCell<BTreeMap<Vec<u8>, Versioned>>,
    version: Cell<u32>,
    queues: RefCell<Vec<Queue>>,
    metrics: RefCell<Vec<Metric>>,
    logs: RefCell<Vec<(LogLevel, String)>>,
    properties: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    refused: RefCell<Vec<String>>,
    pub(super) exchanges: Cell<u64>,
    workers: Cell<usize>,
}

/// A value and its version.
type Versioned = (Vec<u8>, u32);

struct Queue {
    name: Vec<u8>,
    entries: VecDeque<Vec<u8>>,
    worker: usize,
    pending: usize,
}

struct Metric {
    kind: MetricKind,
    name: String,
    value: u64,
    samples: Vec<u64>,
}

impl Default for Mesh {
    fn default() -> Self {
        Self::new()
    }
}

impl Mesh {
    /// Empty; its clock stands at the beginning of 2026.
    #[must_use]
    pub fn new() -> Self {
        Self(Rc::new(State {
            now: Cell::new(EPOCH),
            shared: RefCell::default(),
            version: Cell::new(0),
            queues: RefCell::default(),
            metrics: RefCell::default(),
            logs: RefCell::default(),
            properties: RefCell::default(),
            refused: RefCell::default(),
            exchanges: Cell::new(0),
            workers: Cell::new(0),
        }))
    }

    /// One more worker.
    #[must_use]
    pub fn worker(&self) -> Worker {
        let index = self.0.workers.get();
        self.0.workers.set(index + 1);
        Worker {
            mesh: self.clone(),
            index,
        }
    }

    /// Time since 1970.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// Moves the clock. Ticks fire through [`Running::advance`].
    pub fn set_now(&self, now: Duration) {
        self.0.now.set(now);
    }

    /// Offers an attribute that does not depend on an exchange.
    pub fn set_property(&self, path: &[&str], value: impl AsRef<[u8]>) {
        self.0
            .properties
            .borrow_mut()
            .insert(join(path), value.as_ref().to_vec());
    }

    /// Refuses calls to a cluster, as if there were none of this name.
    pub fn refuse_cluster(&self, cluster: &str) {
        self.0.refused.borrow_mut().push(cluster.to_owned());
    }

    /// A shared value.
    #[must_use]
    pub fn shared(&self, key: &str) -> Option<Vec<u8>> {
        self.0
            .shared
            .borrow()
            .get(key.as_bytes())
            .map(|(value, _)| value.clone())
    }

    /// Writes a shared value, as another plugin would.
    pub fn set_shared(&self, key: &str, value: impl AsRef<[u8]>) {
        self.0.put(key.as_bytes(), value.as_ref());
    }

    /// The value of a counter or gauge, or how many values a histogram has counted.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.0
            .metrics
            .borrow()
            .iter()
            .find(|metric| metric.name == name)
            .map(|metric| metric.value)
    }

    /// The names of all metrics, in the order of their definition.
    #[must_use]
    pub fn metrics(&self) -> Vec<String> {
        self.0
            .metrics
            .borrow()
            .iter()
            .map(|metric| metric.name.clone())
            .collect()
    }

    /// What a histogram has counted.
    #[must_use]
    pub fn samples(&self, name: &str) -> Vec<u64> {
        let metrics = self.0.metrics.borrow();
        metrics
            .iter()
            .find(|metric| metric.name == name)
            .map(|metric| metric.samples.clone())
            .unwrap_or_default()
    }

    /// What has been logged.
    #[must_use]
    pub fn logs(&self) -> Vec<(LogLevel, String)> {
        self.0.logs.borrow().clone()
    }

    /// What has been logged since the last time.
    pub fn take_logs(&self) -> Vec<(LogLevel, String)> {
        std::mem::take(&mut *self.0.logs.borrow_mut())
    }
}

impl State {
    fn put(&self, key: &[u8], value: &[u8]) {
        self.version.set(self.version.get() + 1);
        self.shared
            .borrow_mut()
            .insert(key.to_vec(), (value.to_vec(), self.version.get()));
    }

    pub(super) fn property(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.properties.borrow().get(path).cloned()
    }

    /// Queues with entries that `worker` has not heard of.
    pub(super) fn ready_queues(&self, worker: usize) -> Vec<QueueId> {
        let mut ready = Vec::new();
        for (index, queue) in self.queues.borrow_mut().iter_mut().enumerate() {
            let pending = if queue.worker == worker {
                std::mem::take(&mut queue.pending)
            } else {
                0
            };
            ready.extend(std::iter::repeat_n(queue_id(index), pending));
        }
        ready
    }

    fn queue<T>(&self, id: QueueId, act: impl FnOnce(&mut Queue) -> T) -> Result<T, HostError> {
        let index = (id.0 as usize).wrapping_sub(1);
        self.queues
            .borrow_mut()
            .get_mut(index)
            .map(act)
            .ok_or(HostError::NotFound)
    }

    fn metric<T>(&self, id: MetricId, act: impl FnOnce(&mut Metric) -> T) -> Result<T, HostError> {
        let index = (id.0 >> 2) as usize;
        self.metrics
            .borrow_mut()
            .get_mut(index)
            .map(act)
            .ok_or(HostError::NotFound)
    }
}

fn queue_id(index: usize) -> QueueId {
    QueueId(u32::try_from(index + 1).expect("a test has few queues"))
}

/// One worker of a proxy.
#[derive(Clone)]
pub struct Worker {
    mesh: Mesh,
    index: usize,
}

impl Worker {
    /// Configures a native filter.
    ///
    /// # Errors
    /// Why the configuration is refused.
    pub fn native<F: Filter>(&self, configuration: &str) -> Result<Running, String> {
        self.start(|host| start::<F>(configuration.as_bytes(), host))
    }

    /// Configures any filter.
    ///
    /// # Errors
    /// What `start` says.
    pub fn start(
        &self,
        start: impl FnOnce(Rc<dyn PluginHost>) -> Result<Rc<dyn Plugin>, String>,
    ) -> Result<Running, String> {
        let host = Rc::new(WorkerHost {
            state: Rc::clone(&self.mesh.0),
            index: self.index,
            period: Cell::default(),
            next_tick: Cell::default(),
            calls: RefCell::default(),
            next_call: Cell::new(1),
        });
        let plugin = start(Rc::clone(&host) as Rc<dyn PluginHost>)?;
        Ok(Running::new(self.mesh.clone(), host, plugin))
    }
}

/// The host of one plugin on one worker.
pub(super) struct WorkerHost {
    state: Rc<State>,
    pub(super) index: usize,
    pub(super) period: Cell<Duration>,
    pub(super) next_tick: Cell<Duration>,
    pub(super) calls: RefCell<BTreeMap<CallId, Call>>,
    next_call: Cell<u32>,
}

impl PluginHost for WorkerHost {
    fn log(&self, level: LogLevel, message: &[u8]) {
        self.state.logs.borrow_mut().push((level, text(message)));
    }

    fn log_level(&self) -> LogLevel {
        LogLevel::Trace
    }

    fn now(&self) -> u64 {
        u64::try_from(self.state.now.get().as_nanos()).expect("a test ends before the year 2554")
    }

    fn set_tick_period(&self, period: Duration) {
        self.period.set(period);
        self.next_tick.set(self.state.now.get() + period);
    }

    fn call(&self, call: Call) -> Result<CallId, HostError> {
        let has = |name: &str| call.headers.iter().any(|(field, _)| field == name.as_bytes());
        let complete = has(":method") && has(":path") && (has(":authority") || has("host"));
        if !complete || self.state.refused.borrow().contains(&call.cluster) {
            return Err(HostError::Invalid);
        }
        let id = CallId(self.next_call.get());
        self.next_call.set(id.0 + 1);
        self.calls.borrow_mut().insert(id, call);
        Ok(id)
    }

    fn cancel_call(&self, call: CallId) {
        self.calls.borrow_mut().remove(&call);
    }

    fn shared_get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, HostError> {
        let shared = self.state.shared.borrow();
        let (bytes, version) = shared.get(key).ok_or(HostError::NotFound)?;
        value.extend_from_slice(bytes);
        Ok(*version)
    }

    fn shared_set(&self, key: &[u8], value: &[u8], expected: Option<u32>) -> Result<(), HostError> {
        let current = self.state.shared.borrow().get(key).map(|(_, version)| *version);
        if matches!((current, expected), (Some(current), Some(expected)) if current != expected) {
            return Err(HostError::Conflict);
        }
        self.state.put(key, value);
        Ok(())
    }

    fn queue_register(&self, name: &[u8]) -> QueueId {
        let mut queues = self.state.queues.borrow_mut();
        let index = queues
            .iter()
            .position(|queue| queue.name == name)
            .unwrap_or(queues.len());
        if index == queues.len() {
            let entries = VecDeque::new();
            queues.push(Queue {
                name: name.to_vec(),
                entries,
                worker: self.index,
                pending: 0,
            });
        }
        queues[index].worker = self.index;
        queue_id(index)
    }

    fn queue_resolve(&self, _name_space: &[u8], name: &[u8]) -> Result<QueueId, HostError> {
        let queues = self.state.queues.borrow();
        queues
            .iter()
            .position(|queue| queue.name == name)
            .map(queue_id)
            .ok_or(HostError::NotFound)
    }

    fn queue_push(&self, queue: QueueId, entry: &[u8]) -> Result<(), HostError> {
        self.state.queue(queue, |queue| {
            queue.entries.push_back(entry.to_vec());
            queue.pending += 1;
        })
    }

    fn queue_pop(&self, queue: QueueId, entry: &mut Vec<u8>) -> Result<(), HostError> {
        let oldest = self.state.queue(queue, |queue| queue.entries.pop_front())?;
        entry.extend(oldest.ok_or(HostError::Empty)?);
        Ok(())
    }

    fn metric_define(&self, kind: MetricKind, name: &str) -> Result<MetricId, HostError> {
        let mut metrics = self.state.metrics.borrow_mut();
        let index = metrics
            .iter()
            .position(|metric| metric.name == name)
            .unwrap_or(metrics.len());
        if index == metrics.len() {
            metrics.push(Metric {
                kind,
                name: name.to_owned(),
                value: 0,
                samples: Vec::new(),
            });
        }
        if metrics[index].kind != kind {
            return Err(HostError::Invalid);
        }
        Ok(MetricId(
            u32::try_from(index << 2).expect("a test has few metrics"),
        ))
    }

    fn metric_add(&self, metric: MetricId, by: i64) -> Result<(), HostError> {
        self.state.metric(metric, |metric| match metric.kind {
            MetricKind::Histogram => Err(HostError::Invalid),
            MetricKind::Counter if by <= 0 => Err(HostError::Invalid),
            MetricKind::Counter | MetricKind::Gauge => {
                metric.value = metric.value.saturating_add_signed(by);
                Ok(())
            }
        })?
    }

    fn metric_record(&self, metric: MetricId, value: u64) -> Result<(), HostError> {
        self.state.metric(metric, |metric| match metric.kind {
            MetricKind::Counter => metric.value += value,
            MetricKind::Gauge => metric.value = value,
            MetricKind::Histogram => {
                metric.value += 1;
                metric.samples.push(value);
            }
        })
    }

    fn metric_value(&self, metric: MetricId) -> Result<u64, HostError> {
        self.state.metric(metric, |metric| match metric.kind {
            MetricKind::Histogram => Err(HostError::Invalid),
            MetricKind::Counter | MetricKind::Gauge => Ok(metric.value),
        })?
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        value.extend(self.state.property(path).ok_or(HostError::NotFound)?);
        Ok(())
    }

    fn account(&self, _callback: &'static str, _took: Duration) {}
}
