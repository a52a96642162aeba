//! Cells, and what they add up to.

use std::time::{Duration, Instant};

use super::Registry;
use super::snapshot::Value;

fn value(registry: &Registry, name: &str) -> Option<Value> {
    let samples = registry.snapshot(Instant::now());
    let mut samples = samples.into_iter();
    samples
        .find(|sample| sample.name.dotted == name)
        .map(|sample| sample.value)
}

#[test]
fn cells_add_up_and_outlive_their_handles() {
    let registry = Registry::new();
    let first = registry.counter("a.b", &[]);
    let second = first.clone();
    first.inc();
    second.add(4);
    registry.shared_counter("a.b", &[]).add(10);
    assert_eq!(first.total(), 15);
    drop((first, second));
    assert_eq!(value(&registry, "a.b"), Some(Value::Counter(15)));
}

#[test]
fn a_gauge_that_is_set_has_that_value_over_all_cells() {
    let registry = Registry::new();
    let (one, two) = (registry.gauge("g", &[]), registry.gauge("g", &[]));
    one.add(5);
    two.inc();
    two.set(40);
    one.dec();
    assert_eq!(two.total(), 39);
    drop(one);
    assert_eq!(two.total(), 39);
}

#[test]
fn one_name_may_be_used_by_two_kinds() {
    let registry = Registry::new();
    registry.counter("x", &[]).inc();
    registry.gauge("x", &[]).set(7);
    assert_eq!(registry.snapshot(Instant::now()).len(), 2);
}

#[test]
fn abandoned_metrics_are_forgotten_in_time() {
    let registry = Registry::new();
    let kept = registry.counter("kept", &[]);
    registry.counter("gone", &[]).inc();
    let start = Instant::now();
    assert_eq!(registry.snapshot(start).len(), 2);
    assert_eq!(registry.snapshot(start + Duration::from_secs(599)).len(), 2);
    let left = registry.snapshot(start + Duration::from_secs(600));
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].name.dotted, "kept");
    drop(kept);
}
