//! Header and trailer maps. Outside of its phase a map answers with `BadArgument`, but its pairs with success and
//! nothing, as in Envoy: SDKs panic on anything else.

use leno_sdk::host::{Edit, ExchangeHost, HostError, LogLevel, Map};
use wasmtime::{Caller, Result};

use crate::inspect::ProxyWasmVersion;
use crate::proxy_wasm::memory::{Out, bytes, fetch, put_word, with};
use crate::proxy_wasm::pairs;
use crate::proxy_wasm::state::State;
use crate::proxy_wasm::status::{BAD_ARGUMENT, NOT_FOUND, Status};

type Guest<'a> = Caller<'a, State>;

enum Which {
    Exchange(Map),
    CallHeaders,
    CallTrailers,
    /// Metadata of gRPC calls.
    Absent,
}

fn which(number: u32) -> Result<Which, Status> {
    match number {
        0 => Ok(Which::Exchange(Map::RequestHeaders)),
        1 => Ok(Which::Exchange(Map::RequestTrailers)),
        2 => Ok(Which::Exchange(Map::ResponseHeaders)),
        3 => Ok(Which::Exchange(Map::ResponseTrailers)),
        4 | 5 => Ok(Which::Absent),
        6 => Ok(Which::CallHeaders),
        7 => Ok(Which::CallTrailers),
        _ => Err(BAD_ARGUMENT),
    }
}

type Fields = [(Vec<u8>, Vec<u8>)];

/// Of the call that is being answered.
fn call_fields<'a>(state: &'a State, which: &Which) -> Option<&'a Fields> {
    let response = state.response.as_ref()?;
    match which {
        Which::CallHeaders => Some(&response.headers),
        Which::CallTrailers => Some(&response.trailers),
        Which::Exchange(_) | Which::Absent => None,
    }
}

fn exchange(state: &State) -> Result<&dyn ExchangeHost, Status> {
    state.exchange().ok_or(BAD_ARGUMENT)
}

pub(super) fn pairs(mut guest: Guest<'_>, number: u32, pointer: u32, size: u32) -> Result<u32> {
    fetch(&mut guest, Out { pointer, size }, |_, state, answer| {
        let which = which(number)?;
        let encoded = match &which {
            Which::Exchange(map) => match state.exchange() {
                Some(exchange) => pairs::encode(answer, |each| exchange.headers(*map, each)),
                None => Err(HostError::WrongPhase),
            },
            Which::CallHeaders | Which::CallTrailers => match call_fields(state, &which) {
                Some(fields) => pairs::encode(answer, |each| {
                    fields.iter().for_each(|(name, value)| each(name, value));
                    Ok(())
                }),
                None => Err(HostError::WrongPhase),
            },
            Which::Absent => Err(HostError::WrongPhase),
        };
        if encoded.is_err() {
            answer.clear();
        }
        Ok(())
    })
}

/// Pairs that cannot be read change nothing. Envoy clears the map then; no SDK writes such.
pub(super) fn set_pairs(mut guest: Guest<'_>, number: u32, at: u32, size: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let Which::Exchange(map) = which(number)? else {
            return Err(BAD_ARGUMENT);
        };
        let exchange = exchange(state)?;
        match pairs::decode(bytes(memory, at, size)?) {
            Some(fields) => exchange
                .edit(map, Edit::Replace(&fields))
                .map_err(|_| BAD_ARGUMENT),
            None => {
                state.log(
                    LogLevel::Error,
                    b"proxy_set_header_map_pairs: malformed pairs; the map stays as it was",
                );
                Ok(())
            }
        }
    })
}

pub(super) fn value(
    mut guest: Guest<'_>,
    number: u32,
    key: u32,
    key_size: u32,
    pointer: u32,
    size: u32,
) -> Result<u32> {
    fetch(&mut guest, Out { pointer, size }, |memory, state, answer| {
        let which = which(number)?;
        let key = bytes(memory, key, key_size)?;
        let found = match &which {
            Which::Exchange(map) => exchange(state)?.header(*map, key, answer),
            Which::CallHeaders | Which::CallTrailers => {
                let fields = call_fields(state, &which).ok_or(BAD_ARGUMENT)?;
                let field = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
                field
                    .map(|(_, value)| answer.extend_from_slice(value))
                    .ok_or(HostError::NotFound)
            }
            Which::Absent => Err(HostError::WrongPhase),
        };
        match found {
            Ok(()) => Ok(()),
            // SDKs for 0.1.0 know no other status.
            Err(HostError::NotFound) if state.version == ProxyWasmVersion::V0_1_0 => Ok(()),
            Err(HostError::NotFound) => Err(NOT_FOUND),
            Err(_) => Err(BAD_ARGUMENT),
        }
    })
}

pub(super) fn add(
    mut guest: Guest<'_>,
    map: u32,
    key: u32,
    key_size: u32,
    at: u32,
    size: u32,
) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let (key, value) = (bytes(memory, key, key_size)?, bytes(memory, at, size)?);
        edit(state, map, Edit::Append(key, value))
    })
}

pub(super) fn replace(
    mut guest: Guest<'_>,
    map: u32,
    key: u32,
    key_size: u32,
    at: u32,
    size: u32,
) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let (key, value) = (bytes(memory, key, key_size)?, bytes(memory, at, size)?);
        edit(state, map, Edit::Set(key, value))
    })
}

pub(super) fn remove(mut guest: Guest<'_>, map: u32, key: u32, key_size: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        edit(state, map, Edit::Remove(bytes(memory, key, key_size)?))
    })
}

fn edit(state: &State, number: u32, edit: Edit<'_>) -> Result<(), Status> {
    let Which::Exchange(map) = which(number)? else {
        return Err(BAD_ARGUMENT);
    };
    exchange(state)?.edit(map, edit).map_err(|_| BAD_ARGUMENT)
}

/// Bytes of all names and values.
pub(super) fn size(mut guest: Guest<'_>, number: u32, out: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let Which::Exchange(map) = which(number)? else {
            return Err(BAD_ARGUMENT);
        };
        let mut size = 0usize;
        exchange(state)?
            .headers(map, &mut |name, value| size += name.len() + value.len())
            .map_err(|_| BAD_ARGUMENT)?;
        put_word(memory, out, u32::try_from(size).unwrap_or(u32::MAX))
    })
}
