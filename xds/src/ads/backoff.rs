//! How long to wait before the next try of a stream.

use std::time::Duration;

/// The first pause, as in Envoy.
const BASE: Duration = Duration::from_millis(500);

/// The longest pause, as in Envoy.
const LONGEST: Duration = Duration::from_secs(30);

/// Doubles with each failure in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure: between half and all of what the failures so far ask for.
    ///
    /// `random` lies in `0.0..1.0`. Envoy draws from zero on, which lets one proxy in a hundred hammer a server
    /// that is just coming up.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let factor = 2u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let whole = BASE.saturating_mul(factor).min(LONGEST);
        whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// The other side answered: the next failure is a first one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{BASE, Backoff, LONGEST};

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        let whole: Vec<_> = (0..4).map(|_| backoff.next(1.0)).collect();
        assert_eq!(whole, [BASE, BASE * 2, BASE * 4, BASE * 8]);
        for _ in 0..100 {
            assert!(backoff.next(1.0) <= LONGEST);
        }
        assert_eq!(backoff.next(0.0), LONGEST / 2);
        backoff.reset();
        assert_eq!(backoff.next(0.0), BASE / 2);
    }
}
