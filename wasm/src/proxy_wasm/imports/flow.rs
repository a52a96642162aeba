//! Letting go on, ending, and answering instead of the upstream.

use leno_sdk::host::{Direction, ExchangeHost, LocalReply, LogLevel};
use wasmtime::{Caller, Result};

use crate::proxy_wasm::memory::{bytes, with};
use crate::proxy_wasm::pairs;
use crate::proxy_wasm::state::State;
use crate::proxy_wasm::status::{BAD_ARGUMENT, Status, UNIMPLEMENTED};

type Guest<'a> = Caller<'a, State>;

/// Streams 2 and 3 are those of TCP filters.
pub(super) fn resume(mut guest: Guest<'_>, stream: u32) -> Result<u32> {
    with(&mut guest, |_, state| match stream {
        0 => resume_half(state, Direction::Request),
        1 => resume_half(state, Direction::Response),
        2 => Ok(()),
        3 => Err(UNIMPLEMENTED),
        _ => Err(BAD_ARGUMENT),
    })
}

pub(super) fn close(mut guest: Guest<'_>, stream: u32) -> Result<u32> {
    with(&mut guest, |_, state| {
        if stream > 3 {
            return Err(BAD_ARGUMENT);
        }
        if stream < 2 {
            on_exchange(state, |exchange| exchange.reset());
        }
        Ok(())
    })
}

/// 0.1.0
pub(super) fn resume_request(mut guest: Guest<'_>) -> Result<u32> {
    with(&mut guest, |_, state| resume_half(state, Direction::Request))
}

/// 0.1.0
pub(super) fn resume_response(mut guest: Guest<'_>) -> Result<u32> {
    with(&mut guest, |_, state| resume_half(state, Direction::Response))
}

/// 0.1.0; later a foreign function.
pub(super) fn clear_route_cache(mut guest: Guest<'_>) -> Result<u32> {
    with(&mut guest, |_, state| {
        on_exchange(state, |exchange| exchange.clear_route_cache());
        Ok(())
    })
}

#[allow(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn reply(
    mut guest: Guest<'_>,
    status: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc_status: i32,
) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let details = String::from_utf8_lossy(bytes(memory, details, details_size)?).into_owned();
        let body = bytes(memory, body, body_size)?.to_vec();
        let headers = pairs::decode_owned(bytes(memory, headers, headers_size)?);
        if headers.is_none() {
            state.log(
                LogLevel::Error,
                b"proxy_send_local_response: malformed headers are left out",
            );
        }
        // Without an exchange there is nobody to answer.
        if let Some(exchange) = state.exchange() {
            exchange.reply(LocalReply {
                status: u16::try_from(status).unwrap_or(500),
                headers: headers.unwrap_or_default(),
                body,
                grpc_status: u32::try_from(grpc_status).ok(),
                details: details.split_whitespace().collect::<Vec<_>>().join("_"),
            });
        }
        Ok(())
    })
}

fn resume_half(state: &State, direction: Direction) -> Result<(), Status> {
    on_exchange(state, |exchange| exchange.resume(direction));
    Ok(())
}

/// SDKs take no status but success from these, so that without an exchange they do nothing.
fn on_exchange(state: &State, act: impl FnOnce(&dyn ExchangeHost)) {
    if let Some(exchange) = state.exchange() {
        act(exchange);
    }
}
