//! Calls of the filter itself. HTTP only: a gRPC call is refused with the status that means "could not be started".

use std::time::Duration;

use leno_sdk::host::{Call, LogLevel};
use wasmtime::{Caller, Result};

use crate::proxy_wasm::memory::{bytes, put_word, with};
use crate::proxy_wasm::pairs;
use crate::proxy_wasm::state::State;
use crate::proxy_wasm::status::{BAD_ARGUMENT, INTERNAL_FAILURE, NOT_FOUND, Status, of_call};

type Guest<'a> = Caller<'a, State>;

#[allow(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn http_call(
    mut guest: Guest<'_>,
    upstream: u32,
    upstream_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout: u32,
    out: u32,
) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let cluster =
            std::str::from_utf8(bytes(memory, upstream, upstream_size)?).map_err(|_| BAD_ARGUMENT)?;
        let fields = |at, size| pairs::decode_owned(bytes(memory, at, size)?).ok_or(BAD_ARGUMENT);
        if i32::try_from(timeout).is_err() {
            return Err(BAD_ARGUMENT);
        }
        let call = Call {
            cluster: cluster.to_owned(),
            headers: fields(headers, headers_size)?,
            body: bytes(memory, body, body_size)?.to_vec(),
            trailers: fields(trailers, trailers_size)?,
            timeout: Duration::from_millis(timeout.into()),
        };
        // Checked before the call starts: afterwards the guest would not know its token.
        bytes(memory, out, 4)?;
        let root = state.root().cloned().ok_or(INTERNAL_FAILURE)?;
        let call = root.host.call(call).map_err(of_call)?;
        let token = state.calls.open(root.id, call);
        put_word(memory, out, token)
    })
}

/// Of a gRPC call that ended; without any, zero and no text.
pub(super) fn status(mut guest: Guest<'_>, code: u32, pointer: u32, size: u32) -> Result<u32> {
    with(&mut guest, |memory, _| {
        put_word(memory, code, 0)?;
        put_word(memory, pointer, 0)?;
        put_word(memory, size, 0)
    })
}

#[allow(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn grpc_call(
    mut guest: Guest<'_>,
    _upstream: u32,
    _upstream_size: u32,
    _service: u32,
    _service_size: u32,
    _method: u32,
    _method_size: u32,
    _metadata: u32,
    _metadata_size: u32,
    _message: u32,
    _message_size: u32,
    _timeout: u32,
    _out: u32,
) -> Result<u32> {
    with(&mut guest, |_, state| refuse_grpc(state))
}

#[allow(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn grpc_stream(
    mut guest: Guest<'_>,
    _upstream: u32,
    _upstream_size: u32,
    _service: u32,
    _service_size: u32,
    _method: u32,
    _method_size: u32,
    _metadata: u32,
    _metadata_size: u32,
    _out: u32,
) -> Result<u32> {
    with(&mut guest, |_, state| refuse_grpc(state))
}

pub(super) fn grpc_send(_id: u32, _at: u32, _size: u32, _end: u32) -> u32 {
    NOT_FOUND.0
}

pub(super) fn grpc_end(_id: u32) -> u32 {
    NOT_FOUND.0
}

fn refuse_grpc(state: &mut State) -> Result<(), Status> {
    if !std::mem::replace(&mut state.refused_grpc, true) {
        state.log(
            LogLevel::Error,
            b"gRPC calls are not supported by this host; the filter's calls fail",
        );
    }
    Err(INTERNAL_FAILURE)
}
