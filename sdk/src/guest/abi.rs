//! The functions of the Proxy-Wasm ABI 0.2.1 that a host offers, and its encodings.
//!
//! Specification: proxy-wasm/spec, `abi-versions/v0.2.1`.
#![allow(unsafe_code, reason = "foreign functions")]

use crate::host::HostError;

// The names, parameters and results are the ABI's.
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    pub(super) fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    pub(super) fn proxy_get_log_level(level: *mut u32) -> u32;
    pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    pub(super) fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        bytes: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_get_buffer_status(buffer: u32, size: *mut usize, flags: *mut u32) -> u32;
    pub(super) fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        len: usize,
        bytes: *const u8,
        size: usize,
    ) -> u32;
    pub(super) fn proxy_get_header_map_pairs(map: u32, bytes: *mut *mut u8, size: *mut usize) -> u32;
    pub(super) fn proxy_set_header_map_pairs(map: u32, bytes: *const u8, size: usize) -> u32;
    pub(super) fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        size: usize,
    ) -> u32;
    pub(super) fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        size: usize,
    ) -> u32;
    pub(super) fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    pub(super) fn proxy_continue_stream(stream: u32) -> u32;
    pub(super) fn proxy_close_stream(stream: u32) -> u32;
    pub(super) fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    pub(super) fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        call: *mut u32,
    ) -> u32;
    pub(super) fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    pub(super) fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        size: usize,
        version: u32,
    ) -> u32;
    pub(super) fn proxy_register_shared_queue(name: *const u8, size: usize, queue: *mut u32) -> u32;
    pub(super) fn proxy_resolve_shared_queue(
        name_space: *const u8,
        name_space_size: usize,
        name: *const u8,
        size: usize,
        queue: *mut u32,
    ) -> u32;
    pub(super) fn proxy_enqueue_shared_queue(queue: u32, entry: *const u8, size: usize) -> u32;
    pub(super) fn proxy_dequeue_shared_queue(queue: u32, entry: *mut *mut u8, size: *mut usize) -> u32;
    pub(super) fn proxy_define_metric(kind: u32, name: *const u8, size: usize, metric: *mut u32) -> u32;
    pub(super) fn proxy_increment_metric(metric: u32, by: i64) -> u32;
    pub(super) fn proxy_record_metric(metric: u32, value: u64) -> u32;
    pub(super) fn proxy_get_metric(metric: u32, value: *mut u64) -> u32;
    pub(super) fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        value: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, size: usize)
    -> u32;
    pub(super) fn proxy_set_effective_context(context: u32) -> u32;
    pub(super) fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        argument: *const u8,
        argument_size: usize,
        result: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
}

/// Reads a status. `bad_argument` is what 2 means for the function in question.
pub(super) fn check(status: u32, bad_argument: HostError) -> Result<(), HostError> {
    match status {
        0 => Ok(()),
        1 => Err(HostError::NotFound),
        2 => Err(bad_argument),
        7 => Err(HostError::Empty),
        8 => Err(HostError::Conflict),
        12 => Err(HostError::Unsupported),
        _ => Err(HostError::Internal),
    }
}

/// The pairs format: count; the two sizes of each pair; each name and value, followed by NUL.
pub(super) fn encode_pairs<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    // Sizes above 4 GiB do not fit into a module's memory.
    let number = |size: usize| (size as u32).to_le_bytes();
    let mut out = Vec::new();
    out.extend(number(pairs.clone().count()));
    for (name, value) in pairs.clone() {
        out.extend(number(name.len()));
        out.extend(number(value.len()));
    }
    for (name, value) in pairs {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
    out
}

/// Shows the pairs; stops where the encoding is not sound.
pub(super) fn decode_pairs(bytes: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) {
    let number = |at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let Some(count) = number(0) else { return };
    let Some(mut at) = count.checked_mul(8).and_then(|sizes| sizes.checked_add(4)) else {
        return;
    };
    for index in 0..count {
        let (Some(name_size), Some(size)) = (number(4 + index * 8), number(8 + index * 8)) else {
            return;
        };
        let Some(name) = bytes.get(at..at.saturating_add(name_size)) else {
            return;
        };
        at += name_size + 1;
        let Some(value) = bytes.get(at..at.saturating_add(size)) else {
            return;
        };
        at += size + 1;
        each(name, value);
    }
}
