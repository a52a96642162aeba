//! The process-wide engine: what guests may use, how long they may run, and where their memory comes from.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::module::{Module, ModuleError};

/// What a guest may take. The same for all guests of an [`Engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory of one VM.
    pub memory: usize,
    /// How long one callback may run before it is stopped, which breaks its VM. Time in which the system did not
    /// let its thread run is not held against it.
    pub call: Duration,
    /// How long starting may take, each of its callbacks: start functions, `on_vm_start`, `on_configure`.
    pub start: Duration,
    /// VMs that can live at once, over all workers; their address space is set aside when the engine is made.
    /// Zero: as many as memory holds, each mapped when it starts (slower; for tools that run few).
    pub instances: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            call: Duration::from_millis(100),
            start: Duration::from_secs(5),
            instances: 256,
        }
    }
}

/// The engine could not be made with these limits on this machine.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the wasm engine with room for {instances} instances: {reason}")]
pub struct EngineError {
    instances: u32,
    reason: String,
}

/// Compiles modules and lets their instances run. Cheap to clone; make one per process.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    engine: wasmtime::Engine,
    limits: Limits,
    linker: wasmtime::Linker<crate::proxy_wasm::State>,
    /// Dropping it stops the ticker.
    _ticker: mpsc::Sender<()>,
}

/// The granularity of deadlines.
const TICK: Duration = Duration::from_millis(1);

impl Engine {
    /// Makes an engine and the thread that watches deadlines; the thread ends with the last clone.
    ///
    /// # Errors
    /// When the address space for so many instances cannot be had.
    pub fn new(limits: Limits) -> Result<Self, EngineError> {
        let refused = |reason: String| EngineError {
            instances: limits.instances,
            reason,
        };
        let engine =
            wasmtime::Engine::new(&config(&limits)).map_err(|error| refused(format!("{error:#}")))?;
        let linker = crate::proxy_wasm::linker(&engine).map_err(|error| refused(format!("{error:#}")))?;
        let ticker = ticker(&engine).map_err(|error| refused(format!("no ticker thread: {error}")))?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                limits,
                linker,
                _ticker: ticker,
            }),
        })
    }

    /// Checks a module and makes native code of it: about a millisecond per KiB, so never on a worker's thread.
    ///
    /// # Errors
    /// Everything that [`crate::inspect()`] finds, and what only compiling can find.
    pub fn compile(&self, bytes: &[u8]) -> Result<Module, ModuleError> {
        Module::compile(self, bytes)
    }

    /// The limits it was made with.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.engine
    }

    pub(crate) fn proxy_wasm(&self) -> &wasmtime::Linker<crate::proxy_wasm::State> {
        &self.inner.linker
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Engine")
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

fn config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // With it, a call into a component costs 3.6 times as much; our interface is synchronous.
        .concurrency_support(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20));
    if limits.instances > 0 {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    }
    config
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.max_memory_size(limits.memory)
        .total_memories(limits.instances)
        // A component brings two small instances with it that hold its imports, one of them with a table.
        .total_tables(limits.instances.saturating_mul(4))
        .total_core_instances(limits.instances.saturating_mul(4))
        .total_component_instances(limits.instances)
        .table_elements(crate::proxy_wasm::MAX_TABLE_ELEMENTS)
        .max_memories_per_component(1)
        // A slot that is used again keeps its first MiB mapped, and only pages that were written are cleared.
        // Without the page map scan, keeping it would mean clearing all of it.
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}

fn ticker(engine: &wasmtime::Engine) -> std::io::Result<mpsc::Sender<()>> {
    let (stop, stopped) = mpsc::channel::<()>();
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("wasm-ticker".into())
        .spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })?;
    Ok(stop)
}
