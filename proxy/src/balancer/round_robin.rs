//! In turn, by weight.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Earliest deadline first: after each turn a member waits for `1 / weight`. Equal weights go around in order.
#[derive(Debug)]
pub(super) struct RoundRobin {
    turns: Turns,
}

#[derive(Debug)]
enum Turns {
    Even { members: Vec<usize>, next: usize },
    Weighted { queue: BinaryHeap<Turn>, order: u64 },
}

/// A member's next turn. Greater is earlier, because the heap gives the greatest first.
#[derive(Debug)]
struct Turn {
    at: f64,
    order: u64,
    member: usize,
    weight: u32,
}

impl RoundRobin {
    pub(super) fn new(members: &[(usize, u32)], seed: u64) -> Self {
        let even = members.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let skip = usize::try_from(seed % (members.len().max(1) as u64)).unwrap_or(0);
        if even {
            let members = members.iter().map(|&(member, _)| member).collect();
            return Self {
                turns: Turns::Even { members, next: skip },
            };
        }
        let turn = |(order, &(member, weight)): (usize, &(usize, u32))| Turn {
            at: 1.0 / f64::from(weight.max(1)),
            order: order as u64,
            member,
            weight: weight.max(1),
        };
        let mut policy = Self {
            turns: Turns::Weighted {
                queue: members.iter().enumerate().map(turn).collect(),
                order: members.len() as u64,
            },
        };
        for _ in 0..skip {
            policy.choose();
        }
        policy
    }

    pub(super) fn choose(&mut self) -> Option<usize> {
        match &mut self.turns {
            Turns::Even { members, next } => {
                let member = *members.get(*next)?;
                *next = (*next + 1) % members.len();
                Some(member)
            }
            Turns::Weighted { queue, order } => {
                let mut first = queue.peek_mut()?;
                first.at += 1.0 / f64::from(first.weight);
                first.order = *order;
                *order += 1;
                Some(first.member)
            }
        }
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .at
            .total_cmp(&self.at)
            .then_with(|| other.order.cmp(&self.order))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Turn {}
