//! When a guest that has failed may start again. No clock, no randomness: both are arguments.

use std::time::{Duration, Instant};

/// Starts of one guest: the first is free, the next wait after the one before.
#[derive(Debug)]
pub struct Backoff {
    base: Duration,
    pause: Duration,
    /// The last start, and the earliest moment of the next one.
    last: Option<(Instant, Instant)>,
}

/// Pauses double up to this many times the base while starts come as soon as they may.
const CEILING: u32 = 32;

impl Backoff {
    /// Pauses from `base` on.
    #[must_use]
    pub fn new(base: Duration) -> Self {
        Self {
            base,
            pause: base,
            last: None,
        }
    }

    /// Whether a start may happen now; then it counts as one. `random` spreads the starts of many workers over half
    /// a pause.
    pub fn start(&mut self, now: Instant, random: u64) -> bool {
        if let Some((last, next)) = self.last {
            if now < next {
                return false;
            }
            // A guest that has lived for long has earned a short pause again.
            let lived = now.saturating_duration_since(last);
            self.pause = if lived > self.pause * 4 {
                self.base
            } else {
                (self.pause * 2).min(self.base * CEILING)
            };
        }
        let spread = u64::try_from(self.pause.as_micros() / 2)
            .unwrap_or(u64::MAX)
            .max(1);
        self.last = Some((now, now + self.pause + Duration::from_micros(random % spread)));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Backoff;

    /// Starts are asked for every 100 ms; the ones that happen, in tenths of a second.
    fn starts(random: u64, asked: std::ops::Range<u32>) -> Vec<u32> {
        let begin = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(1));
        asked
            .filter(|tenth| backoff.start(begin + Duration::from_millis(100) * *tenth, random))
            .collect()
    }

    #[test]
    fn pauses_double_while_the_guest_keeps_failing() {
        assert_eq!(starts(0, 0..200), [0, 10, 30, 70, 150]);
    }

    #[test]
    fn random_adds_up_to_half_a_pause() {
        assert_eq!(starts(499_999, 0..50), [0, 15, 40]);
    }

    #[test]
    fn a_long_life_is_followed_by_a_short_pause() {
        let begin = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(backoff.start(at(0), 0));
        assert!(backoff.start(at(1), 0));
        assert!(backoff.start(at(100), 0));
        assert!(!backoff.start(at(100), 0));
        assert!(backoff.start(at(101), 0));
    }
}
