//! Buckets in the data that all workers share.
//!
//! Shared data cannot be deleted, and clients choose what names a bucket, so the number of keys is fixed: a rule has
//! slots, and a bucket may live in one of four that its hash names. A bucket that has become full again is as good
//! as none, so its slot is free; if all four are in use, the fullest gives way.

use std::hash::{DefaultHasher, Hasher};

use leno_sdk::{Context, HostError};

use crate::bucket::{Bucket, Limit, Taken};

/// Slots that a bucket may live in.
const WAYS: u32 = 4;
/// How often to begin again when another worker was first. Each time at least one worker has got through.
const ATTEMPTS: usize = 16;

/// Takes a token from the bucket that `key` names.
///
/// # Errors
/// The shared data could not be written.
pub(crate) fn take(
    context: &Context,
    rule: &str,
    slots: u32,
    key: &[u8],
    limit: &Limit,
) -> Result<Taken, HostError> {
    let now = u64::try_from(context.now().as_nanos()).unwrap_or(u64::MAX);
    let hash = hash(key);
    for _ in 0..ATTEMPTS {
        let (name, version, mut bucket) = find(context, rule, slots, hash, limit, now);
        let taken = bucket.take(limit, now);
        let mut value = hash.to_le_bytes().to_vec();
        value.extend(bucket.write());
        match context.shared_replace(&name, value, version) {
            Ok(()) => return Ok(taken),
            Err(HostError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(HostError::Conflict)
}

/// The slot of the bucket, its version, and the bucket; a full one if there is none yet.
fn find(
    context: &Context,
    rule: &str,
    slots: u32,
    hash: u64,
    limit: &Limit,
    now: u64,
) -> (String, Option<u32>, Bucket) {
    let mut best: Option<(u64, String, Option<u32>)> = None;
    for way in 0..WAYS.min(slots) {
        let slot = (hash.rotate_left(way * 16) % u64::from(slots)).to_string();
        let name = format!("rate-limit/{rule}/{slot}");
        let Some((value, version)) = context.shared_get(&name) else {
            return best_or(best, name, None, limit, now);
        };
        let Some((owner, bucket)) = parse(&value) else {
            // Not ours: left by something else that uses this name.
            return best_or(best, name, Some(version), limit, now);
        };
        if owner == hash {
            return (name, Some(version), bucket);
        }
        let level = bucket.level(limit, now);
        if best.as_ref().is_none_or(|(fullest, ..)| level > *fullest) {
            best = Some((level, name, Some(version)));
        }
    }
    let (_, name, version) = best.unwrap_or_default();
    (name, version, Bucket::full(limit, now))
}

/// An empty slot ends the search. A slot before it whose bucket is full again is nearer.
fn best_or(
    best: Option<(u64, String, Option<u32>)>,
    name: String,
    version: Option<u32>,
    limit: &Limit,
    now: u64,
) -> (String, Option<u32>, Bucket) {
    let full = Bucket::full(limit, now);
    match best {
        Some((level, name, version)) if level == full.level(limit, now) => (name, version, full),
        _ => (name, version, full),
    }
}

fn parse(value: &[u8]) -> Option<(u64, Bucket)> {
    let (owner, bucket) = value.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*owner), Bucket::read(bucket.try_into().ok()?)))
}

/// SipHash with fixed keys: the same on every worker, and hard to collide on purpose.
fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}
