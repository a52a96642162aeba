//! Counters, gauges and histograms: cells that one thread writes, added up when somebody looks.
//!
//! A handle is a cell of its own, written with plain relaxed stores; that is why handles are not `Sync` and cloning
//! one makes a new cell. Ask for handles when configuration is applied, never per exchange: asking takes a lock and
//! reads the name. [`SharedCounter`] is for places that many threads reach.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

mod metric;

pub mod buckets;

pub mod tags;

pub mod snapshot;

pub mod text;

pub mod prometheus;

use buckets::Buckets;
use metric::{CounterMetric, GaugeMetric, HistogramMetric};
use snapshot::{Sample, Value};
use tags::Name;

/// A metric without handles is forgotten after this. Long enough to survive a filter that starts again.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Every metric of the process.
#[derive(Default)]
pub struct Registry {
    metrics: Mutex<BTreeMap<Key, Entry>>,
}

/// Counts up. Written by one thread.
pub struct Counter {
    cell: Arc<AtomicU64>,
    metric: Arc<CounterMetric>,
    one_thread: PhantomData<Cell<()>>,
}

/// Counts up. Written by many threads.
#[derive(Clone)]
pub struct SharedCounter {
    metric: Arc<CounterMetric>,
}

/// Goes up and down.
pub struct Gauge {
    cell: Arc<AtomicI64>,
    metric: Arc<GaugeMetric>,
    one_thread: PhantomData<Cell<()>>,
}

/// Counts values by size. Written by one thread.
pub struct Histogram {
    cell: Arc<Buckets>,
    metric: Arc<HistogramMetric>,
    one_thread: PhantomData<Cell<()>>,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A new cell of the counter `name`, which is Envoy's dotted name (`cluster.web.upstream_rq_total`). `tags`
    /// are labels as Envoy names them (`envoy.cluster_name`); their values are taken out of the name for
    /// Prometheus. Without them, tags are found in the name as Envoy finds them.
    pub fn counter(&self, name: &str, tags: &[(&str, &str)]) -> Counter {
        let metric = self.find(name, tags, |metric| match metric {
            Metric::Counter(metric) => Some(Arc::clone(metric)),
            Metric::Gauge(_) | Metric::Histogram(_) => None,
        });
        Counter::of(metric)
    }

    /// A counter that many threads write. It is never forgotten.
    pub fn shared_counter(&self, name: &str, tags: &[(&str, &str)]) -> SharedCounter {
        let metric = Arc::clone(&self.counter(name, tags).metric);
        self.keep(name, tags, 0);
        SharedCounter { metric }
    }

    /// Sets a gauge that belongs to the process as a whole. It is never forgotten.
    pub fn set_gauge(&self, name: &str, value: u64) {
        self.gauge(name, &[]).set(value);
        self.keep(name, &[], 1);
    }

    /// A new cell of the gauge `name`; its value is the sum over all cells.
    pub fn gauge(&self, name: &str, tags: &[(&str, &str)]) -> Gauge {
        let metric = self.find(name, tags, |metric| match metric {
            Metric::Gauge(metric) => Some(Arc::clone(metric)),
            Metric::Counter(_) | Metric::Histogram(_) => None,
        });
        Gauge::of(metric)
    }

    /// A new cell of the histogram `name`.
    pub fn histogram(&self, name: &str, tags: &[(&str, &str)]) -> Histogram {
        let metric = self.find(name, tags, |metric| match metric {
            Metric::Histogram(metric) => Some(Arc::clone(metric)),
            Metric::Counter(_) | Metric::Gauge(_) => None,
        });
        Histogram::of(metric)
    }

    /// All metrics by name. Forgets those that nobody has held for ten minutes.
    pub fn snapshot(&self, now: Instant) -> Vec<Sample> {
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.retain(|_, entry| entry.is_wanted(now));
        metrics.values().map(Entry::sample).collect()
    }

    fn find<M: Default>(
        &self,
        name: &str,
        tags: &[(&str, &str)],
        pick: impl Fn(&Metric) -> Option<Arc<M>>,
    ) -> Arc<M>
    where
        Metric: From<Arc<M>>,
    {
        let fresh = Metric::from(Arc::<M>::default());
        let key = Key::new(name, tags, fresh.kind());
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = metrics.entry(key).or_insert_with(|| Entry {
            name: Name::read(name, tags),
            metric: fresh,
            kept: false,
            abandoned: None,
        });
        // The key holds the kind, so the first branch is always taken.
        pick(&entry.metric).unwrap_or_default()
    }

    fn keep(&self, name: &str, tags: &[(&str, &str)], kind: u8) {
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = metrics.get_mut(&Key::new(name, tags, kind)) {
            entry.kept = true;
        }
    }
}

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// `by` more.
    pub fn add(&self, by: u64) {
        let value = self.cell.load(Ordering::Relaxed);
        self.cell.store(value.wrapping_add(by), Ordering::Relaxed);
    }

    /// Over all threads.
    pub fn total(&self) -> u64 {
        self.metric.total()
    }

    fn of(metric: Arc<CounterMetric>) -> Self {
        Self {
            cell: metric.cells.add(),
            metric,
            one_thread: PhantomData,
        }
    }
}

