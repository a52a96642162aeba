//! A token bucket in integers: takes `now`, has no clock.

use std::time::Duration;

use leno_sdk::ConfigError;

/// How fast a bucket fills, and how much it holds.
///
/// The level of a bucket counts units; one token is as many units as the interval has nanoseconds, so each nanosecond
/// brings exactly `tokens` units, and nothing is ever rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    tokens: u64,
    interval: u64,
    burst: u64,
}

/// The state of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    level: u64,
    /// When the level was that: nanoseconds since 1970.
    at: u64,
}

/// What became of an attempt to take a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whole tokens that are left.
    pub remaining: u64,
    /// When there will be a token; zero if there was one.
    pub retry_after: Duration,
    /// When the bucket will be full.
    pub full_after: Duration,
}

impl Taken {
    /// There was a token.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.retry_after.is_zero()
    }
}

impl Limit {
    /// Checks a limit.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn new(tokens: u64, interval: Duration, burst: Option<u64>) -> Result<Self, ConfigError> {
        let burst = burst.unwrap_or(tokens);
        if tokens == 0 {
            return Err(ConfigError::new("tokens", "must be at least 1"));
        }
        if burst == 0 {
            return Err(ConfigError::new("burst", "must be at least 1"));
        }
        let nanoseconds = u64::try_from(interval.as_nanos())
            .ok()
            .filter(|nanoseconds| *nanoseconds > 0);
        let Some(interval) = nanoseconds else {
            return Err(ConfigError::new(
                "interval",
                "must be more than nothing and less than 500 years",
            ));
        };
        let field = if burst == tokens { "tokens" } else { "burst" };
        if burst.checked_mul(interval).is_none() || tokens.checked_mul(interval).is_none() {
            let most = u64::MAX / interval;
            return Err(ConfigError::new(
                field,
                format!("must be at most {most} for this interval"),
            ));
        }
        Ok(Self {
            tokens,
            interval,
            burst,
        })
    }

    /// Requests per interval.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Requests at once.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// How long it takes to refill `tokens`.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    fn capacity(&self) -> u64 {
        self.burst * self.interval
    }

    fn time_for(&self, units: u64) -> Duration {
        Duration::from_nanos(units.div_ceil(self.tokens))
    }
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn full(limit: &Limit, now: u64) -> Self {
        Self {
            level: limit.capacity(),
            at: now,
        }
    }

    /// As it was written with [`write`](Self::write).
    #[must_use]
    pub fn read(bytes: [u8; 16]) -> Self {
        let number = |from: usize| {
            bytes[from..from + 8]
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u64::from(*byte))
        };
        Self {
            level: number(0),
            at: number(8),
        }
    }

    /// For sharing.
    #[must_use]
    pub fn write(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.level.to_le_bytes());
        bytes[8..].copy_from_slice(&self.at.to_le_bytes());
        bytes
    }

    /// As it is at `now`. A clock that goes back, or a limit that has changed, never takes or gives tokens beyond it.
    #[must_use]
    pub fn refilled(&self, limit: &Limit, now: u64) -> Self {
        let units = now.saturating_sub(self.at).saturating_mul(limit.tokens);
        Self {
            level: self.level.saturating_add(units).min(limit.capacity()),
            at: now.max(self.at),
        }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, limit: &Limit, now: u64) -> Taken {
        *self = self.refilled(limit, now);
        let retry_after = match self.level.checked_sub(limit.interval) {
            Some(rest) => {
                self.level = rest;
                Duration::ZERO
            }
            None => limit.time_for(limit.interval - self.level),
        };
        Taken {
            remaining: self.level / limit.interval,
            retry_after,
            full_after: limit.time_for(limit.capacity() - self.level),
        }
    }

    /// Nobody could tell it from a new one.
    #[must_use]
    pub fn is_full(&self, limit: &Limit, now: u64) -> bool {
        self.refilled(limit, now).level == limit.capacity()
    }

    /// How much it holds at `now`.
    #[must_use]
    pub fn level(&self, limit: &Limit, now: u64) -> u64 {
        self.refilled(limit, now).level
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Limit};
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn limit(tokens: u64, seconds: u64, burst: Option<u64>) -> Limit {
        Limit::new(tokens, Duration::from_secs(seconds), burst).unwrap()
    }

    #[test]
    fn gives_the_burst_then_the_rate() {
        let limit = limit(2, 1, Some(5));
        let mut bucket = Bucket::full(&limit, 0);
        let at_once: Vec<u64> = (0..5).map(|_| bucket.take(&limit, 0).remaining).collect();
        assert_eq!(at_once, [4, 3, 2, 1, 0]);
        let refused = bucket.take(&limit, 0);
        assert_eq!(refused.retry_after, Duration::from_millis(500));
        assert_eq!(refused.full_after, Duration::from_millis(2_500));
        assert!(!bucket.take(&limit, SECOND / 2 - 1).is_allowed());
        assert!(bucket.take(&limit, SECOND / 2).is_allowed());
    }

    #[test]
    fn rounds_nothing_away() {
        // Three tokens in seven seconds: asked every millisecond, seven thousand seconds give three thousand tokens.
        let limit = limit(3, 7, Some(1));
        let mut bucket = Bucket::full(&limit, 0);
        let taken = (0..7_000_000u64)
            .filter(|tick| bucket.take(&limit, tick * 1_000_000).is_allowed())
            .count();
        assert_eq!(taken, 3_000);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let limit = limit(1, 1, None);
        let mut bucket = Bucket::full(&limit, 10 * SECOND);
        assert!(bucket.take(&limit, 10 * SECOND).is_allowed());
        assert!(!bucket.take(&limit, 5 * SECOND).is_allowed());
        assert!(!bucket.take(&limit, 10 * SECOND).is_allowed());
        assert!(bucket.take(&limit, 11 * SECOND).is_allowed());
    }

    #[test]
    fn survives_being_written() {
        let limit = limit(5, 60, Some(100));
        let mut bucket = Bucket::full(&limit, 123_456_789);
        bucket.take(&limit, 223_456_789);
        assert_eq!(Bucket::read(bucket.write()), bucket);
    }

    #[test]
    fn a_smaller_limit_takes_effect_at_once() {
        let bucket = Bucket::full(&limit(100, 1, None), 0);
        let smaller = limit(1, 1, None);
        assert_eq!(bucket.level(&smaller, 0), SECOND);
        assert!(bucket.is_full(&smaller, 0));
    }

    #[test]
    fn refuses_what_it_cannot_count() {
        let refused = |tokens, interval, burst| Limit::new(tokens, interval, burst).unwrap_err().to_string();
        assert!(refused(0, Duration::from_secs(1), None).starts_with("tokens: "));
        assert!(refused(1, Duration::ZERO, None).starts_with("interval: "));
        assert!(refused(1, Duration::from_secs(1), Some(0)).starts_with("burst: "));
        assert!(refused(u64::MAX, Duration::from_secs(1), None).starts_with("tokens: must be at most"));
        assert!(refused(1, Duration::from_secs(3600), Some(u64::MAX)).starts_with("burst: must be at most"));
    }
}
