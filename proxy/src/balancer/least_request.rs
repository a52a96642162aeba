//! The least busy of a few that are picked at random.

use super::random::Random;

/// "Power of two choices". Heavier members are picked more often, and count as less busy at the same load.
#[derive(Debug)]
pub(super) struct LeastRequest {
    picks: Random,
    /// Weights by position in the cluster's list; empty when all are equal.
    weights: Vec<u32>,
    choices: u32,
}

impl LeastRequest {
    pub(super) fn new(members: &[(usize, u32)], choices: u32) -> Self {
        let even = members.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let mut weights = Vec::new();
        if !even {
            weights.resize(
                members.iter().map(|&(member, _)| member + 1).max().unwrap_or(0),
                1,
            );
            for &(member, weight) in members {
                weights[member] = weight.max(1);
            }
        }
        Self {
            picks: Random::new(members),
            weights,
            choices: choices.max(2),
        }
    }

    pub(super) fn choose(&self, random: u64, load: impl Fn(usize) -> u32) -> Option<usize> {
        let busy = |member: usize| {
            f64::from(load(member)) / f64::from(self.weights.get(member).copied().unwrap_or(1))
        };
        let mut best = self.picks.choose(random)?;
        let mut least = busy(best);
        let mut random = random;
        for _ in 1..self.choices {
            random = random
                .wrapping_mul(0xd129_0c5a_ef4b_1a2d)
                .rotate_right(23)
                .wrapping_add(0x9e37_79b9);
            let other = self.picks.choose(random)?;
            let other_busy = busy(other);
            if other_busy < least {
                (best, least) = (other, other_busy);
            }
        }
        Some(best)
    }
}
