//! Starting a plugin once, to see whether it starts: with a host that answers nothing and shares nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leno_sdk::host::{Call, CallId, HostError, LogLevel, MetricId, MetricKind, PluginHost, QueueId};

use crate::engine::Engine;
use crate::module::Module;
use crate::worker::{PluginOptions, StartError, VmOptions, Worker};

/// Starts the plugin on a worker of its own and drops both: whether a proxy could run it, and what it says if not.
///
/// Calls that it makes are taken and never answered; shared data, queues and metrics are its own.
///
/// # Errors
/// As [`Worker::plugin`].
pub fn trial(
    engine: &Engine,
    module: &Module,
    vm_options: &VmOptions,
    options: &PluginOptions,
) -> Result<(), StartError> {
    let worker = Worker::new(engine.clone());
    worker
        .plugin(module, vm_options, options, Rc::new(TrialHost::default()))
        .map(drop)
}

/// Kind, name and value.
type Metric = (MetricKind, String, u64);

/// A value and its version.
type Versioned = (Vec<u8>, u32);

#[derive(Default)]
struct TrialHost {
    calls: Cell<u32>,
    metrics: RefCell<Vec<Metric>>,
    shared: RefCell<HashMap<Vec<u8>, Versioned>>,
    queues: RefCell<Vec<Vec<u8>>>,
}

impl PluginHost for TrialHost {
    fn log(&self, level: LogLevel, message: &[u8]) {
        let _ = (level, message);
    }

    fn log_level(&self) -> LogLevel {
        LogLevel::Info
    }

    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn set_tick_period(&self, _period: Duration) {}

    fn call(&self, _call: Call) -> Result<CallId, HostError> {
        self.calls.set(self.calls.get() + 1);
        Ok(CallId(self.calls.get()))
    }

    fn cancel_call(&self, _call: CallId) {}

    fn shared_get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, HostError> {
        let shared = self.shared.borrow();
        let (stored, version) = shared.get(key).ok_or(HostError::NotFound)?;
        value.extend_from_slice(stored);
        Ok(*version)
    }

    fn shared_set(&self, key: &[u8], value: &[u8], expected: Option<u32>) -> Result<(), HostError> {
        let mut shared = self.shared.borrow_mut();
        let version = shared.get(key).map_or(0, |(_, version)| *version);
        if version != 0 && expected.is_some_and(|expected| expected != version) {
            return Err(HostError::Conflict);
        }
        shared.insert(key.to_vec(), (value.to_vec(), version + 1));
        Ok(())
    }

    fn queue_register(&self, name: &[u8]) -> QueueId {
        let mut queues = self.queues.borrow_mut();
        let position = queues.iter().position(|queue| queue == name).unwrap_or_else(|| {
            queues.push(name.to_vec());
            queues.len() - 1
        });
        QueueId(u32::try_from(position + 1).unwrap_or(u32::MAX))
    }

    fn queue_resolve(&self, _name_space: &[u8], name: &[u8]) -> Result<QueueId, HostError> {
        let queues = self.queues.borrow();
        let position = queues
            .iter()
            .position(|queue| queue == name)
            .ok_or(HostError::NotFound)?;
        Ok(QueueId(u32::try_from(position + 1).unwrap_or(u32::MAX)))
    }

    fn queue_push(&self, _queue: QueueId, _entry: &[u8]) -> Result<(), HostError> {
        Ok(())
    }

    fn queue_pop(&self, _queue: QueueId, _entry: &mut Vec<u8>) -> Result<(), HostError> {
        Err(HostError::Empty)
    }

    fn metric_define(&self, kind: MetricKind, name: &str) -> Result<MetricId, HostError> {
        let mut metrics = self.metrics.borrow_mut();
        let position = metrics
            .iter()
            .position(|metric| metric.1 == name)
            .unwrap_or_else(|| {
                metrics.push((kind, name.to_owned(), 0));
                metrics.len() - 1
            });
        if metrics[position].0 != kind {
            return Err(HostError::Invalid);
        }
        Ok(MetricId(u32::try_from(position).unwrap_or(u32::MAX)))
    }

    fn metric_add(&self, metric: MetricId, by: i64) -> Result<(), HostError> {
        let mut metrics = self.metrics.borrow_mut();
        let value = &mut metrics.get_mut(metric.0 as usize).ok_or(HostError::NotFound)?.2;
        *value = value.saturating_add_signed(by);
        Ok(())
    }

    fn metric_record(&self, metric: MetricId, value: u64) -> Result<(), HostError> {
        let mut metrics = self.metrics.borrow_mut();
        metrics.get_mut(metric.0 as usize).ok_or(HostError::NotFound)?.2 = value;
        Ok(())
    }

    fn metric_value(&self, metric: MetricId) -> Result<u64, HostError> {
        let metrics = self.metrics.borrow();
        Ok(metrics.get(metric.0 as usize).ok_or(HostError::NotFound)?.2)
    }

    fn property(&self, _path: &[u8], _value: &mut Vec<u8>) -> Result<(), HostError> {
        Err(HostError::NotFound)
    }

    fn account(&self, _callback: &'static str, _took: Duration) {}
}
