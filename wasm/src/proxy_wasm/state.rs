//! What the host keeps for one VM: contexts, open calls, metrics, and which context is asking.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use leno_sdk::host::{ExchangeHost, LogLevel, PluginHost};
use leno_sdk::plugin::CallResponse;
use wasmtime::{Memory, TypedFunc};

use super::tables::{Calls, Metrics};
use crate::deadline::Deadline;
use crate::inspect::ProxyWasmVersion;
use crate::trap::MemoryLimit;
use crate::worker::PluginOptions;

/// Behind every store of a Proxy-Wasm guest.
pub(crate) struct State {
    pub(super) version: ProxyWasmVersion,
    pub(super) limit: MemoryLimit,
    pub(super) deadline: Deadline,
    pub(super) memory: Option<Memory>,
    pub(super) allocator: Option<Rc<TypedFunc<u32, u32>>>,
    /// The allocator is running.
    pub(super) allocating: bool,
    pub(super) vm_configuration: Vec<u8>,
    pub(super) environment: Vec<(String, String)>,
    /// All live contexts: roots and exchanges, in one sequence of ids.
    pub(super) contexts: HashMap<u32, Context, foldhash::fast::RandomState>,
    pub(super) next_context: u32,
    /// The context that the running callback was made with.
    pub(super) current: u32,
    /// The one that host calls act on; the guest may change it until the callback ends.
    pub(super) effective: Option<Context>,
    /// The answer that is being delivered.
    pub(super) response: Option<CallResponse>,
    pub(super) calls: Calls,
    pub(super) metrics: Metrics,
    /// Roots whose `on_done` asked for time, until `proxy_done`.
    pub(super) pending_done: Vec<u32>,
    /// Roots that are to be deleted after the running callback.
    pub(super) done: Vec<u32>,
    /// For answers; kept to save allocations.
    pub(super) scratch: Vec<u8>,
    /// Unfinished lines of standard output and standard error.
    pub(super) lines: [Vec<u8>; 2],
    /// The last lines that were logged while a plugin starts.
    pub(super) tail: Option<VecDeque<String>>,
    /// A call over gRPC was refused, and the log says so.
    pub(super) refused_grpc: bool,
}

/// Whom a host call acts for.
#[derive(Clone)]
pub(crate) struct Context {
    pub(super) root: Rc<Root>,
    /// `None`: the root itself.
    pub(super) exchange: Option<Rc<dyn ExchangeHost>>,
}

/// A plugin in its VM.
pub(crate) struct Root {
    pub(super) id: u32,
    pub(super) host: Rc<dyn PluginHost>,
    pub(super) vm_id: String,
    pub(super) options: PluginOptions,
    /// Exchanges that have not ended.
    pub(super) open: Cell<usize>,
    pub(super) shut_down: Cell<bool>,
}

impl State {
    pub(super) fn new(version: ProxyWasmVersion, memory_limit: usize) -> Self {
        Self {
            version,
            limit: MemoryLimit::new(memory_limit, super::MAX_TABLE_ELEMENTS),
            deadline: Deadline::default(),
            memory: None,
            allocator: None,
            allocating: false,
            vm_configuration: Vec::new(),
            environment: Vec::new(),
            contexts: HashMap::default(),
            next_context: 1,
            current: 0,
            effective: None,
            response: None,
            calls: Calls::default(),
            metrics: Metrics::default(),
            pending_done: Vec::new(),
            done: Vec::new(),
            scratch: Vec::new(),
            lines: [Vec::new(), Vec::new()],
            tail: None,
            refused_grpc: false,
        }
    }

    /// An id that no live context has.
    pub(super) fn new_context_id(&mut self) -> u32 {
        loop {
            let id = self.next_context;
            self.next_context = self.next_context.checked_add(1).unwrap_or(1);
            if !self.contexts.contains_key(&id) {
                return id;
            }
        }
    }

    pub(super) fn root(&self) -> Option<&Rc<Root>> {
        self.effective.as_ref().map(|context| &context.root)
    }

    pub(super) fn exchange(&self) -> Option<&dyn ExchangeHost> {
        self.effective
            .as_ref()
            .and_then(|context| context.exchange.as_deref())
    }

    pub(super) fn log(&mut self, level: LogLevel, message: &[u8]) {
        /// What an operator gets to see of a plugin that does not start.
        const TAIL: usize = 8;
        if let Some(tail) = &mut self.tail {
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(String::from_utf8_lossy(message).into_owned());
        }
        if let Some(root) = self.root() {
            root.host.log(level, message);
        }
    }

    /// Logs what was written without an end of line, as the last words of a guest that panics often are.
    pub(super) fn flush_lines(&mut self) {
        for (stream, level) in [(0, LogLevel::Info), (1, LogLevel::Error)] {
            let line = std::mem::take(&mut self.lines[stream]);
            if !line.is_empty() {
                self.log(level, &line);
            }
        }
    }
}

impl Root {
    pub(super) fn new(id: u32, vm_id: String, options: PluginOptions, host: Rc<dyn PluginHost>) -> Self {
        Self {
            id,
            host,
            vm_id,
            options,
            open: Cell::new(0),
            shut_down: Cell::new(false),
        }
    }
}
