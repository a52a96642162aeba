//! At random, by weight.

/// Members with the sums of their weights.
#[derive(Debug)]
pub(super) struct Random {
    members: Vec<usize>,
    /// The weights of each member and those before it; empty when all are equal.
    up_to: Vec<u64>,
    sum: u64,
}

impl Random {
    pub(super) fn new(members: &[(usize, u32)]) -> Self {
        let even = members.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let mut sum = 0;
        let sums = members.iter().map(|&(_, weight)| {
            sum += u64::from(weight.max(1));
            sum
        });
        let up_to: Vec<u64> = if even { Vec::new() } else { sums.collect() };
        let sum = if even { members.len() as u64 } else { sum };
        Self {
            members: members.iter().map(|&(member, _)| member).collect(),
            up_to,
            sum,
        }
    }

    pub(super) fn choose(&self, random: u64) -> Option<usize> {
        let point = random.checked_rem(self.sum)?;
        let position = if self.up_to.is_empty() {
            usize::try_from(point).unwrap_or(0)
        } else {
            self.up_to.partition_point(|&sum| sum <= point)
        };
        self.members.get(position).copied()
    }
}
