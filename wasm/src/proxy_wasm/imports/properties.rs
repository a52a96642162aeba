//! Attributes by path: of the exchange, or of what stands around it.

use leno_sdk::host::{HostError, LogLevel};
use wasmtime::{Caller, Result};

use crate::proxy_wasm::memory::{Out, bytes, fetch, with};
use crate::proxy_wasm::state::State;
use crate::proxy_wasm::status::{NOT_FOUND, of_property};

type Guest<'a> = Caller<'a, State>;

pub(super) fn get(mut guest: Guest<'_>, path: u32, path_size: u32, pointer: u32, size: u32) -> Result<u32> {
    fetch(&mut guest, Out { pointer, size }, |memory, state, answer| {
        let path = trimmed(bytes(memory, path, path_size)?);
        let root = state.root().ok_or(NOT_FOUND)?;
        let found = match state.exchange() {
            Some(exchange) => exchange.property(path, answer),
            None => root.host.property(path, answer),
        };
        match found {
            // What only this side knows, unless the host says otherwise.
            Err(HostError::NotFound) => {
                let own = match path {
                    b"plugin_name" => &root.options.name,
                    b"plugin_root_id" => &root.options.root_id,
                    b"plugin_vm_id" => &root.vm_id,
                    _ => return Err(NOT_FOUND),
                };
                answer.extend_from_slice(own.as_bytes());
                Ok(())
            }
            other => other.map_err(of_property),
        }
    })
}

pub(super) fn set(mut guest: Guest<'_>, path: u32, path_size: u32, at: u32, size: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let (path, value) = (trimmed(bytes(memory, path, path_size)?), bytes(memory, at, size)?);
        match state.exchange() {
            Some(exchange) => exchange.set_property(path, value),
            None => state.log(
                LogLevel::Warn,
                b"proxy_set_property outside of an exchange does nothing",
            ),
        }
        Ok(())
    })
}

/// Some SDKs end a path with its separator.
fn trimmed(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"\0").unwrap_or(path)
}
