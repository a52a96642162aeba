//! Shares of choices, through one door.

use std::collections::BTreeMap;

use leno_model::cluster::Balance;
use leno_model::endpoint::Health;

use super::{Balancer, Candidate};

const LEAST: Balance = Balance::LeastRequest { choices: 2 };

fn endpoint(weight: u32) -> Candidate {
    Candidate {
        priority: 0,
        locality: 0,
        locality_weight: None,
        weight,
        health: Health::Unknown,
    }
}

fn with_health(health: Health) -> Candidate {
    Candidate {
        health,
        ..endpoint(1)
    }
}

/// Shares in percent over many choices must be as expected, give or take two.
#[track_caller]
fn check(balance: Balance, candidates: &[Candidate], expected: &[u32]) {
    let mut balancer = Balancer::new(balance, candidates, 3);
    let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..20_000 {
        if let Some(chosen) = balancer.choose(random.u64(..), |_| 0) {
            *counts.entry(chosen).or_default() += 1;
        }
    }
    let got: Vec<u32> = (0..candidates.len())
        .map(|one| (counts.get(&one).unwrap_or(&0) + 100) / 200)
        .collect();
    let close = got
        .iter()
        .zip(expected)
        .all(|(got, expected)| got.abs_diff(*expected) <= 2);
    assert!(
        close && got.len() == expected.len(),
        "{balance:?}: got {got:?}, expected {expected:?}"
    );
}

#[track_caller]
fn check_all(candidates: &[Candidate], expected: &[u32]) {
    for balance in [Balance::RoundRobin, LEAST, Balance::Random] {
        check(balance, candidates, expected);
    }
}

#[test]
fn nobody_is_chosen_from_nobody() {
    check_all(&[], &[]);
    assert_eq!(Balancer::new(LEAST, &[], 0).choose(1, |_| 0), None);
}

#[test]
fn weights_are_shares() {
    check_all(
        &[endpoint(1), endpoint(1), endpoint(1), endpoint(1)],
        &[25, 25, 25, 25],
    );
    check_all(&[endpoint(1), endpoint(3), endpoint(6)], &[10, 30, 60]);
}

#[test]
fn round_robin_interleaves() {
    let mut balancer = Balancer::new(Balance::RoundRobin, &[endpoint(1), endpoint(2)], 0);
    let turns: Vec<_> = (0..6).filter_map(|_| balancer.choose(0, |_| 0)).collect();
    assert_eq!(turns.iter().filter(|&&one| one == 1).count(), 4, "{turns:?}");
    assert!(turns.windows(3).all(|three| three != [1, 1, 1]), "{turns:?}");
}

#[test]
fn the_less_busy_of_two_is_chosen() {
    let mut balancer = Balancer::new(LEAST, &[endpoint(1), endpoint(1)], 0);
    let mut random = fastrand::Rng::with_seed(5);
    let busy = (0..4000)
        .filter(|_| balancer.choose(random.u64(..), |one| [9, 1][one]) == Some(0))
        .count();
    // Only when both picks are the busy one.
    assert!((900..1100).contains(&busy), "{busy}");
}

#[test]
fn unhealthy_ones_are_left_out_until_panic() {
    let (up, down) = (with_health(Health::Healthy), with_health(Health::Unhealthy));
    check_all(&[up, up, up, down], &[33, 33, 33, 0]);
    check_all(&[up, down, down, down], &[25, 25, 25, 25]);
    check_all(&[down, down], &[50, 50]);
}

#[test]
fn draining_ones_get_nothing_new() {
    let (up, draining) = (with_health(Health::Healthy), with_health(Health::Draining));
    check_all(&[up, draining], &[100, 0]);
    check_all(&[draining], &[0]);
}

#[test]
fn degraded_ones_help_out() {
    let (up, degraded) = (with_health(Health::Healthy), with_health(Health::Degraded));
    // Half healthy counts as 70 %; the rest goes to the degraded.
    check_all(&[up, degraded], &[70, 30]);
}

#[test]
fn the_next_priority_takes_what_the_first_cannot() {
    let first = |health| Candidate {
        health,
        ..endpoint(1)
    };
    let second = Candidate {
        priority: 1,
        ..endpoint(1)
    };
    check_all(&[first(Health::Healthy), second], &[100, 0]);
    check_all(&[first(Health::Unhealthy), second], &[0, 100]);
    check_all(
        &[first(Health::Healthy), first(Health::Unhealthy), second],
        &[70, 0, 30],
    );
}

#[test]
fn localities_take_their_weights() {
    let at = |locality, weight| Candidate {
        locality,
        locality_weight: Some(weight),
        ..endpoint(1)
    };
    check_all(&[at(0, 80), at(1, 20), at(1, 20)], &[80, 10, 10]);
    let unset = Candidate {
        locality: 2,
        ..endpoint(1)
    };
    check_all(&[at(0, 3), unset], &[75, 25]);
}

#[test]
fn a_retry_avoids_whom_it_asked_before() {
    let mut balancer = Balancer::new(Balance::Random, &[endpoint(1), endpoint(1), endpoint(1)], 0);
    let mut random = fastrand::Rng::with_seed(9);
    let again = (0..1000)
        .filter(|_| balancer.choose_other(random.u64(..), |_| 0, |one| one == 0) == Some(0))
        .count();
    assert!(again < 10, "{again}");
    let mut single = Balancer::new(Balance::Random, &[endpoint(1)], 0);
    assert_eq!(single.choose_other(3, |_| 0, |_| true), Some(0));
}
