//! What the log says about a guest that broke, and the memory limit that often is the reason.

use leno_sdk::plugin::Trap;
use wasmtime::{ResourceLimiter, WasmBacktrace};

/// Refuses growth beyond the limit, and remembers that it did: what follows in the guest is a bare `unreachable`.
pub(crate) struct MemoryLimit {
    memory: usize,
    table: usize,
    refused: Option<usize>,
}

impl MemoryLimit {
    pub(crate) fn new(memory: usize, table: usize) -> Self {
        Self {
            memory,
            table,
            refused: None,
        }
    }

    /// A new callback begins: what was refused before does not explain what happens in it.
    pub(crate) fn begin(&mut self) {
        self.refused = None;
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= self.memory;
        if !fits {
            self.refused = Some(desired);
        }
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table)
    }
}

/// One line with the function and the reason, then the guest's frames.
pub(crate) fn describe(function: &str, error: &wasmtime::Error, limit: &MemoryLimit) -> Trap {
    let reason = match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::Interrupt) => "it ran longer than its deadline".to_owned(),
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let mut text = format!("{function} failed: {reason}");
    if let Some(wanted) = limit.refused {
        text.push_str(&format!(
            " (before, it asked for {wanted} bytes of memory, and the limit is {})",
            limit.memory
        ));
    }
    let frames = error
        .downcast_ref::<WasmBacktrace>()
        .map_or(&[][..], WasmBacktrace::frames);
    if !frames.is_empty() {
        text.push_str("\nin-VM backtrace:");
    }
    for (number, frame) in frames.iter().enumerate() {
        let name = frame
            .func_name()
            .map_or_else(|| format!("function {}", frame.func_index()), readable);
        let offset = frame.module_offset().unwrap_or_default();
        text.push_str(&format!("\n  {number}: {offset:#x} - {name}"));
    }
    Trap(text)
}

/// Mangled names of Rust carry a hash that helps nobody.
fn readable(name: &str) -> String {
    match name.rsplit_once("::h") {
        Some((start, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            start.to_owned()
        }
        _ => name.to_owned(),
    }
}
