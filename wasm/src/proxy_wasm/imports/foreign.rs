//! Functions by name, as far as Envoy's are offered. Others are not found, which guests take.

use std::io::{Read, Write};

use wasmtime::{Caller, Result};

use crate::proxy_wasm::memory::{Out, bytes, give, split};
use crate::proxy_wasm::state::State;
use crate::proxy_wasm::status::{BAD_ARGUMENT, Fault, INTERNAL_FAILURE, NOT_FOUND, OK, Status};

type Guest<'a> = Caller<'a, State>;

/// What an answer may unpack to.
const MAX_UNPACKED: u64 = 16 << 20;

/// The guest may give null for both addresses of an answer that it does not want.
#[allow(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn call(
    mut guest: Guest<'_>,
    name: u32,
    name_size: u32,
    arguments: u32,
    arguments_size: u32,
    pointer: u32,
    size: u32,
) -> Result<u32> {
    let (memory, state) = split(&mut guest)?;
    let answer = bytes(memory, name, name_size).and_then(|name| {
        let arguments = bytes(memory, arguments, arguments_size)?;
        match name {
            b"clear_route_cache" => {
                if let Some(exchange) = state.exchange() {
                    exchange.clear_route_cache();
                }
                Ok(Vec::new())
            }
            b"compress" => compress(arguments),
            b"uncompress" => uncompress(arguments),
            _ => Err(NOT_FOUND),
        }
    });
    let answer = match answer {
        Ok(answer) => answer,
        Err(status) => return Ok(status.0),
    };
    if pointer == 0 || size == 0 {
        return Ok(OK);
    }
    match give(&mut guest, &answer, Out { pointer, size }) {
        Ok(()) => Ok(OK),
        Err(Fault::Status(status)) => Ok(status.0),
        Err(Fault::Trap(error)) => Err(error),
    }
}

fn compress(plain: &[u8]) -> Result<Vec<u8>, Status> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .map_err(|_| INTERNAL_FAILURE)
}

fn uncompress(packed: &[u8]) -> Result<Vec<u8>, Status> {
    let mut plain = Vec::new();
    let mut decoder = flate2::read::ZlibDecoder::new(packed).take(MAX_UNPACKED + 1);
    decoder.read_to_end(&mut plain).map_err(|_| BAD_ARGUMENT)?;
    if plain.len() as u64 > MAX_UNPACKED {
        return Err(BAD_ARGUMENT);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::{MAX_UNPACKED, compress, uncompress};
    use crate::proxy_wasm::status::BAD_ARGUMENT;

    #[test]
    fn unpacks_what_it_packed_and_nothing_beyond_the_limit() {
        assert_eq!(
            uncompress(&compress(b"some text").unwrap()).unwrap(),
            b"some text"
        );
        let bomb = compress(&vec![0; MAX_UNPACKED as usize + 1]).unwrap();
        assert_eq!(uncompress(&bomb), Err(BAD_ARGUMENT));
        assert_eq!(uncompress(b"no zlib"), Err(BAD_ARGUMENT));
    }
}
