//! What a filter may do to an exchange.

use super::returned::{Returned, buffer, give, map_pairs, property};
use super::{EFFECTIVE, ExchangeRef};
use crate::guest::abi::{
    check, encode_pairs, proxy_add_header_map_value, proxy_call_foreign_function, proxy_close_stream,
    proxy_continue_stream, proxy_get_buffer_status, proxy_get_header_map_value,
    proxy_remove_header_map_value, proxy_replace_header_map_value, proxy_send_local_response,
    proxy_set_buffer_bytes, proxy_set_effective_context, proxy_set_header_map_pairs, proxy_set_property,
};
use crate::host::{Direction, Edit, ExchangeHost, HostError, LocalReply, Map};

impl ExchangeRef {
    /// Has the host take the next calls for this exchange; nothing to do in its own callbacks.
    fn enter(&self) -> Result<(), HostError> {
        if EFFECTIVE.get() == self.context {
            return Ok(());
        }
        // SAFETY: takes a number.
        let status = unsafe { proxy_set_effective_context(self.context) };
        check(status, HostError::NotFound)?;
        EFFECTIVE.set(self.context);
        Ok(())
    }
}

impl ExchangeHost for ExchangeRef {
    fn id(&self) -> u64 {
        u64::from(self.context)
    }

    fn header(&self, map: Map, name: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        self.enter()?;
        let mut out = Returned::new();
        // SAFETY: the name is readable for its length; both results are written to locals of the right type.
        let status = unsafe {
            proxy_get_header_map_value(
                map_number(map),
                name.as_ptr(),
                name.len(),
                &mut out.bytes,
                &mut out.size,
            )
        };
        check(status, HostError::WrongPhase)?;
        give(value, out.take());
        Ok(())
    }

    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError> {
        self.enter()?;
        map_pairs(map_number(map), each)
    }

    fn edit(&self, map: Map, edit: Edit<'_>) -> Result<(), HostError> {
        self.enter()?;
        let map = map_number(map);
        let status = match edit {
            // SAFETY: the inputs are readable for their lengths.
            Edit::Append(name, value) => unsafe {
                proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
            },
            // SAFETY: as above.
            Edit::Set(name, value) => unsafe {
                proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
            },
            // SAFETY: as above.
            Edit::Remove(name) => unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) },
            Edit::Replace(fields) => {
                let pairs = encode_pairs(fields.iter().copied());
                // SAFETY: as above.
                unsafe { proxy_set_header_map_pairs(map, pairs.as_ptr(), pairs.len()) }
            }
        };
        check(status, HostError::WrongPhase)
    }

    fn body_len(&self, direction: Direction) -> Result<usize, HostError> {
        self.enter()?;
        let (mut size, mut flags) = (0, 0);
        // SAFETY: both results are written to locals of the right type.
        let status = unsafe { proxy_get_buffer_status(stream(direction), &mut size, &mut flags) };
        check(status, HostError::WrongPhase)?;
        Ok(size)
    }

    fn body_read(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), HostError> {
        let size = self.body_len(direction)?;
        if start < size {
            give(bytes, buffer(stream(direction), start, len.min(size - start))?);
        }
        Ok(())
    }

    fn body_splice(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        let size = self.body_len(direction)?;
        let (start, end) = (start.min(size), start.saturating_add(len).min(size));
        let whole;
        // Hosts can replace at the front and append at the end only (Envoy, `WasmBufferInterface::copyFrom`).
        let (start, len, bytes) = if start == 0 || start == size {
            (start, end - start, bytes)
        } else {
            let mut all = buffer(stream(direction), 0, size)?;
            let end = end.min(all.len());
            all.splice(start.min(end)..end, bytes.iter().copied());
            whole = all;
            (0, size, whole.as_slice())
        };
        // SAFETY: the bytes are readable for their length.
        let status =
            unsafe { proxy_set_buffer_bytes(stream(direction), start, len, bytes.as_ptr(), bytes.len()) };
        check(status, HostError::WrongPhase)
    }

    fn reply(&self, reply: LocalReply) {
        if self.enter().is_err() {
            return;
        }
        let headers = reply
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()));
        let headers = encode_pairs(headers);
        let grpc_status = reply
            .grpc_status
            .and_then(|status| i32::try_from(status).ok())
            .unwrap_or(-1);
        // SAFETY: all inputs are readable for their lengths.
        unsafe {
            proxy_send_local_response(
                u32::from(reply.status),
                reply.details.as_ptr(),
                reply.details.len(),
                reply.body.as_ptr(),
                reply.body.len(),
                headers.as_ptr(),
                headers.len(),
                grpc_status,
            )
        };
    }

    fn resume(&self, direction: Direction) {
        if self.enter().is_ok() {
            // SAFETY: takes a number.
            unsafe { proxy_continue_stream(stream(direction)) };
        }
    }

    fn reset(&self) {
        if self.enter().is_ok() {
            // SAFETY: takes a number. Either half resets the whole exchange.
            unsafe { proxy_close_stream(stream(Direction::Request)) };
        }
    }

    fn clear_route_cache(&self) {
        if self.enter().is_ok() {
            let name = b"clear_route_cache";
            let null = std::ptr::null_mut::<Returned>();
            // SAFETY: the name is readable for its length; there is no argument, and null asks for no result.
            unsafe {
                proxy_call_foreign_function(
                    name.as_ptr(),
                    name.len(),
                    std::ptr::null(),
                    0,
                    null.cast(),
                    null.cast(),
                )
            };
        }
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        self.enter()?;
        property(path, value)
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        if self.enter().is_ok() {
            // SAFETY: both inputs are readable for their lengths.
            unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
        }
    }

    fn fail(&self) {
        // For adapters, which are on the other side.
    }
}

fn map_number(map: Map) -> u32 {
    match map {
        Map::RequestHeaders => 0,
        Map::RequestTrailers => 1,
        Map::ResponseHeaders => 2,
        Map::ResponseTrailers => 3,
    }
}

/// The number of a half as a stream, and of its body as a buffer.
fn stream(direction: Direction) -> u32 {
    match direction {
        Direction::Request => 0,
        Direction::Response => 1,
    }
}
