//! Values and queues that all workers share.

use leno_sdk::host::{HostError, LogLevel, QueueId};
use wasmtime::{Caller, Result};

use crate::proxy_wasm::memory::{Out, bytes, fetch, put_word, with};
use crate::proxy_wasm::state::State;
use crate::proxy_wasm::status::{CAS_MISMATCH, NOT_FOUND, of_queue};

type Guest<'a> = Caller<'a, State>;

pub(super) fn get(
    mut guest: Guest<'_>,
    key: u32,
    key_size: u32,
    pointer: u32,
    size: u32,
    version: u32,
) -> Result<u32> {
    let mut found = 0;
    let status = fetch(&mut guest, Out { pointer, size }, |memory, state, answer| {
        let key = bytes(memory, key, key_size)?;
        let root = state.root().ok_or(NOT_FOUND)?;
        found = root.host.shared_get(key, answer).map_err(|_| NOT_FOUND)?;
        Ok(())
    })?;
    if status != 0 {
        return Ok(status);
    }
    with(&mut guest, |memory, _| put_word(memory, version, found))
}

/// Version 0 is "whatever there is". A name space that is full forgets the value, like a cache, and says so in the
/// log: guests know no status for it, and would try again for ever on a mismatch.
pub(super) fn set(
    mut guest: Guest<'_>,
    key: u32,
    key_size: u32,
    at: u32,
    size: u32,
    version: u32,
) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let (key, value) = (bytes(memory, key, key_size)?, bytes(memory, at, size)?);
        let Some(root) = state.root() else { return Ok(()) };
        let expected = (version != 0).then_some(version);
        match root.host.shared_set(key, value, expected) {
            Ok(()) => Ok(()),
            Err(HostError::Conflict) => Err(CAS_MISMATCH),
            Err(error) => {
                let text = format!(
                    "proxy_set_shared_data: {} was not kept: {error}",
                    String::from_utf8_lossy(key)
                );
                state.log(LogLevel::Error, text.as_bytes());
                Ok(())
            }
        }
    })
}

pub(super) fn register(mut guest: Guest<'_>, name: u32, name_size: u32, out: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let root = state.root().ok_or(NOT_FOUND)?;
        let queue = root.host.queue_register(bytes(memory, name, name_size)?);
        put_word(memory, out, queue.0)
    })
}

pub(super) fn resolve(
    mut guest: Guest<'_>,
    vm_id: u32,
    vm_id_size: u32,
    name: u32,
    name_size: u32,
    out: u32,
) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let (vm_id, name) = (bytes(memory, vm_id, vm_id_size)?, bytes(memory, name, name_size)?);
        let root = state.root().ok_or(NOT_FOUND)?;
        let queue = root.host.queue_resolve(vm_id, name).map_err(|_| NOT_FOUND)?;
        put_word(memory, out, queue.0)
    })
}

pub(super) fn push(mut guest: Guest<'_>, queue: u32, at: u32, size: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let root = state.root().ok_or(NOT_FOUND)?;
        root.host
            .queue_push(QueueId(queue), bytes(memory, at, size)?)
            .map_err(of_queue)
    })
}

pub(super) fn pop(mut guest: Guest<'_>, queue: u32, pointer: u32, size: u32) -> Result<u32> {
    fetch(&mut guest, Out { pointer, size }, |_, state, answer| {
        let root = state.root().ok_or(NOT_FOUND)?;
        root.host.queue_pop(QueueId(queue), answer).map_err(of_queue)
    })
}
