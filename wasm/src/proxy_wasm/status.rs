//! Statuses of host calls.
//!
//! Guests take few of them: the Rust SDK panics, which breaks its VM, on any that it does not list for that call.
//! So the mapping is made per call, where only statuses that SDKs accept are at hand; see each import.

use leno_sdk::host::HostError;

/// A status other than `Ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u32);

pub(super) const OK: u32 = 0;
pub(super) const NOT_FOUND: Status = Status(1);
pub(super) const BAD_ARGUMENT: Status = Status(2);
pub(super) const SERIALIZATION_FAILURE: Status = Status(3);
pub(super) const INVALID_MEMORY_ACCESS: Status = Status(6);
pub(super) const EMPTY: Status = Status(7);
pub(super) const CAS_MISMATCH: Status = Status(8);
pub(super) const INTERNAL_FAILURE: Status = Status(10);
pub(super) const UNIMPLEMENTED: Status = Status(12);

/// What a host function ends with when it does not end well.
pub(super) enum Fault {
    /// The guest gets a status.
    Status(Status),
    /// The guest is stopped.
    Trap(wasmtime::Error),
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// For calls whose only refusals are "not there" and "makes no sense".
pub(super) fn missing_or_bad(error: HostError) -> Status {
    match error {
        HostError::NotFound => NOT_FOUND,
        HostError::WrongPhase
        | HostError::Invalid
        | HostError::Conflict
        | HostError::Empty
        | HostError::Limit
        | HostError::Denied
        | HostError::Unsupported
        | HostError::Internal => BAD_ARGUMENT,
    }
}

/// For reads of attributes.
pub(super) fn of_property(error: HostError) -> Status {
    match error {
        HostError::NotFound | HostError::WrongPhase | HostError::Denied | HostError::Unsupported => NOT_FOUND,
        HostError::Invalid => SERIALIZATION_FAILURE,
        HostError::Conflict | HostError::Empty | HostError::Limit | HostError::Internal => INTERNAL_FAILURE,
    }
}

/// For starting a request.
pub(super) fn of_call(error: HostError) -> Status {
    match error {
        HostError::Invalid | HostError::NotFound => BAD_ARGUMENT,
        HostError::WrongPhase
        | HostError::Conflict
        | HostError::Empty
        | HostError::Limit
        | HostError::Denied
        | HostError::Unsupported
        | HostError::Internal => INTERNAL_FAILURE,
    }
}

/// For queues: a full one looks like a lost one, because SDKs take nothing else.
pub(super) fn of_queue(error: HostError) -> Status {
    match error {
        HostError::Empty => EMPTY,
        HostError::NotFound
        | HostError::WrongPhase
        | HostError::Invalid
        | HostError::Conflict
        | HostError::Limit
        | HostError::Denied
        | HostError::Unsupported
        | HostError::Internal => NOT_FOUND,
    }
}
