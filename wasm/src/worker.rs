//! Guests of one worker thread: which VM a plugin runs in, and how it starts.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::{Rc, Weak};

use leno_sdk::host::PluginHost;
use leno_sdk::plugin::{Plugin, Trap};

use crate::engine::Engine;
use crate::module::{Code, Module};

/// What decides in which VM a plugin runs: plugins of the same module with equal options share one, with its memory.
///
/// A component never shares; of these options it uses none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VmOptions {
    /// Names the VM. Keep tenants apart by it.
    pub vm_id: String,
    /// Given to `on_vm_start`.
    pub configuration: Vec<u8>,
    /// Visible to the guest through WASI.
    pub environment: BTreeMap<String, String>,
    /// Host functions and callbacks by name; `None` allows all.
    pub allowed_capabilities: Option<BTreeSet<String>>,
}

/// One plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginOptions {
    /// For `plugin_name` and the operator.
    pub name: String,
    /// Which of a module's plugins it is. A component has one.
    pub root_id: String,
    /// Given to `on_configure`.
    pub configuration: Vec<u8>,
    /// Headers that are stopped by action 1 let body callbacks run, as the specification says. Envoy's default is
    /// no: then action 1 holds everything. For Proxy-Wasm only.
    pub allow_on_headers_stop_iteration: bool,
}

/// Why a plugin did not start. A module that starts on one worker can be expected to start on all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The guest broke.
    #[error("{trap}{}", tail(.log))]
    Failed {
        /// In what, and why.
        trap: Trap,
        /// The last lines that it logged.
        log: Vec<String>,
    },
    /// A component said why its configuration is wrong.
    #[error("the plugin refuses its configuration: {reason}{}", tail(.log))]
    Configuration {
        /// In its words.
        reason: String,
        /// The last lines that it logged.
        log: Vec<String>,
    },
    /// A Proxy-Wasm guest said no: to its configuration, most likely.
    #[error("{callback} returned false{}", tail(.log))]
    Refused {
        /// That said so.
        callback: &'static str,
        /// The last lines that it logged: perhaps it says why.
        log: Vec<String>,
    },
}

/// Starts plugins on the thread that it lives on.
pub struct Worker {
    engine: Engine,
    vms: RefCell<HashMap<VmKey, Weak<crate::proxy_wasm::Vm>>>,
}

#[derive(PartialEq, Eq, Hash)]
struct VmKey {
    digest: [u8; 32],
    options: VmOptions,
}

impl Worker {
    /// Without any guest yet.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            vms: RefCell::default(),
        }
    }

    /// Starts a plugin in the VM that its options name, or in a new one; a VM that has broken is replaced.
    ///
    /// A guest that breaks while it starts breaks the other plugins of its VM. To try a configuration out, start it
    /// on a `Worker` of its own and drop both; that also shows whether it starts at all.
    ///
    /// # Errors
    /// The guest broke, or refused its configuration.
    pub fn plugin(
        &self,
        module: &Module,
        vm_options: &VmOptions,
        options: &PluginOptions,
        host: Rc<dyn PluginHost>,
    ) -> Result<Rc<dyn Plugin>, StartError> {
        let code = match module.code() {
            Code::ProxyWasm(code) => code,
            Code::Component(code) => return crate::component::start(&self.engine, code, options, host),
        };
        let key = VmKey {
            digest: module.digest(),
            options: vm_options.clone(),
        };
        let live = self
            .vms
            .borrow()
            .get(&key)
            .and_then(Weak::upgrade)
            .filter(|vm| !vm.is_broken());
        let (vm, plugin) = crate::proxy_wasm::start(&self.engine, code, live, (vm_options, options), host)?;
        let mut vms = self.vms.borrow_mut();
        vms.retain(|_, vm| vm.strong_count() > 0);
        vms.insert(key, Rc::downgrade(&vm));
        Ok(plugin)
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Worker")
            .field("vms", &self.vms.borrow().len())
            .finish_non_exhaustive()
    }
}

fn tail(log: &[String]) -> String {
    if log.is_empty() {
        return String::new();
    }
    format!("; it logged: {}", log.join(" | "))
}
