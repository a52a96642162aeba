//! A VM: one store with one instance, on one thread, shared by all plugins of its key. Every call into a guest goes
//! through [`Vm::call`], which sets the deadline, takes the time, and notices when the guest breaks.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use leno_sdk::plugin::Trap;
use wasmtime::{Instance, Store, TypedFunc, WasmParams, WasmResults};

use super::code::Code;
use super::exports::Exports;
use super::imports::Exit;
use super::state::{Context, Root, State};
use crate::deadline::watch;
use crate::engine::Engine;
use crate::trap::describe;
use crate::worker::{StartError, VmOptions};

/// The store is given back as soon as the guest has broken.
pub(crate) struct Vm {
    store: RefCell<Option<Store<State>>>,
    pub(super) exports: Exports,
    broken: Cell<bool>,
    /// What it logged before it broke, if it was starting.
    last_words: RefCell<VecDeque<String>>,
    /// Of the next callback.
    deadline: Cell<Duration>,
    engine: Engine,
}

impl Vm {
    /// Starts an instance, with `root` (its first plugin) as the one that hears its log.
    pub(super) fn new(
        engine: &Engine,
        code: &Code,
        options: &VmOptions,
        root: &Rc<Root>,
    ) -> Result<Rc<Self>, StartError> {
        let limits = engine.limits();
        let mut state = State::new(code.version, limits.memory);
        state.vm_configuration.clone_from(&options.configuration);
        state.environment = options
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        state.tail = Some(VecDeque::new());
        state.effective = Some(Context {
            root: Rc::clone(root),
            exchange: None,
        });
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.limit);
        watch(&mut store, |state| &mut state.deadline);
        let ticks = store.data_mut().deadline.begin(limits.start);
        store.set_epoch_deadline(ticks);
        let allowed = options.allowed_capabilities.as_ref();
        let exports =
            boot(&mut store, engine, code, allowed).map_err(|failure| failure.explain(&mut store))?;
        store.data_mut().effective = None;
        Ok(Rc::new(Self {
            store: RefCell::new(Some(store)),
            exports,
            broken: Cell::new(false),
            last_words: RefCell::default(),
            deadline: Cell::new(limits.call),
            engine: engine.clone(),
        }))
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Callbacks that come while `act` runs may take as long as a start, and what they log is kept.
    pub(super) fn starting<T>(&self, act: impl FnOnce() -> T) -> (T, Vec<String>) {
        let limits = self.engine.limits();
        self.deadline.set(limits.start);
        self.with_state(|state| {
            state.tail.get_or_insert_default();
        });
        let result = act();
        self.deadline.set(limits.call);
        let tail = self.with_state(|state| state.tail.take()).flatten();
        (result, tail.unwrap_or_else(|| self.last_words.take()).into())
    }

    /// `None` when the guest has broken, or is in a callback.
    pub(super) fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut store = self.store.try_borrow_mut().ok()?;
        store.as_mut().map(|store| act(store.data_mut()))
    }

    /// Makes one call. `id` and `context` are what host calls act on meanwhile.
    pub(super) fn call<P: WasmParams, R: WasmResults>(
        &self,
        (id, context): (u32, &Context),
        name: &'static str,
        function: &TypedFunc<P, R>,
        parameters: P,
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
        state.enter(id, context);
        let ticks = state.deadline.begin(self.deadline.get());
        store.set_epoch_deadline(ticks);
        let begun = Instant::now();
        let result = function.call(&mut *store, parameters);
        let took = begun.elapsed();
        let result = match result {
            Ok(value) => {
                let done = store.data_mut().leave();
                drop(guard);
                for root in done {
                    self.delete_root(root);
                }
                Ok(value)
            }
            Err(error) => {
                drop(guard);
                Err(self.break_down(id, name, &error))
            }
        };
        context.root.host.account(name, took);
        result
    }

    /// Ends a root whose exchanges have ended: `on_done`, and `on_delete` unless the guest asks for time.
    pub(super) fn finish_root(&self, root: &Rc<Root>) {
        let context = Context {
            root: Rc::clone(root),
            exchange: None,
        };
        if let Some(done) = &self.exports.done
            && self.call((root.id, &context), "proxy_on_done", done, root.id) == Ok(0)
        {
            self.with_state(|state| state.pending_done.push(root.id));
            return;
        }
        self.delete_root(root.id);
    }

    fn delete_root(&self, id: u32) {
        let Some(Some(context)) = self.with_state(|state| state.contexts.get(&id).cloned()) else {
            return;
        };
        if let Some(delete) = &self.exports.delete {
            // A guest that breaks here is broken for its other plugins, which is all that there is to say.
            let _ = self.call((id, &context), "proxy_on_delete", delete, id);
        }
        let calls = self.with_state(|state| {
            state.contexts.remove(&id);
            state.calls.close_all(id)
        });
        for call in calls.unwrap_or_default() {
            context.root.host.cancel_call(call);
        }
    }

    /// The guest is lost, with every exchange of every plugin in it. The one that was just called for learns it
    /// from its result, all others through their hosts.
    #[cold]
    fn break_down(&self, id: u32, name: &'static str, error: &wasmtime::Error) -> Trap {
        self.broken.set(true);
        let Some(mut store) = self.store.borrow_mut().take() else {
            return Trap(format!("{name} failed"));
        };
        let state = store.data_mut();
        state.flush_lines();
        state.effective = None;
        self.last_words.replace(state.tail.take().unwrap_or_default());
        let trap = describe(name, error, &state.limit);
        let mut contexts = std::mem::take(&mut state.contexts);
        let mut calls = std::mem::take(&mut state.calls);
        drop(store);
        for root in contexts
            .values()
            .filter(|context| context.exchange.is_none())
            .map(|context| &context.root)
        {
            calls
                .close_all(root.id)
                .into_iter()
                .for_each(|call| root.host.cancel_call(call));
        }
        contexts.remove(&id);
        for exchange in contexts.into_values().filter_map(|context| context.exchange) {
            exchange.fail();
        }
        trap
    }
}