impl Clone for Counter {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.metric))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let last = self.cell.load(Ordering::Relaxed);
        self.metric.cells.remove(&self.cell, || {
            self.metric.retired.fetch_add(last, Ordering::Relaxed);
        });
    }
}

impl SharedCounter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// `by` more.
    pub fn add(&self, by: u64) {
        self.metric.retired.fetch_add(by, Ordering::Relaxed);
    }

    /// Over all threads.
    pub fn total(&self) -> u64 {
        self.metric.total()
    }
}

impl Gauge {
    /// `by` more.
    pub fn add(&self, by: u64) {
        self.change(i64::try_from(by).unwrap_or(i64::MAX));
    }

    /// `by` less.
    pub fn sub(&self, by: u64) {
        self.change(-i64::try_from(by).unwrap_or(i64::MAX));
    }

    /// One more.
    pub fn inc(&self) {
        self.change(1);
    }

    /// One less.
    pub fn dec(&self) {
        self.change(-1);
    }

    /// The value over all threads becomes `value`. Two threads that set at once may leave a value in between.
    pub fn set(&self, value: u64) {
        self.metric.used.store(true, Ordering::Relaxed);
        let wanted = i64::try_from(value).unwrap_or(i64::MAX);
        let off = wanted.wrapping_sub(self.metric.sum());
        self.metric.base.fetch_add(off, Ordering::Relaxed);
    }

    /// Over all threads; never below zero.
    pub fn total(&self) -> u64 {
        self.metric.total()
    }

    fn change(&self, by: i64) {
        let value = self.cell.load(Ordering::Relaxed);
        self.cell.store(value.wrapping_add(by), Ordering::Relaxed);
        if !self.metric.used.load(Ordering::Relaxed) {
            self.metric.used.store(true, Ordering::Relaxed);
        }
    }

    fn of(metric: Arc<GaugeMetric>) -> Self {
        Self {
            cell: metric.cells.add(),
            metric,
            one_thread: PhantomData,
        }
    }
}

impl Clone for Gauge {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.metric))
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        let last = self.cell.load(Ordering::Relaxed);
        self.metric.cells.remove(&self.cell, || {
            self.metric.base.fetch_add(last, Ordering::Relaxed);
        });
    }
}

impl Histogram {
    /// One more value.
    pub fn record(&self, value: u64) {
        self.cell.record(value);
    }

    fn of(metric: Arc<HistogramMetric>) -> Self {
        Self {
            cell: metric.cells.add(),
            metric,
            one_thread: PhantomData,
        }
    }
}

impl Clone for Histogram {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.metric))
    }
}

impl Drop for Histogram {
    fn drop(&mut self) {
        self.metric.cells.remove(&self.cell, || {
            let mut retired = self.metric.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.merge(&self.cell);
        });
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: String,
    tags: Vec<String>,
    kind: u8,
}

impl Key {
    fn new(name: &str, tags: &[(&str, &str)], kind: u8) -> Self {
        Self {
            name: name.to_owned(),
            tags: tags.iter().map(|(tag, value)| format!("{tag}={value}")).collect(),
            kind,
        }
    }
}

struct Entry {
    name: Name,
    metric: Metric,
    /// It stays also when nobody holds it.
    kept: bool,
    abandoned: Option<Instant>,
}

enum Metric {
    Counter(Arc<CounterMetric>),
    Gauge(Arc<GaugeMetric>),
    Histogram(Arc<HistogramMetric>),
}

impl Metric {
    fn kind(&self) -> u8 {
        match self {
            Self::Counter(_) => 0,
            Self::Gauge(_) => 1,
            Self::Histogram(_) => 2,
        }
    }

    fn handles(&self) -> usize {
        match self {
            Self::Counter(metric) => Arc::strong_count(metric) - 1,
            Self::Gauge(metric) => Arc::strong_count(metric) - 1,
            Self::Histogram(metric) => Arc::strong_count(metric) - 1,
        }
    }
}

impl From<Arc<CounterMetric>> for Metric {
    fn from(metric: Arc<CounterMetric>) -> Self {
        Self::Counter(metric)
    }
}

impl From<Arc<GaugeMetric>> for Metric {
    fn from(metric: Arc<GaugeMetric>) -> Self {
        Self::Gauge(metric)
    }
}

impl From<Arc<HistogramMetric>> for Metric {
    fn from(metric: Arc<HistogramMetric>) -> Self {
        Self::Histogram(metric)
    }
}

impl Entry {
    fn is_wanted(&mut self, now: Instant) -> bool {
        if self.kept || self.metric.handles() > 0 {
            self.abandoned = None;
            return true;
        }
        let since = *self.abandoned.get_or_insert(now);
        now.saturating_duration_since(since) < FORGET_AFTER
    }

    fn sample(&self) -> Sample {
        let value = match &self.metric {
            Metric::Counter(metric) => Value::Counter(metric.total()),
            Metric::Gauge(metric) => Value::Gauge {
                value: metric.total(),
                used: metric.used.load(Ordering::Relaxed),
            },
            Metric::Histogram(metric) => Value::Histogram(metric.distribution()),
        };
        Sample {
            name: self.name.clone(),
            value,
        }
    }
}

#[cfg(test)]
mod tests;
