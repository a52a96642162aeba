//! Buffers: bodies while their callbacks run, the answer to a call, and configurations.

use leno_sdk::host::Direction;
use wasmtime::{Caller, Result};

use crate::proxy_wasm::memory::{Out, fetch, put_word, with};
use crate::proxy_wasm::state::State;
use crate::proxy_wasm::status::{BAD_ARGUMENT, NOT_FOUND, Status};

type Guest<'a> = Caller<'a, State>;

enum Buffer {
    Body(Direction),
    CallBody,
    VmConfiguration,
    PluginConfiguration,
    /// TCP data, gRPC messages, call data: there is none in an HTTP filter.
    Absent,
}

fn buffer(number: u32) -> Result<Buffer, Status> {
    match number {
        0 => Ok(Buffer::Body(Direction::Request)),
        1 => Ok(Buffer::Body(Direction::Response)),
        4 => Ok(Buffer::CallBody),
        6 => Ok(Buffer::VmConfiguration),
        7 => Ok(Buffer::PluginConfiguration),
        2 | 3 | 5 | 8 => Ok(Buffer::Absent),
        _ => Err(BAD_ARGUMENT),
    }
}

/// Of a buffer that the host keeps whole.
fn whole<'a>(state: &'a State, buffer: &Buffer) -> Result<&'a [u8], Status> {
    match buffer {
        Buffer::CallBody => state
            .response
            .as_ref()
            .map(|response| response.body.as_slice())
            .ok_or(NOT_FOUND),
        Buffer::VmConfiguration => Ok(&state.vm_configuration),
        Buffer::PluginConfiguration => state
            .root()
            .map(|root| root.options.configuration.as_slice())
            .ok_or(NOT_FOUND),
        Buffer::Body(_) | Buffer::Absent => Err(NOT_FOUND),
    }
}

/// At most `max` bytes from `start`; none beyond the end.
pub(super) fn bytes(
    mut guest: Guest<'_>,
    number: u32,
    start: u32,
    max: u32,
    pointer: u32,
    size: u32,
) -> Result<u32> {
    fetch(&mut guest, Out { pointer, size }, |_, state, answer| {
        let (start, max) = (start as usize, max as usize);
        let buffer = buffer(number)?;
        if let Buffer::Body(direction) = buffer {
            let exchange = state.exchange().ok_or(NOT_FOUND)?;
            return exchange
                .body_read(direction, start, max, answer)
                .map_err(|_| NOT_FOUND);
        }
        let whole = whole(state, &buffer)?;
        let start = start.min(whole.len());
        answer.extend_from_slice(&whole[start..start.saturating_add(max).min(whole.len())]);
        Ok(())
    })
}

pub(super) fn status(mut guest: Guest<'_>, number: u32, length: u32, flags: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let buffer = buffer(number)?;
        let size = match buffer {
            Buffer::Body(direction) => {
                let exchange = state.exchange().ok_or(NOT_FOUND)?;
                exchange.body_len(direction).map_err(|_| NOT_FOUND)?
            }
            Buffer::CallBody | Buffer::VmConfiguration | Buffer::PluginConfiguration | Buffer::Absent => {
                whole(state, &buffer)?.len()
            }
        };
        put_word(memory, length, u32::try_from(size).unwrap_or(u32::MAX))?;
        put_word(memory, flags, 0)
    })
}

/// Replaces a range. From zero with no length this is "prepend", from the end on it is "append".
pub(super) fn set(
    mut guest: Guest<'_>,
    number: u32,
    start: u32,
    length: u32,
    at: u32,
    size: u32,
) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let bytes = crate::proxy_wasm::memory::bytes(memory, at, size)?;
        let Buffer::Body(direction) = buffer(number)? else {
            return Err(BAD_ARGUMENT);
        };
        let exchange = state.exchange().ok_or(NOT_FOUND)?;
        exchange
            .body_splice(direction, start as usize, length as usize, bytes)
            .map_err(|error| {
                if error == leno_sdk::host::HostError::WrongPhase {
                    NOT_FOUND
                } else {
                    BAD_ARGUMENT
                }
            })
    })
}

/// 0.1.0: what `proxy_on_configure` or `proxy_on_vm_start` was called for.
pub(super) fn configuration(guest: Guest<'_>, pointer: u32, size: u32) -> Result<u32> {
    bytes(guest, 7, 0, u32::MAX, pointer, size)
}
