//! Log, clock, timer and contexts.

use std::time::Duration;

use leno_sdk::host::LogLevel;
use wasmtime::{Caller, Result};

use crate::proxy_wasm::memory::{bytes, put, put_word, with};
use crate::proxy_wasm::state::State;
use crate::proxy_wasm::status::{BAD_ARGUMENT, NOT_FOUND};

type Guest<'a> = Caller<'a, State>;

pub(super) fn log(mut guest: Guest<'_>, level: u32, at: u32, size: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let level = match level {
            0 => LogLevel::Trace,
            1 => LogLevel::Debug,
            2 => LogLevel::Info,
            3 => LogLevel::Warn,
            4 => LogLevel::Error,
            5 => LogLevel::Critical,
            _ => return Err(BAD_ARGUMENT),
        };
        state.log(level, bytes(memory, at, size)?);
        Ok(())
    })
}

pub(super) fn log_level(mut guest: Guest<'_>, out: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let level = state.root().map_or(LogLevel::Info, |root| root.host.log_level());
        let number = match level {
            LogLevel::Trace => 0,
            LogLevel::Debug => 1,
            LogLevel::Info => 2,
            LogLevel::Warn => 3,
            LogLevel::Error => 4,
            LogLevel::Critical => 5,
        };
        put_word(memory, out, number)
    })
}

pub(super) fn now(mut guest: Guest<'_>, out: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let now = state.root().map_or(0, |root| root.host.now());
        put(memory, out, &now.to_le_bytes())
    })
}

pub(super) fn set_tick_period(mut guest: Guest<'_>, milliseconds: u32) -> Result<u32> {
    with(&mut guest, |_, state| {
        if let Some(root) = state.root() {
            root.host
                .set_tick_period(Duration::from_millis(milliseconds.into()));
        }
        Ok(())
    })
}

/// Zero leads back to the context of the callback.
pub(super) fn set_effective_context(mut guest: Guest<'_>, id: u32) -> Result<u32> {
    with(&mut guest, |_, state| {
        let id = if id == 0 { state.current } else { id };
        let context = state.contexts.get(&id).ok_or(BAD_ARGUMENT)?;
        state.effective = Some(context.clone());
        Ok(())
    })
}

/// The end that `proxy_on_done` of a root has put off.
pub(super) fn done(mut guest: Guest<'_>) -> Result<u32> {
    with(&mut guest, |_, state| {
        let id = state.root().map(|root| root.id);
        let pending = state.pending_done.iter().position(|pending| Some(*pending) == id);
        let id = state.pending_done.swap_remove(pending.ok_or(NOT_FOUND)?);
        state.done.push(id);
        Ok(())
    })
}

/// Emscripten's, for guests without threads.
pub(super) fn pthread_equal(left: u32, right: u32) -> u32 {
    u32::from(left == right)
}

/// Emscripten says that memory grew; it is looked up at each use.
pub(super) fn memory_growth(_index: u32) {}
