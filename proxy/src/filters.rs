//! Configured filters: prepared once for the process, run by every worker.
//!
//! The main side makes one [`Shared`], and for each filter configuration calls [`prepare`] (slow: on a thread that
//! may block). Each worker makes one [`Slots`](slots::Slots) within its `LocalSet`, and turns each `Arc<Prepared>`
//! into an `Rc<FilterSlot>`: the same one as long as anybody still holds it. A new configuration is a new slot; the
//! old one lives until its last exchange has ended. A [`Chain`](crate::chain::Chain) takes the slots of an exchange
//! in the order of the configuration; a route that disables a filter, or brings another configuration for it, is a
//! matter of which slots it is given.

pub mod slots;

pub mod slot;

pub mod backoff;

pub mod host;

pub mod metrics;

pub mod shared_data;

pub mod queues;

mod prepare;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use leno_model::bootstrap::Node;
use leno_sdk::native::NativeFactory;
use leno_wasm::{Engine, Module, ModuleError};
use sha2::{Digest, Sha256};

use crate::filters::metrics::MetricNames;
use crate::filters::queues::Queues;
use crate::filters::shared_data::NameSpaces;
use crate::stats::Registry;

pub use prepare::{Prepared, Refusal, absent, prepare};

/// Who a filter is, for logs, statistics and properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `<namespace>.<name>` of the plugin.
    pub name: String,
    /// The root context within its module.
    pub root_id: String,
    /// The name space of its shared data and queues.
    pub vm_id: String,
}

/// What the filters of a process share, over all workers.
pub struct Shared {
    engine: Engine,
    natives: Vec<NativeFactory>,
    node: Arc<Node>,
    registry: Arc<Registry>,
    modules: Mutex<HashMap<[u8; 32], Weak<Module>>>,
    name_spaces: NameSpaces,
    queues: Queues,
    metric_names: MetricNames,
}

impl Shared {
    /// With the filters that are linked into this program. A configuration asks for one of them by giving its name
    /// as inline code, where others have a module: Envoy's null VM works like that.
    #[must_use]
    pub fn new(engine: Engine, registry: Arc<Registry>, natives: Vec<NativeFactory>) -> Self {
        Self {
            engine,
            natives,
            node: Arc::default(),
            registry,
            modules: Mutex::default(),
            name_spaces: NameSpaces::default(),
            queues: Queues::default(),
            metric_names: MetricNames::default(),
        }
    }

    /// The same on a proxy of this name and place.
    #[must_use]
    pub fn on(mut self, node: Arc<Node>) -> Self {
        self.node = node;
        self
    }

    /// What a guest that is tried out finds: the same proxy, engine, code and names of queues, but nothing that it
    /// could change for others.
    fn apart(&self) -> Self {
        Self {
            queues: self.queues.named_alike(),
            ..Self::new(self.engine.clone(), Registry::new(), self.natives.clone()).on(self.node.clone())
        }
    }

    /// Says whether the code of the filter `name`, which has to be fetched, is there.
    pub fn fetched(&self, name: &str, is_there: bool) {
        let what = if is_there { "successes" } else { "failures" };
        self.registry
            .shared_counter(&format!("wasm.remote_load_fetch_{what}"), &[])
            .inc();
        self.registry
            .set_gauge(&format!("wasm.{name}.code_missing"), u64::from(!is_there));
    }

    fn native(&self, name: &[u8]) -> Option<NativeFactory> {
        self.natives
            .iter()
            .find(|native| native.name.as_bytes() == name)
            .copied()
    }

    /// Compiles, unless somebody still holds what was compiled from the same bytes.
    fn module(&self, code: &[u8]) -> Result<Arc<Module>, ModuleError> {
        let digest: [u8; 32] = Sha256::digest(code).into();
        let known = self.modules().get(&digest).and_then(Weak::upgrade);
        if let Some(module) = known {
            return Ok(module);
        }
        // Without the lock: other modules need not wait. Two that come at once both compile.
        let module = Arc::new(self.engine.compile(code)?);
        let mut modules = self.modules();
        modules.retain(|_, module| module.strong_count() > 0);
        modules.insert(digest, Arc::downgrade(&module));
        Ok(module)
    }

    fn modules(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Weak<Module>>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
