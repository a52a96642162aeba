//! Proxy-Wasm 0.1.0, 0.2.0 and 0.2.1 (github.com/proxy-wasm/spec), as Envoy behaves.
//!
//! One VM per VM key and worker, shared by the plugins of that key as in Envoy: [`vm`] owns the store and makes
//! every call; [`imports`] is the table of what a guest may ask; [`plugin`] and [`exchange`] are the two seams of
//! `leno_sdk`. Host functions never call into callbacks of the guest; its allocator is the only way back in.

mod code;
mod exchange;
mod exports;
mod plugin;
mod vm;

mod imports;
mod memory;
mod pairs;
mod state;
mod status;
mod tables;

pub(crate) use code::Code;
pub(crate) use imports::{linker, offers};
pub(crate) use plugin::start;
pub(crate) use state::State;
pub(crate) use vm::Vm;

/// The largest table that was seen in a hundred filters of the field has 8,006 elements.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 20_000;
