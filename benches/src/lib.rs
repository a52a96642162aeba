//! What proxies cost, measured: micro benches named by layer (in `benches/`), and peers side by side under load.
//!
//! `cargo xtask bench` runs both. Micro benches report nanoseconds per operation as the least of several rounds, which
//! is what repeats on a noisy machine; [`compare`] reports CPU time per request as ratios within one alternating run.

pub mod compare;

use std::hint::black_box;
use std::time::{Duration, Instant};
/// How long one round lasts at least.
const ROUND: Duration = Duration::from_millis(50);

/// Rounds per bench; the fastest counts.
const ROUNDS: usize = 9;

/// Prints what one call of `operation` takes.
pub fn bench<Value>(name: &str, mut operation: impl FnMut() -> Value) {
    let mut calls = 1u32;
    while time(calls, &mut operation) < ROUND {
        calls = calls.saturating_mul(2);
    }
    let fastest = (0..ROUNDS)
        .map(|_| time(calls, &mut operation))
        .min()
        .unwrap_or_default();
    println!(
        "{name:<40} {:>10.1} ns",
        fastest.as_secs_f64() * 1e9 / f64::from(calls)
    );
}

fn time<Value>(calls: u32, operation: &mut impl FnMut() -> Value) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(operation());
    }
    start.elapsed()
}
