//! What the metrics were at one moment.

use std::collections::BTreeMap;

use super::buckets::{Buckets, width};
use super::tags::Name;

/// One metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its names.
    pub name: Name,
    /// Its value.
    pub value: Value,
}

/// A value by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Counted so far.
    Counter(u64),
    /// As it stands.
    Gauge {
        /// Over all threads.
        value: u64,
        /// Somebody has written it.
        used: bool,
    },
    /// Recorded so far.
    Histogram(Distribution),
}

impl Sample {
    /// Somebody has written it.
    pub fn is_used(&self) -> bool {
        match &self.value {
            Value::Counter(count) => *count > 0,
            Value::Gauge { used, .. } => *used,
            Value::Histogram(distribution) => distribution.count() > 0,
        }
    }
}

/// Values by size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Lowest value of the bucket, and how many values are in it.
    buckets: BTreeMap<u64, u64>,
    sum: u64,
}

impl Distribution {
    /// Adds what `cell` holds.
    pub fn merge(&mut self, cell: &Buckets) {
        for (lowest, count) in cell.each() {
            *self.buckets.entry(lowest).or_default() += count;
        }
        self.sum = self.sum.wrapping_add(cell.sum());
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many values are at most `limit`, to the precision of a bucket.
    pub fn up_to(&self, limit: f64) -> u64 {
        let buckets = self.buckets.iter();
        #[allow(clippy::cast_precision_loss, reason = "limits are small")]
        buckets
            .take_while(|(lowest, _)| **lowest as f64 <= limit)
            .map(|(_, count)| count)
            .sum()
    }

    /// The value below which `share` (0 to 1) of the values lie, interpolated within its bucket; `None` when empty.
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let mut seen = 0.0;
        let mut last = None;
        for (lowest, count) in &self.buckets {
            let (low, count, wide) = (*lowest as f64, *count as f64, width(*lowest) as f64);
            if seen + count >= wanted {
                let within = ((wanted - seen) / count).clamp(0.0, 1.0);
                // Buckets below 100 hold one whole number each: nothing to interpolate.
                return Some(if wide > 1.0 { low + wide * within } else { low });
            }
            seen += count;
            last = Some(low + wide);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Distribution};

    fn of(values: impl IntoIterator<Item = u64>) -> Distribution {
        let cell = Buckets::default();
        values.into_iter().for_each(|value| cell.record(value));
        let mut distribution = Distribution::default();
        distribution.merge(&cell);
        distribution
    }

    #[test]
    fn quantiles_are_within_a_bucket() {
        let thousand = of(1..=1000);
        for (share, expected) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = thousand.quantile(share).unwrap();
            assert!((found - expected).abs() <= expected / 10.0, "{share}: {found}");
        }
        assert_eq!(Distribution::default().quantile(0.5), None);
    }

    #[test]
    fn limits_count_what_is_at_most_that() {
        let some = of([0, 1, 5, 6, 249, 300_000]);
        let counts = [0.5, 1.0, 5.0, 10.0, 250.0, 3_600_000.0].map(|limit| some.up_to(limit));
        assert_eq!(counts, [1, 2, 3, 4, 5, 6]);
        assert_eq!(some.sum(), 300_261);
    }
}
