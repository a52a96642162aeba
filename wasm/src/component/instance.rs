//! One instance of a component, on one thread. Every call into it goes through [`Instance::call`], which sets the
//! deadline, takes the time, and notices when the guest breaks.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use leno_sdk::host::{ExchangeHost, LogLevel, PluginHost};
use leno_sdk::plugin::Trap;
use wasmtime::Store;

use super::bindings::Filter;
use super::bindings::exports::leno::filter::plugin::Guest;
use super::code::Code;
use crate::deadline::{Deadline, watch};
use crate::engine::Engine;
use crate::trap::{MemoryLimit, describe};

/// Behind the store of a component.
pub(super) struct State {
    limit: MemoryLimit,
    deadline: Deadline,
    pub(super) host: Rc<dyn PluginHost>,
    pub(super) exchanges: HashMap<u64, Rc<dyn ExchangeHost>, foldhash::fast::RandomState>,
    next: u64,
    /// The last lines that were logged while the plugin starts.
    tail: Option<VecDeque<String>>,
}

impl State {
    pub(super) fn log(&mut self, level: LogLevel, message: &[u8]) {
        /// What an operator gets to see of a plugin that does not start.
        const TAIL: usize = 8;
        if let Some(tail) = &mut self.tail {
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(String::from_utf8_lossy(message).into_owned());
        }
        self.host.log(level, message);
    }
}

/// The store is given back as soon as the guest has broken.
pub(super) struct Instance {
    store: RefCell<Option<Store<State>>>,
    filter: Filter,
    host: Rc<dyn PluginHost>,
    broken: Cell<bool>,
    /// What it logged before it broke, if it was starting.
    last_words: RefCell<VecDeque<String>>,
    /// Of the next callback.
    deadline: Cell<Duration>,
    engine: Engine,
}

impl Instance {
    /// Its callbacks may take as long as a start, until [`Self::started`].
    pub(super) fn new(engine: &Engine, code: &Code, host: Rc<dyn PluginHost>) -> Result<Rc<Self>, Trap> {
        let limits = engine.limits();
        let state = State {
            limit: MemoryLimit::new(limits.memory, crate::proxy_wasm::MAX_TABLE_ELEMENTS),
            deadline: Deadline::default(),
            host: Rc::clone(&host),
            exchanges: HashMap::default(),
            next: 1,
            tail: Some(VecDeque::new()),
        };
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.limit);
        watch(&mut store, |state| &mut state.deadline);
        let ticks = store.data_mut().deadline.begin(limits.start);
        store.set_epoch_deadline(ticks);
        let filter = match code.linked.instantiate(&mut store) {
            Ok(filter) => filter,
            Err(error) => return Err(describe("instantiation", &error, &store.data().limit)),
        };
        Ok(Rc::new(Self {
            store: RefCell::new(Some(store)),
            filter,
            host,
            broken: Cell::new(false),
            last_words: RefCell::default(),
            deadline: Cell::new(limits.start),
            engine: engine.clone(),
        }))
    }

    /// From now on deadlines are those of requests. Returns what it logged until now.
    pub(super) fn started(&self) -> Vec<String> {
        self.deadline.set(self.engine.limits().call);
        let tail = self.with_state(|state| state.tail.take()).flatten();
        tail.unwrap_or_else(|| self.last_words.take()).into()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Gives an exchange its id.
    pub(super) fn enter(&self, exchange: Rc<dyn ExchangeHost>) -> Option<u64> {
        self.with_state(|state| {
            let id = state.next;
            state.next += 1;
            state.exchanges.insert(id, exchange);
            id
        })
    }

    pub(super) fn leave(&self, id: u64) {
        self.with_state(|state| state.exchanges.remove(&id));
    }

    /// Makes one call; `exchange` is the one that it is about, zero for none.
    pub(super) fn call<R>(
        &self,
        exchange: u64,
        name: &'static str,
        act: impl FnOnce(&Guest, &mut Store<State>) -> wasmtime::Result<R>,
    ) -> Result<R, Trap> {
        let mut guard = self
            .store
            .try_borrow_mut()
            .map_err(|_| Trap(format!("{name} was not called: the guest is in another callback")))?;
        let Some(store) = guard.as_mut() else {
            return Err(Trap(format!(
                "{name} was not called: the guest has failed before"
            )));
        };
        let state = store.data_mut();
        state.limit.begin();
        let ticks = state.deadline.begin(self.deadline.get());
        store.set_epoch_deadline(ticks);
        let begun = Instant::now();
        let result = act(self.filter.leno_filter_plugin(), store);
        let took = begun.elapsed();
        drop(guard);
        let result = result.map_err(|error| self.break_down(exchange, name, &error));
        self.host.account(name, took);
        result
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut store = self.store.try_borrow_mut().ok()?;
        store.as_mut().map(|store| act(store.data_mut()))
    }

    /// The guest is lost, with every exchange in it. The one that was just called for learns it from its result,
    /// all others through their hosts.
    #[cold]
    fn break_down(&self, exchange: u64, name: &'static str, error: &wasmtime::Error) -> Trap {
        self.broken.set(true);
        let Some(mut store) = self.store.borrow_mut().take() else {
            return Trap(format!("{name} failed"));
        };
        self.last_words
            .replace(store.data_mut().tail.take().unwrap_or_default());
        let trap = describe(name, error, &store.data().limit);
        let mut exchanges = std::mem::take(&mut store.data_mut().exchanges);
        drop(store);
        exchanges.remove(&exchange);
        exchanges.into_values().for_each(|exchange| exchange.fail());
        trap
    }
}
