//! Priority levels, health, panic and localities: which set of endpoints a choice is made from.

use std::collections::BTreeMap;

use leno_model::endpoint::Health;

use super::Candidate;
use super::random::Random;

/// Healthy endpoints count for this much: a level with 72 % of its endpoints healthy still takes everything
/// (Envoy's default `overprovisioning_factor`).
const OVERPROVISIONING: u64 = 140;

/// Below this share of healthy endpoints everybody is chosen (Envoy's default `healthy_panic_threshold`).
const PANIC: u64 = 50;

/// All sets of endpoints, with the share of the choices that each takes.
#[derive(Debug)]
pub(super) struct Levels<P> {
    sets: Vec<Set<P>>,
    /// Which set, by share; one level that is all healthy has one set.
    shares: Random,
}

/// Endpoints of one priority and kind of health, by locality.
#[derive(Debug)]
struct Set<P> {
    localities: Vec<P>,
    shares: Random,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Healthy,
    Degraded,
    /// Panic.
    All,
}

impl<P> Levels<P> {
    pub(super) fn new(candidates: &[Candidate], mut make: impl FnMut(&[(usize, u32)]) -> P) -> Self {
        let mut levels: BTreeMap<u32, Vec<(usize, Candidate)>> = BTreeMap::new();
        for (position, candidate) in candidates.iter().enumerate() {
            levels
                .entry(candidate.priority)
                .or_default()
                .push((position, *candidate));
        }
        let levels: Vec<_> = levels.into_values().collect();
        let (mut sets, mut shares) = (Vec::new(), Vec::new());
        for (level, kind, share) in split(&levels) {
            if let Some(set) = Set::new(&levels[level], kind, &mut make) {
                shares.push((sets.len(), share));
                sets.push(set);
            }
        }
        Self {
            sets,
            shares: Random::new(&shares),
        }
    }

    pub(super) fn choose(&mut self, random: u64) -> Option<&mut P> {
        let set = match self.sets.len() {
            0 => return None,
            1 => 0,
            _ => self.shares.choose(random >> 32)?,
        };
        let set = self.sets.get_mut(set)?;
        let locality = if set.localities.len() == 1 {
            0
        } else {
            set.shares.choose(random >> 11)?
        };
        set.localities.get_mut(locality)
    }
}

/// Which sets take which share, in percent. Shares of zero are left out.
fn split(levels: &[Vec<(usize, Candidate)>]) -> Vec<(usize, Kind, u32)> {
    let count = |level: &[(usize, Candidate)], wanted: fn(Health) -> bool| {
        level
            .iter()
            .filter(|(_, candidate)| wanted(candidate.health))
            .count() as u64
    };
    let size = |level: &Vec<_>| (level.len() as u64).max(1);
    let capped = |part: u64, level: &Vec<_>| (OVERPROVISIONING * part / size(level)).min(100);
    let healthy: Vec<u64> = levels
        .iter()
        .map(|level| capped(count(level, is_healthy), level))
        .collect();
    let degraded: Vec<u64> = levels
        .iter()
        .map(|level| capped(count(level, is_degraded), level))
        .collect();
    let total = (healthy.iter().sum::<u64>() + degraded.iter().sum::<u64>()).min(100);

    let mut split = Vec::new();
    if total == 0 {
        // Nobody is healthy anywhere: the first level is in panic.
        return if levels.is_empty() {
            split
        } else {
            vec![(0, Kind::All, 100)]
        };
    }
    let mut left = 100;
    for (kind, shares) in [(Kind::Healthy, &healthy), (Kind::Degraded, &degraded)] {
        for (level, &share) in shares.iter().enumerate() {
            let share = (share * 100 / total).min(left);
            left -= share;
            // A level that can take all that comes to it is not in panic, however few of it are healthy elsewhere.
            let alive = count(&levels[level], is_healthy) + count(&levels[level], is_degraded);
            let panics = total < 100 && alive * 100 < PANIC * size(&levels[level]);
            push(&mut split, level, if panics { Kind::All } else { kind }, share);
        }
    }
    // What rounding left over belongs to the first set that is used.
    if let Some(first) = split.first_mut() {
        first.2 += u32::try_from(left).unwrap_or(0);
    }
    split
}

fn push(split: &mut Vec<(usize, Kind, u32)>, level: usize, kind: Kind, share: u64) {
    if share > 0 {
        split.push((level, kind, u32::try_from(share).unwrap_or(100)));
    }
}

fn is_healthy(health: Health) -> bool {
    matches!(health, Health::Unknown | Health::Healthy)
}

fn is_degraded(health: Health) -> bool {
    health == Health::Degraded
}

impl<P> Set<P> {
    fn new(
        level: &[(usize, Candidate)],
        kind: Kind,
        make: &mut impl FnMut(&[(usize, u32)]) -> P,
    ) -> Option<Self> {
        let belongs = |health: Health| match kind {
            Kind::Healthy => is_healthy(health),
            Kind::Degraded => is_degraded(health),
            // Draining endpoints get nothing new, not even in panic.
            Kind::All => health != Health::Draining,
        };
        let weighted = level
            .iter()
            .any(|(_, candidate)| candidate.locality_weight.is_some());
        let mut by_locality: BTreeMap<usize, Locality> = BTreeMap::new();
        for (position, candidate) in level {
            let key = if weighted { candidate.locality } else { 0 };
            let locality = by_locality.entry(key).or_default();
            locality.size += 1;
            locality.sum += u64::from(candidate.weight);
            locality.weight = candidate.locality_weight.map(u64::from).or(locality.weight);
            if belongs(candidate.health) {
                locality.members.push((*position, candidate.weight));
            }
        }
        let (mut localities, mut shares) = (Vec::new(), Vec::new());
        for locality in by_locality
            .values()
            .filter(|locality| !locality.members.is_empty())
        {
            let share = locality.share();
            if share > 0 {
                shares.push((localities.len(), share));
                localities.push(make(&locality.members));
            }
        }
        (!localities.is_empty()).then(|| Self {
            localities,
            shares: Random::new(&shares),
        })
    }
}

#[derive(Default)]
struct Locality {
    members: Vec<(usize, u32)>,
    size: u64,
    sum: u64,
    weight: Option<u64>,
}

impl Locality {
    /// Its weight, less as fewer of its endpoints can be used.
    fn share(&self) -> u32 {
        let available = (OVERPROVISIONING * self.members.len() as u64 / self.size.max(1)).min(100);
        u32::try_from(self.weight.unwrap_or(self.sum) * available).unwrap_or(u32::MAX)
    }
}
