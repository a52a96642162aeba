//! A Proxy-Wasm module, ABI 0.2.1.
//!
//! A module may hold several plugins (root contexts), which share its memory. A callback runs on behalf of a
//! context; to act on another one, the effective context is switched, and switched back when it is needed.
#![allow(
    unsafe_code,
    reason = "the ABI passes pointers and is exported under fixed names"
)]

mod exports;

mod plugin;

mod exchange;

mod returned;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::abi::proxy_log;
use crate::host::{CallId, LogLevel};
use crate::plugin::{Exchange, Interest, Plugin};

/// The host of one plugin.
#[derive(Clone)]
pub struct PluginRef(Rc<Cancelled>);

/// Calls whose answers are not wanted. The ABI cannot cancel.
type Cancelled = RefCell<Vec<CallId>>;

/// The host of one exchange.
#[derive(Clone)]
pub struct ExchangeRef {
    context: u32,
}

struct Root {
    host: PluginRef,
    plugin: Option<Rc<dyn Plugin>>,
}

struct Part {
    interest: Interest,
    exchange: Box<dyn Exchange>,
}

thread_local! {
    /// There are few.
    static ROOTS: RefCell<Vec<(u32, Root)>> = const { RefCell::new(Vec::new()) };
    static PARTS: RefCell<HashMap<u32, Part>> = RefCell::default();
    /// The context that the host takes calls for.
    static EFFECTIVE: Cell<u32> = const { Cell::new(0) };
}

/// Static constructors of C code. Calling them here keeps the linker from wrapping every export in a call to them.
pub(super) fn run_constructors() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: `_initialize` is called once, and nothing else calls the constructors.
    unsafe { __wasm_call_ctors() };
}

pub(super) fn log_panic(message: &str) {
    // SAFETY: the message is readable for its length.
    unsafe { proxy_log(level_number(LogLevel::Critical), message.as_ptr(), message.len()) };
}

fn level_number(level: LogLevel) -> u32 {
    match level {
        LogLevel::Trace => 0,
        LogLevel::Debug => 1,
        LogLevel::Info => 2,
        LogLevel::Warn => 3,
        LogLevel::Error => 4,
        LogLevel::Critical => 5,
    }
}
