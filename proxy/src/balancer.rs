//! Which endpoint gets a request. No IO: weights and health go in once, loads and a random number per choice.
//!
//! The order of decisions is Envoy's ("Load Balancing" in its documentation): priority level and health by how much
//! of each level is healthy, everybody in panic, then the locality where localities have weights, then the policy.

use leno_model::cluster::Balance;
use leno_model::endpoint::Health;

use self::least_request::LeastRequest;
use self::random::Random;
use self::round_robin::RoundRobin;

mod levels;

mod round_robin;

mod least_request;

mod random;

/// An endpoint as the balancer sees it. Its position in the list is what a choice returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// 0 is tried first.
    pub priority: u32,
    /// Which locality: any number, equal for endpoints of the same one.
    pub locality: usize,
    /// The weight of that locality; `None` counts as the sum of its endpoints' weights.
    pub locality_weight: Option<u32>,
    /// At least 1.
    pub weight: u32,
    /// Whether it should be chosen.
    pub health: Health,
}

/// Chooses among a fixed list of endpoints.
#[derive(Debug)]
pub struct Balancer {
    levels: levels::Levels<Policy>,
}

impl Balancer {
    /// For these endpoints. `seed` makes workers begin at different places.
    #[must_use]
    pub fn new(balance: Balance, candidates: &[Candidate], seed: u64) -> Self {
        let make = |members: &[(usize, u32)]| match balance {
            Balance::RoundRobin => Policy::RoundRobin(RoundRobin::new(members, seed)),
            Balance::LeastRequest { choices } => Policy::LeastRequest(LeastRequest::new(members, choices)),
            Balance::Random => Policy::Random(Random::new(members)),
        };
        Self {
            levels: levels::Levels::new(candidates, make),
        }
    }

    /// The position of an endpoint; `None` if there is nobody. `load` tells how many exchanges an endpoint has now.
    pub fn choose(&mut self, random: u64, load: impl Fn(usize) -> u32) -> Option<usize> {
        // Each step uses other bits, or else a level or locality would see only a part of the members.
        let policy = self.levels.choose(random)?;
        policy.choose(random.rotate_right(29).wrapping_mul(0x9e37_79b9_7f4a_7c15), load)
    }

    /// As [`Balancer::choose`], but avoids endpoints that `avoid` names, if a few attempts find another one.
    pub fn choose_other(
        &mut self,
        random: u64,
        load: impl Fn(usize) -> u32,
        avoid: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut chosen = self.choose(random, &load)?;
        let mut attempt = random;
        // Arbitrary; Istio's value for Envoy's `host_selection_retry_max_attempts`.
        for _ in 0..5 {
            if !avoid(chosen) {
                break;
            }
            attempt = attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) ^ 0x94d0_49bb;
            chosen = self.choose(attempt, &load)?;
        }
        Some(chosen)
    }
}

/// One algorithm over one set of endpoints.
#[derive(Debug)]
enum Policy {
    RoundRobin(RoundRobin),
    LeastRequest(LeastRequest),
    Random(Random),
}

impl Policy {
    fn choose(&mut self, random: u64, load: impl Fn(usize) -> u32) -> Option<usize> {
        match self {
            Self::RoundRobin(policy) => policy.choose(),
            Self::LeastRequest(policy) => policy.choose(random, load),
            Self::Random(policy) => policy.choose(random),
        }
    }
}

#[cfg(test)]
mod tests;