impl State {
    fn enter(&mut self, id: u32, context: &Context) {
        self.current = id;
        self.effective = Some(context.clone());
        self.limit.begin();
    }

    /// Roots that are to be deleted now.
    fn leave(&mut self) -> Vec<u32> {
        self.current = 0;
        self.effective = None;
        std::mem::take(&mut self.done)
    }
}

struct BootFailure {
    callback: &'static str,
    error: wasmtime::Error,
}

impl BootFailure {
    fn explain(self, store: &mut Store<State>) -> StartError {
        let state = store.data_mut();
        state.flush_lines();
        let log = state.tail.take().unwrap_or_default().into();
        StartError::Failed {
            trap: describe(self.callback, &self.error, &state.limit),
            log,
        }
    }
}

/// Instantiates, finds the exports and runs what a guest runs before its first callback.
fn boot(
    store: &mut Store<State>,
    engine: &Engine,
    code: &Code,
    allowed: Option<&BTreeSet<String>>,
) -> Result<Exports, BootFailure> {
    let failed = |error| BootFailure {
        callback: "instantiation",
        error,
    };
    let linked = code.linked(engine, allowed).map_err(failed)?;
    let instance = linked.instantiate(&mut *store).map_err(failed)?;
    let memory = instance
        .get_memory(&mut *store, "memory")
        .ok_or_else(|| failed(wasmtime::format_err!("the module exports no memory")))?;
    store.data_mut().memory = Some(memory);
    // Envoy's order; the specification says the opposite one.
    for name in ["malloc", "proxy_on_memory_allocate"] {
        if let Ok(allocator) = instance.get_typed_func(&mut *store, name) {
            store.data_mut().allocator = Some(Rc::new(allocator));
            break;
        }
    }
    let mismatch = |reason: String| failed(wasmtime::format_err!("{reason}"));
    let exports = Exports::find(store, &instance, allowed).map_err(mismatch)?;
    if run(store, &instance, "_initialize")? {
        if let Ok(main) = instance.get_typed_func::<(u32, u32), u32>(&mut *store, "main") {
            survive_exit("main", main.call(&mut *store, (0, 0)).map(drop))?;
        } else if let Ok(main) = instance.get_typed_func::<(), u32>(&mut *store, "__main_void") {
            survive_exit("__main_void", main.call(&mut *store, ()).map(drop))?;
        }
    } else {
        run(store, &instance, "_start")?;
    }
    Ok(exports)
}

fn run(store: &mut Store<State>, instance: &Instance, name: &'static str) -> Result<bool, BootFailure> {
    let Ok(function) = instance.get_typed_func::<(), ()>(&mut *store, name) else {
        return Ok(false);
    };
    survive_exit(name, function.call(&mut *store, ()))?;
    Ok(true)
}

/// A `main` that ends with `exit(0)` has done what it was called for.
fn survive_exit(callback: &'static str, result: wasmtime::Result<()>) -> Result<(), BootFailure> {
    match result {
        Err(error) if error.downcast_ref::<Exit>().is_some_and(|exit| exit.0 == 0) => Ok(()),
        other => other.map_err(|error| BootFailure { callback, error }),
    }
}
