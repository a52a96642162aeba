//! Metrics that filters define, and those that the proxy keeps about filters.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leno_sdk::host::{HostError, MetricId, MetricKind};
use leno_sdk::plugin::Trap;

use crate::filters::Identity;
use crate::stats::{Counter, Gauge, Histogram, Registry};

/// Which kind each name has, over all filters of the process.
#[derive(Default)]
pub struct MetricNames {
    kinds: Mutex<HashMap<String, MetricKind>>,
}

/// Names over all filters: a guest that puts ids of requests into names must not take all memory. Arbitrary.
const NAMES: usize = 50_000;

/// The metrics of one plugin on one worker.
pub struct Metrics {
    registry: Arc<Registry>,
    defined: RefCell<Vec<Metric>>,
    by_name: RefCell<HashMap<String, MetricId>>,
}

enum Metric {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl MetricNames {
    fn claim(&self, name: &str, kind: MetricKind) -> Result<(), HostError> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.get(name) {
            Some(known) if *known == kind => Ok(()),
            Some(_) => Err(HostError::Invalid),
            None if kinds.len() >= NAMES => Err(HostError::Limit),
            None => {
                kinds.insert(name.to_owned(), kind);
                Ok(())
            }
        }
    }
}

impl Metrics {
    /// None yet.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            defined: RefCell::default(),
            by_name: RefCell::default(),
        }
    }

    /// See [`PluginHost::metric_define`](leno_sdk::host::PluginHost::metric_define). Statistics show it as
    /// `wasmcustom.<name>`, as Envoy does.
    ///
    /// # Errors
    /// `Invalid` for a name that exists with another kind, `Limit` when there are too many.
    pub fn define(&self, names: &MetricNames, kind: MetricKind, name: &str) -> Result<MetricId, HostError> {
        names.claim(name, kind)?;
        if let Some(id) = self.by_name.borrow().get(name) {
            return Ok(*id);
        }
        let full = format!("wasmcustom.{name}");
        let metric = match kind {
            MetricKind::Counter => Metric::Counter(self.registry.counter(&full, &[])),
            MetricKind::Gauge => Metric::Gauge(self.registry.gauge(&full, &[])),
            MetricKind::Histogram => Metric::Histogram(self.registry.histogram(&full, &[])),
        };
        let mut defined = self.defined.borrow_mut();
        let id = u32::try_from(defined.len() << 2)
            .map(MetricId)
            .map_err(|_| HostError::Limit)?;
        defined.push(metric);
        self.by_name.borrow_mut().insert(name.to_owned(), id);
        Ok(id)
    }

    /// See [`PluginHost::metric_add`](leno_sdk::host::PluginHost::metric_add).
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a histogram, or a counter and zero or less.
    pub fn add(&self, id: MetricId, by: i64) -> Result<(), HostError> {
        self.with(id, |metric| {
            match (metric, by) {
                (Metric::Histogram(_), _) | (Metric::Counter(_), ..=0) => return Err(HostError::Invalid),
                (Metric::Counter(counter), 1..) => counter.add(by.unsigned_abs()),
                (Metric::Gauge(gauge), 0..) => gauge.add(by.unsigned_abs()),
                (Metric::Gauge(gauge), ..0) => gauge.sub(by.unsigned_abs()),
            }
            Ok(())
        })
    }

    /// See [`PluginHost::metric_record`](leno_sdk::host::PluginHost::metric_record).
    ///
    /// # Errors
    /// `NotFound`.
    pub fn record(&self, id: MetricId, value: u64) -> Result<(), HostError> {
        self.with(id, |metric| {
            match metric {
                Metric::Counter(counter) => counter.add(value),
                Metric::Gauge(gauge) => gauge.set(value),
                Metric::Histogram(histogram) => histogram.record(value),
            }
            Ok(())
        })
    }

    /// See [`PluginHost::metric_value`](leno_sdk::host::PluginHost::metric_value).
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a histogram.
    pub fn value(&self, id: MetricId) -> Result<u64, HostError> {
        self.with(id, |metric| match metric {
            Metric::Counter(counter) => Ok(counter.total()),
            Metric::Gauge(gauge) => Ok(gauge.total()),
            Metric::Histogram(_) => Err(HostError::Invalid),
        })
    }

    fn with<T>(
        &self,
        id: MetricId,
        act: impl FnOnce(&Metric) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        let defined = self.defined.borrow();
        act(defined.get((id.0 >> 2) as usize).ok_or(HostError::NotFound)?)
    }
}

/// What the proxy counts about one filter on one worker.
pub struct FilterStats {
    registry: Arc<Registry>,
    name: String,
    /// Plugins that run.
    pub active: Gauge,
    /// Plugins that have started.
    pub created: Counter,
    /// Callbacks that failed.
    pub failures: Counter,
    /// New starts that were tried after a failure.
    pub reload: Counter,
    /// New starts that were too early.
    pub reload_backoff: Counter,
    /// New starts that went well.
    pub reload_success: Counter,
    /// New starts that failed.
    pub reload_failure: Counter,
    /// Microseconds of each callback.
    took: RefCell<BTreeMap<&'static str, Histogram>>,
}

impl FilterStats {
    /// For the filter of this name.
    #[must_use]
    pub fn new(registry: Arc<Registry>, name: &str) -> Self {
        let counter = |what: &str| registry.counter(&format!("wasm.{name}.{what}"), &[(TAG, name)]);
        Self {
            active: registry.gauge("wasm.envoy.wasm.runtime.wasmtime.active", &[]),
            created: registry.counter("wasm.envoy.wasm.runtime.wasmtime.created", &[]),
            failures: counter("failures"),
            reload: counter("vm_reload"),
            reload_backoff: counter("vm_reload_backoff"),
            reload_success: counter("vm_reload_success"),
            reload_failure: counter("vm_reload_failure"),
            took: RefCell::default(),
            name: name.to_owned(),
            registry,
        }
    }

    /// A callback of a filter has failed.
    pub fn failed(&self, identity: &Identity, trap: &Trap) {
        self.failures.inc();
        tracing::error!(target: "wasm", "wasm plugin {} failed: {trap}", identity.name);
    }

    /// A callback took so long.
    pub fn account(&self, callback: &'static str, took: Duration) {
        let mut histograms = self.took.borrow_mut();
        let histogram = histograms.entry(callback).or_insert_with(|| {
            self.registry
                .histogram(&format!("wasm.{}.{callback}_us", self.name), &[(TAG, &self.name)])
        });
        histogram.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}

/// The label of a filter's name.
const TAG: &str = "envoy.wasm_plugin";
