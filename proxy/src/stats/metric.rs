//! What the cells of one metric add up to.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::buckets::Buckets;
use super::snapshot::Distribution;

#[derive(Default)]
pub(super) struct CounterMetric {
    pub(super) cells: Cells<AtomicU64>,
    /// What cells that are gone have counted, and what shared counters count.
    pub(super) retired: AtomicU64,
}

#[derive(Default)]
pub(super) struct GaugeMetric {
    pub(super) cells: Cells<AtomicI64>,
    /// Added to the cells: what cells that are gone held, and what `set` corrected.
    pub(super) base: AtomicI64,
    pub(super) used: AtomicBool,
}

#[derive(Default)]
pub(super) struct HistogramMetric {
    pub(super) cells: Cells<Buckets>,
    pub(super) retired: Mutex<Distribution>,
}

/// The cells of one metric.
pub(super) struct Cells<C>(Mutex<Vec<Arc<C>>>);

impl<C> Default for Cells<C> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<C: Default> Cells<C> {
    pub(super) fn add(&self) -> Arc<C> {
        let cell = Arc::<C>::default();
        self.lock().push(Arc::clone(&cell));
        cell
    }

    /// Takes a cell out; `retire` keeps its value within the same lock, so that no reader misses or doubles it.
    pub(super) fn remove(&self, cell: &Arc<C>, retire: impl FnOnce()) {
        let mut cells = self.lock();
        cells.retain(|other| !Arc::ptr_eq(other, cell));
        retire();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<C>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CounterMetric {
    pub(super) fn total(&self) -> u64 {
        let cells = self.cells.lock();
        let sum = |sum: u64, cell: &Arc<AtomicU64>| sum.wrapping_add(cell.load(Ordering::Relaxed));
        cells.iter().fold(self.retired.load(Ordering::Relaxed), sum)
    }
}

impl GaugeMetric {
    pub(super) fn sum(&self) -> i64 {
        let cells = self.cells.lock();
        let sum = |sum: i64, cell: &Arc<AtomicI64>| sum.wrapping_add(cell.load(Ordering::Relaxed));
        cells.iter().fold(self.base.load(Ordering::Relaxed), sum)
    }

    pub(super) fn total(&self) -> u64 {
        u64::try_from(self.sum()).unwrap_or(0)
    }
}

impl HistogramMetric {
    pub(super) fn distribution(&self) -> Distribution {
        let cells = self.cells.lock();
        let mut sum = self
            .retired
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        cells.iter().for_each(|cell| sum.merge(cell));
        sum
    }
}
