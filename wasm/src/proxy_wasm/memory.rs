//! The guest's memory: every address it gives is checked, and every answer is put where its allocator says.

use wasmtime::Caller;

use super::state::State;
use super::status::{Fault, INVALID_MEMORY_ACCESS, OK, Status};

/// Where the guest wants an answer: the addresses of a pointer and of a size.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) pointer: u32,
    pub(super) size: u32,
}

/// Runs a host call that answers with its status alone, or writes plain numbers itself.
pub(super) fn with(
    caller: &mut Caller<'_, State>,
    act: impl FnOnce(&mut [u8], &mut State) -> Result<(), Status>,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(caller)?;
    Ok(act(memory, state).map_or_else(|status| status.0, |()| OK))
}

/// Runs a host call that answers with bytes, which `act` appends to the (empty) buffer.
pub(super) fn fetch(
    caller: &mut Caller<'_, State>,
    out: Out,
    act: impl FnOnce(&[u8], &mut State, &mut Vec<u8>) -> Result<(), Status>,
) -> wasmtime::Result<u32> {
    /// What a VM may keep for the next answer.
    const KEPT: usize = 256 << 10;
    let (memory, state) = split(caller)?;
    let mut answer = std::mem::take(&mut state.scratch);
    answer.clear();
    let result = match act(memory, state, &mut answer) {
        Ok(()) => give(caller, &answer, out),
        Err(status) => Err(Fault::Status(status)),
    };
    if answer.capacity() <= KEPT {
        caller.data_mut().scratch = answer;
    }
    match result {
        Ok(()) => Ok(OK),
        Err(Fault::Status(status)) => Ok(status.0),
        Err(Fault::Trap(error)) => Err(error),
    }
}

/// Memory and state side by side.
pub(super) fn split<'a>(
    caller: &'a mut Caller<'_, State>,
) -> wasmtime::Result<(&'a mut [u8], &'a mut State)> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        // A start section runs before anybody could look the memory up.
        None => caller
            .get_export("memory")
            .and_then(wasmtime::Extern::into_memory)
            .ok_or_else(|| wasmtime::format_err!("the module exports no memory"))?,
    };
    Ok(memory.data_and_store_mut(caller))
}

/// A piece of memory.
pub(super) fn bytes(memory: &[u8], at: u32, size: u32) -> Result<&[u8], Status> {
    let (at, size) = (at as usize, size as usize);
    memory.get(at..at + size).ok_or(INVALID_MEMORY_ACCESS)
}

/// Writes to one place.
pub(super) fn put(memory: &mut [u8], at: u32, value: &[u8]) -> Result<(), Status> {
    let at = at as usize;
    memory
        .get_mut(at..at + value.len())
        .ok_or(INVALID_MEMORY_ACCESS)?
        .copy_from_slice(value);
    Ok(())
}

/// Writes a word.
pub(super) fn put_word(memory: &mut [u8], at: u32, value: u32) -> Result<(), Status> {
    put(memory, at, &value.to_le_bytes())
}

/// Copies an answer into memory that the guest allocates; one of no bytes is a null pointer, without asking.
pub(super) fn give(caller: &mut Caller<'_, State>, answer: &[u8], out: Out) -> Result<(), Fault> {
    let mut at = 0;
    let size = u32::try_from(answer.len()).map_err(|_| INVALID_MEMORY_ACCESS)?;
    if size > 0 {
        let allocator = caller.data().allocator.clone();
        let Some(allocator) = allocator else {
            let text = "the module exports no allocator (`malloc` or `proxy_on_memory_allocate`)";
            return Err(Fault::Trap(wasmtime::format_err!("{text}")));
        };
        if std::mem::replace(&mut caller.data_mut().allocating, true) {
            let text = "the guest's allocator asked the host for what needs the allocator";
            return Err(Fault::Trap(wasmtime::format_err!("{text}")));
        }
        let allocated = allocator.call(&mut *caller, size);
        caller.data_mut().allocating = false;
        at = allocated?;
        if at == 0 {
            return Err(Fault::Status(INVALID_MEMORY_ACCESS));
        }
    }
    let (memory, _) = split(caller)?;
    put(memory, at, answer)?;
    put_word(memory, out.pointer, at)?;
    put_word(memory, out.size, size)?;
    Ok(())
}
