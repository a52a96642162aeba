//! What a host returns: written into memory that it asks the module for.

use std::alloc::{Layout, alloc};

use crate::guest::abi::{
    check, decode_pairs, proxy_get_buffer_bytes, proxy_get_header_map_pairs, proxy_get_property,
};
use crate::host::HostError;

// SAFETY of the export: its name and signature are the ABI's, and no other symbol of a module has it.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // SAFETY: the size is not zero.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        _ => std::ptr::null_mut(),
    }
}

/// Bytes that a host has written into memory from [`proxy_on_memory_allocate`].
pub(super) struct Returned {
    pub(super) bytes: *mut u8,
    pub(super) size: usize,
}

impl Returned {
    pub(super) const fn new() -> Self {
        Self {
            bytes: std::ptr::null_mut(),
            size: 0,
        }
    }

    /// Nothing if the host has written nothing, which is how it returns an empty value.
    pub(super) fn take(self) -> Vec<u8> {
        if self.bytes.is_null() || self.size == 0 {
            return Vec::new();
        }
        // SAFETY: such a pointer comes from `proxy_on_memory_allocate(size)`, called for this result alone, so it is
        // an allocation of the global allocator for `size` bytes, all written, and owned by nobody else.
        unsafe { Vec::from_raw_parts(self.bytes, self.size, self.size) }
    }
}

pub(super) fn buffer(buffer: u32, start: usize, max: usize) -> Result<Vec<u8>, HostError> {
    let mut out = Returned::new();
    // SAFETY: both results are written to locals of the right type.
    let status = unsafe { proxy_get_buffer_bytes(buffer, start, max, &mut out.bytes, &mut out.size) };
    check(status, HostError::WrongPhase)?;
    Ok(out.take())
}

/// `WrongPhase` for a map that is not there: hosts return nothing at all then, and a count for an empty one.
pub(super) fn map_pairs(map: u32, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError> {
    let mut out = Returned::new();
    // SAFETY: both results are written to locals of the right type.
    let status = unsafe { proxy_get_header_map_pairs(map, &mut out.bytes, &mut out.size) };
    check(status, HostError::WrongPhase)?;
    let bytes = out.take();
    if bytes.is_empty() {
        return Err(HostError::WrongPhase);
    }
    decode_pairs(&bytes, each);
    Ok(())
}

pub(super) fn property(path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
    let mut out = Returned::new();
    // SAFETY: the path is readable for its length; both results are written to locals of the right type.
    let status = unsafe { proxy_get_property(path.as_ptr(), path.len(), &mut out.bytes, &mut out.size) };
    match status {
        // Envoy answers SerializationFailure for a whole group such as `request`.
        3 => Err(HostError::Invalid),
        status => check(status, HostError::Invalid),
    }?;
    give(value, out.take());
    Ok(())
}

/// Appends without a copy where that is possible.
pub(super) fn give(to: &mut Vec<u8>, bytes: Vec<u8>) {
    if to.is_empty() {
        *to = bytes;
    } else {
        to.extend_from_slice(&bytes);
    }
}
