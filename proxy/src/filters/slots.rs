//! All filters of one worker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use leno_model::bootstrap::Node;
use leno_model::invalid::Invalid;
use leno_sdk::host::{CallId, ExchangeHost, QueueId};
use leno_sdk::plugin::{CallResponse, Exchange, Interest, Plugin, Trap};

use crate::filters::host::{Caller, Host};
use crate::filters::metrics::FilterStats;
use crate::filters::prepare::Prepared;
use crate::filters::slot::FilterSlot;
use crate::filters::{Identity, Shared};

/// Starts filters on the worker's thread, within its `LocalSet`.
pub struct Slots {
    place: Rc<Place>,
    /// By the address of what they were prepared as; a slot keeps that alive.
    live: RefCell<HashMap<*const Prepared, Weak<FilterSlot>>>,
}

/// What plugins of one worker start with.
pub(super) struct Place {
    pub(super) shared: Arc<Shared>,
    pub(super) guests: leno_wasm::Worker,
    /// `None` to try guests out.
    pub(super) caller: Option<Rc<dyn Caller>>,
    pub(super) node: Arc<Node>,
}

impl Slots {
    /// Without any filter yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, caller: Rc<dyn Caller>, node: Arc<Node>) -> Self {
        let guests = leno_wasm::Worker::new(shared.engine.clone());
        Self {
            place: Rc::new(Place {
                shared,
                guests,
                caller: Some(caller),
                node,
            }),
            live: RefCell::default(),
        }
    }

    /// The filter of this configuration: the one that runs already, or a new one.
    ///
    /// # Errors
    /// The guest does not start, although it did when it was prepared.
    pub fn start(&self, prepared: &Arc<Prepared>) -> Result<Rc<FilterSlot>, Invalid> {
        let key = Arc::as_ptr(prepared);
        if let Some(slot) = self.live.borrow().get(&key).and_then(Weak::upgrade) {
            return Ok(slot);
        }
        let identity = Rc::new(prepared.identity.clone());
        let stats = Rc::new(FilterStats::new(
            self.place.shared.registry.clone(),
            &identity.name,
        ));
        let again = {
            let (place, prepared) = (self.place.clone(), prepared.clone());
            let named = (identity.clone(), stats.clone());
            move || place.plugin(&prepared, &named)
        };
        let plugin = if prepared.is_absent() {
            None
        } else {
            Some(again().map_err(|reason| Invalid::new("config", reason))?)
        };
        let slot = FilterSlot::new(
            (identity, stats),
            (prepared.failure, prepared.backoff),
            plugin,
            Box::new(again),
        );
        let mut live = self.live.borrow_mut();
        live.retain(|_, slot| slot.strong_count() > 0);
        live.insert(key, Rc::downgrade(&slot));
        Ok(slot)
    }
}

impl Place {
    /// Starts a guest with a host of its own.
    pub(super) fn plugin(
        &self,
        prepared: &Prepared,
        named: &(Rc<Identity>, Rc<FilterStats>),
    ) -> Result<Rc<dyn Plugin>, String> {
        let host = Host::new(
            named.clone(),
            self.node.clone(),
            self.shared.clone(),
            self.caller.clone(),
        );
        let started = prepared.start(&self.guests, host.clone());
        let plugin = match started {
            Ok(plugin) => plugin,
            Err(reason) => {
                host.close();
                return Err(reason);
            }
        };
        host.serve(&plugin);
        let stats = named.1.clone();
        stats.created.inc();
        stats.active.inc();
        Ok(Rc::new(Hosted { plugin, host, stats }))
    }
}

/// A plugin whose tasks end with it.
struct Hosted {
    plugin: Rc<dyn Plugin>,
    host: Rc<Host>,
    stats: Rc<FilterStats>,
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.host.close();
        self.stats.active.dec();
    }
}

impl Plugin for Hosted {
    fn interest(&self) -> Interest {
        self.plugin.interest()
    }
    fn exchange(&self, host: Rc<dyn ExchangeHost>) -> Result<Box<dyn Exchange>, Trap> {
        self.plugin.exchange(host)
    }
    fn on_tick(&self) -> Result<(), Trap> {
        self.plugin.on_tick()
    }
    fn on_queue_ready(&self, queue: QueueId) -> Result<(), Trap> {
        self.plugin.on_queue_ready(queue)
    }
    fn on_call_response(&self, call: CallId, response: &CallResponse) -> Result<(), Trap> {
        self.plugin.on_call_response(call, response)
    }
    fn on_shutdown(&self) {
        self.plugin.on_shutdown();
    }
    fn is_broken(&self) -> bool {
        self.plugin.is_broken()
    }
}
