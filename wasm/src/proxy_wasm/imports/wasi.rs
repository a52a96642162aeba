//! As much of WASI preview 1 as filters in the field ask for: output becomes log lines, there are no files.

use leno_sdk::host::LogLevel;
use wasmtime::{Caller, Result};

use crate::proxy_wasm::memory::{bytes, put, put_word, split};
use crate::proxy_wasm::state::State;
use crate::proxy_wasm::status::Status;

type Guest<'a> = Caller<'a, State>;

/// The guest wants to end.
#[derive(Debug, thiserror::Error)]
#[error("the guest called exit({0})")]
pub(crate) struct Exit(pub(crate) i32);

const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
const NOENT: u32 = 44;
const NOSYS: u32 = 52;
const NOTSUP: u32 = 58;

/// Runs `act` with its own error numbers; an address out of bounds is a fault.
fn with(
    guest: &mut Guest<'_>,
    act: impl FnOnce(&mut [u8], &mut State) -> Result<u32, Status>,
) -> Result<u32> {
    let (memory, state) = split(guest)?;
    Ok(act(memory, state).unwrap_or(FAULT))
}

pub(super) fn args_get(_pointers: u32, _text: u32) -> u32 {
    SUCCESS
}

pub(super) fn args_sizes_get(mut guest: Guest<'_>, count: u32, size: u32) -> Result<u32> {
    with(&mut guest, |memory, _| {
        put_word(memory, count, 0)?;
        put_word(memory, size, 0)?;
        Ok(SUCCESS)
    })
}

pub(super) fn environ_get(mut guest: Guest<'_>, pointers: u32, text: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let (mut pointer, mut at) = (pointers, text);
        for (name, value) in &state.environment {
            let entry = format!("{name}={value}\0");
            put_word(memory, pointer, at)?;
            put(memory, at, entry.as_bytes())?;
            pointer += 4;
            at += entry.len() as u32;
        }
        Ok(SUCCESS)
    })
}

pub(super) fn environ_sizes_get(mut guest: Guest<'_>, count: u32, size: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let bytes: usize = state
            .environment
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2)
            .sum();
        put_word(memory, count, state.environment.len() as u32)?;
        put_word(memory, size, bytes as u32)?;
        Ok(SUCCESS)
    })
}

pub(super) fn clock_time_get(mut guest: Guest<'_>, clock: u32, _precision: u64, out: u32) -> Result<u32> {
    /// What the monotonic clock counts from.
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    with(&mut guest, |memory, state| {
        let now = match clock {
            0 => state.root().map_or(0, |root| root.host.now()),
            1 => u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX),
            _ => return Ok(NOTSUP),
        };
        put(memory, out, &now.to_le_bytes())?;
        Ok(SUCCESS)
    })
}

/// A nanosecond.
pub(super) fn clock_res_get(mut guest: Guest<'_>, _clock: u32, out: u32) -> Result<u32> {
    with(&mut guest, |memory, _| {
        put(memory, out, &1u64.to_le_bytes())?;
        Ok(SUCCESS)
    })
}

pub(super) fn random_get(mut guest: Guest<'_>, at: u32, size: u32) -> Result<u32> {
    const MOST: u32 = 64 << 10;
    with(&mut guest, |memory, _| {
        if size > MOST {
            return Ok(INVAL);
        }
        let start = at as usize;
        let target = memory.get_mut(start..start + size as usize);
        let target = target.ok_or(crate::proxy_wasm::status::INVALID_MEMORY_ACCESS)?;
        Ok(if getrandom::fill(target).is_ok() {
            SUCCESS
        } else {
            NOSYS
        })
    })
}

pub(super) fn sched_yield() -> u32 {
    SUCCESS
}

/// Nothing is ever ready, and nothing waits: Go's runtime start needs that it returns.
pub(super) fn poll_oneoff(
    mut guest: Guest<'_>,
    _in: u32,
    _out: u32,
    _count: u32,
    events: u32,
) -> Result<u32> {
    with(&mut guest, |memory, _| {
        put_word(memory, events, 0)?;
        Ok(SUCCESS)
    })
}

pub(super) fn proc_exit(code: i32) -> Result<()> {
    Err(Exit(code).into())
}

/// Standard output and error become log lines. Envoy logs each write; here a line is logged when it ends, because
/// a panic message of Rust comes in many writes.
pub(super) fn fd_write(mut guest: Guest<'_>, fd: u32, vectors: u32, count: u32, written: u32) -> Result<u32> {
    /// A line that does not end is logged in pieces of this size.
    const LONGEST: usize = 8 << 10;
    with(&mut guest, |memory, state| {
        let (stream, level) = match fd {
            1 => (0, LogLevel::Info),
            2 => (1, LogLevel::Error),
            _ => return Ok(BADF),
        };
        let mut total = 0u32;
        for index in 0..count {
            let vector = bytes(memory, vectors.saturating_add(index.saturating_mul(8)), 8)?;
            let word =
                |at: usize| u32::from_le_bytes([vector[at], vector[at + 1], vector[at + 2], vector[at + 3]]);
            let piece = bytes(memory, word(0), word(4))?;
            total = total.saturating_add(word(4));
            for part in piece.split_inclusive(|byte| *byte == b'\n') {
                state.lines[stream].extend_from_slice(part.strip_suffix(b"\n").unwrap_or(part));
                if part.ends_with(b"\n") || state.lines[stream].len() >= LONGEST {
                    let line = std::mem::take(&mut state.lines[stream]);
                    state.log(level, &line);
                }
            }
        }
        put_word(memory, written, total)?;
        Ok(SUCCESS)
    })
}

pub(super) fn fd_fdstat_get(mut guest: Guest<'_>, fd: u32, out: u32) -> Result<u32> {
    const FD_WRITE: u64 = 64;
    with(&mut guest, |memory, _| {
        if fd != 1 && fd != 2 {
            return Ok(BADF);
        }
        let mut stat = [0; 24];
        stat[8..16].copy_from_slice(&FD_WRITE.to_le_bytes());
        put(memory, out, &stat)?;
        Ok(SUCCESS)
    })
}

pub(super) fn fd_read(_fd: u32, _vectors: u32, _count: u32, _out: u32) -> u32 {
    NOSYS
}

pub(super) fn fd_seek(_fd: u32, _offset: i64, _whence: u32, _out: u32) -> u32 {
    NOSYS
}

pub(super) fn fd_close(_fd: u32) -> u32 {
    NOSYS
}

pub(super) fn fd_fdstat_set_flags(_fd: u32, _flags: u32) -> u32 {
    NOSYS
}

pub(super) fn fd_filestat_get(_fd: u32, _out: u32) -> u32 {
    BADF
}

/// No directory is open, which ends the search of libc for them.
pub(super) fn fd_prestat_get(_fd: u32, _out: u32) -> u32 {
    BADF
}

pub(super) fn fd_prestat_dir_name(_fd: u32, _at: u32, _size: u32) -> u32 {
    NOSYS
}

#[allow(clippy::too_many_arguments, reason = "WASI's signature")]
pub(super) fn path_open(
    _fd: u32,
    _lookup: u32,
    _path: u32,
    _path_size: u32,
    _flags: u32,
    _rights: u64,
    _inheriting: u64,
    _fd_flags: u32,
    _out: u32,
) -> u32 {
    NOENT
}

pub(super) fn path_filestat_get(_fd: u32, _flags: u32, _path: u32, _path_size: u32, _out: u32) -> u32 {
    NOTSUP
}
