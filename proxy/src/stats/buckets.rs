//! Log-linear buckets of one histogram cell: two significant decimal digits, so that every limit of Envoy's default
//! buckets is a limit here too. A decade takes memory when its first value arrives.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets per decade: 10 to 99 times a power of ten. The first decade holds 0 to 99 and so has ten more.
const PER_DECADE: usize = 90;

/// Up to the largest `u64`: 0..100, then 10^2.. to 10^19...
const DECADES: usize = 19;

/// What one thread has recorded.
#[derive(Default)]
pub struct Buckets {
    decades: [OnceLock<Box<Decade>>; DECADES],
    sum: AtomicU64,
}

type Decade = [AtomicU64; PER_DECADE + 10];

impl Buckets {
    /// One more value. Called by one thread only.
    pub fn record(&self, value: u64) {
        let (decade, slot) = place(value);
        let decade =
            self.decades[decade].get_or_init(|| Box::new([const { AtomicU64::new(0) }; PER_DECADE + 10]));
        bump(&decade[slot], 1);
        bump(&self.sum, value);
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// Every bucket that is not empty, as its lowest value and its count, from small to large.
    pub fn each(&self) -> impl Iterator<Item = (u64, u64)> {
        self.decades.iter().enumerate().flat_map(|(decade, slots)| {
            let slots = slots.get().into_iter().flat_map(|slots| slots.iter().enumerate());
            slots.filter_map(move |(slot, count)| {
                let count = count.load(Ordering::Relaxed);
                (count > 0).then(|| (lowest(decade, slot), count))
            })
        })
    }
}

/// How many values the bucket that begins with `lowest` covers.
pub fn width(lowest: u64) -> u64 {
    match place(lowest).0 {
        0 => 1,
        decade => power(decade),
    }
}

fn bump(cell: &AtomicU64, by: u64) {
    let value = cell.load(Ordering::Relaxed);
    cell.store(value.wrapping_add(by), Ordering::Relaxed);
}

fn place(value: u64) -> (usize, usize) {
    if value < 100 {
        return (0, usize::try_from(value).unwrap_or(0));
    }
    let decade = value.ilog10() as usize - 1;
    let leading = value / power(decade);
    (decade, usize::try_from(leading).unwrap_or(0) - 10)
}

fn lowest(decade: usize, slot: usize) -> u64 {
    match decade {
        0 => slot as u64,
        _ => (slot as u64 + 10) * power(decade),
    }
}

fn power(decade: usize) -> u64 {
    10_u64.pow(u32::try_from(decade).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{Buckets, lowest, place, width};

    #[test]
    fn every_value_lies_in_its_bucket() {
        let mut value = 0_u64;
        while value < u64::MAX / 7 {
            for near in [value.saturating_sub(1), value, value + 1] {
                let (decade, slot) = place(near);
                let low = lowest(decade, slot);
                assert!(low <= near && near - low < width(low), "{near} in {low}");
                assert!(width(low) <= 1.max(near / 10), "two digits: {near}");
            }
            value = value * 3 + 1;
        }
        let (decade, slot) = place(u64::MAX);
        assert!(lowest(decade, slot) > u64::MAX / 10 * 9);
    }

    #[test]
    fn values_are_counted_in_order() {
        let buckets = Buckets::default();
        for value in [250, 3, 259, 3, 260] {
            buckets.record(value);
        }
        assert_eq!(buckets.each().collect::<Vec<_>>(), [(3, 2), (250, 2), (260, 1)]);
        assert_eq!(buckets.sum(), 775);
    }
}
