//! What is known of one resource: the last that was taken, and why a later one was not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What is known of one resource.
pub struct Known<T> {
    /// The last that was taken.
    pub taken: Option<Taken<T>>,
    /// Why the last one that came was refused; `None` when it was taken.
    pub refusal: Option<Refusal>,
}

/// A resource that was taken.
#[derive(Clone)]
pub struct Taken<T> {
    /// The resource.
    pub resource: T,
    /// Its version; empty for the bootstrap.
    pub version: String,
    /// When.
    pub at: SystemTime,
    /// It stands in the bootstrap.
    pub is_static: bool,
}

/// A resource that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: String,
    /// Of what was refused.
    pub version: String,
    /// When.
    pub at: SystemTime,
}

/// A listener or cluster of which an older version may serve.
pub struct Slot<T, L> {
    /// What serves, and the version it came with.
    pub active: Option<(Taken<T>, Arc<L>)>,
    /// What waits for its parts, and until when; `None` when that time is over and it waits all the same.
    pub warming: Option<(Taken<T>, Option<Instant>)>,
    /// Why the last one was refused.
    pub refusal: Option<Refusal>,
}

impl<T, L> Slot<T, L> {
    /// It has been taken, whether it serves already or not.
    pub fn exists(&self) -> bool {
        self.active.is_some() || self.warming.is_some()
    }

    /// It stands in the bootstrap.
    pub fn is_static(&self) -> bool {
        let active = self.active.as_ref().map(|(taken, _)| taken);
        let any = active.or(self.warming.as_ref().map(|(taken, _)| taken));
        any.is_some_and(|taken| taken.is_static)
    }
}

impl<T, L> Default for Slot<T, L> {
    fn default() -> Self {
        Self {
            active: None,
            warming: None,
            refusal: None,
        }
    }
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            taken: None,
            refusal: None,
        }
    }
}

/// How a resource came.
pub(super) struct Stamp {
    pub(super) version: String,
    pub(super) at: SystemTime,
    pub(super) is_static: bool,
}

impl Stamp {
    pub(super) fn on<T>(self, resource: T) -> Taken<T> {
        Taken {
            resource,
            version: self.version,
            at: self.at,
            is_static: self.is_static,
        }
    }
}

/// The same resource again changes nothing but its version.
pub(super) fn put_slot<T: PartialEq, L>(
    slots: &mut BTreeMap<String, Slot<Arc<T>, L>>,
    name: &str,
    taken: Taken<Arc<T>>,
    until: Instant,
) {
    let slot = slots.entry(name.to_owned()).or_default();
    slot.refusal = None;
    match (&mut slot.active, &mut slot.warming) {
        (_, Some((warming, _))) if *warming.resource == *taken.resource => warming.version = taken.version,
        (Some((active, _)), warming) if *active.resource == *taken.resource => {
            active.version = taken.version;
            *warming = None;
        }
        (_, warming) => *warming = Some((taken, Some(until))),
    }
}

/// As [`put_slot`], for what does not warm.
pub(super) fn put_known<T: PartialEq>(
    known: &mut BTreeMap<String, Known<Arc<T>>>,
    name: &str,
    taken: Taken<Arc<T>>,
) {
    let known = known.entry(name.to_owned()).or_default();
    known.refusal = None;
    match &mut known.taken {
        Some(before) if *before.resource == *taken.resource => before.version = taken.version,
        other => *other = Some(taken),
    }
}

/// Removes what does not stand in the bootstrap; says whether there was such a thing.
pub(super) fn remove_dynamic<T, L>(slots: &mut BTreeMap<String, Slot<T, L>>, name: &str) -> bool {
    match slots.get(name) {
        Some(slot) if !slot.is_static() => slots.remove(name).is_some(),
        Some(_) | None => false,
    }
}
