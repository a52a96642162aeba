//! A filter inside of a module: what a host calls, and the host as seen from there.
//!
//! Two builds, one file each: Proxy-Wasm for `wasm32-wasip1`, a component for `wasm32-unknown-unknown`. A module is
//! one thread, and its host never calls it while it waits for an answer of the host, except for memory.

#[cfg(target_os = "wasi")]
mod proxy_wasm;

#[cfg(target_os = "wasi")]
mod abi;

#[cfg(not(target_os = "wasi"))]
mod component;

use std::cell::Cell;

use crate::native::NativeFactory;

#[cfg(not(target_os = "wasi"))]
pub use component::{ExchangeRef, PluginRef};
#[cfg(target_os = "wasi")]
pub use proxy_wasm::{ExchangeRef, PluginRef};

thread_local! {
    static FACTORY: Cell<Option<NativeFactory>> = const { Cell::new(None) };
}

/// Called once by what [`filter!`](crate::filter!) emits, before anything else.
pub fn start(factory: NativeFactory) {
    #[cfg(target_os = "wasi")]
    proxy_wasm::run_constructors();
    FACTORY.set(Some(factory));
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.to_string();
        #[cfg(target_os = "wasi")]
        proxy_wasm::log_panic(&message);
        #[cfg(not(target_os = "wasi"))]
        component::log_panic(&message);
    }));
}
