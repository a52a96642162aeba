//! Makes a configured filter ready to start on every worker, and finds out whether it starts at all.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leno_model::filter::{FailurePolicy, FilterConfig, WasmCode, WasmFilter};
use leno_model::invalid::Invalid;
use leno_sdk::host::PluginHost;
use leno_sdk::native::NativeFactory;
use leno_sdk::plugin::Plugin;
use leno_wasm::{Module, PluginOptions, VmOptions};

use crate::filters::metrics::FilterStats;
use crate::filters::slots::Place;
use crate::filters::{Identity, Shared};

/// A filter that can start on every worker. Shared by all of them.
pub struct Prepared {
    pub(super) identity: Identity,
    pub(super) failure: FailurePolicy,
    /// The first pause before a failed guest starts again.
    pub(super) backoff: Duration,
    guest: Guest,
    vm: VmOptions,
    plugin: PluginOptions,
}

enum Guest {
    Native(NativeFactory),
    Module(Arc<Module>),
    /// Its code has not come yet.
    Absent,
}

/// Why a filter cannot be made ready.
#[derive(Debug)]
pub struct Refusal {
    /// What is wrong, and where.
    pub reason: Invalid,
    /// It asked for a queue that nobody has registered: once another filter has, it may start.
    pub lacks_queue: bool,
}

impl From<Invalid> for Refusal {
    fn from(reason: Invalid) -> Self {
        Self {
            reason,
            lacks_queue: false,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reason.fmt(out)
    }
}

/// Compiles the module and starts it once, apart from everything that serves. Slow: for a thread that may block.
///
/// `code` holds the bytes of the module. For inline code it may be left out.
///
/// # Errors
/// What is wrong with the module, or why it does not start with this configuration. Paths begin at the filter's
/// `typed_config`.
pub fn prepare(config: &FilterConfig, code: Option<&[u8]>, shared: &Shared) -> Result<Prepared, Refusal> {
    let wasm = wasm(config)?;
    let prepared = with_guest(wasm, guest(wasm, code, shared)?);
    prepared.try_out(shared)?;
    Ok(prepared)
}

/// The filter as long as its code is not there: its failure policy answers for it.
///
/// # Errors
/// It is not a guest.
pub fn absent(config: &FilterConfig) -> Result<Prepared, Refusal> {
    Ok(with_guest(wasm(config)?, Guest::Absent))
}

fn wasm(config: &FilterConfig) -> Result<&WasmFilter, Invalid> {
    match config {
        FilterConfig::Wasm(wasm) => Ok(wasm),
        FilterConfig::Router(_) => Err(Invalid::new(
            "",
            "the router is not a guest: there is nothing to prepare",
        )),
    }
}

fn with_guest(wasm: &WasmFilter, guest: Guest) -> Prepared {
    Prepared {
        identity: Identity {
            name: wasm.name.clone(),
            root_id: wasm.root_id.clone(),
            vm_id: wasm.vm.id.clone(),
        },
        failure: wasm.failure,
        backoff: wasm.reload_backoff,
        guest,
        vm: VmOptions {
            vm_id: wasm.vm.id.clone(),
            configuration: wasm.vm.configuration.clone(),
            environment: environment(wasm),
            allowed_capabilities: wasm.capabilities.clone(),
        },
        plugin: PluginOptions {
            name: wasm.name.clone(),
            root_id: wasm.root_id.clone(),
            configuration: wasm.configuration.clone(),
            allow_on_headers_stop_iteration: wasm.allow_on_headers_stop_iteration,
        },
    }
}

impl Prepared {
    /// Who the filter is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether its code has not come yet.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self.guest, Guest::Absent)
    }

    /// Starts it. The error is for the operator.
    pub(super) fn start(
        &self,
        guests: &leno_wasm::Worker,
        host: Rc<dyn PluginHost>,
    ) -> Result<Rc<dyn Plugin>, String> {
        match &self.guest {
            Guest::Native(native) => (native.start)(&self.plugin.configuration, host),
            Guest::Module(module) => guests
                .plugin(module, &self.vm, &self.plugin, host)
                .map_err(|error| error.to_string()),
            Guest::Absent => Err("its module has not been fetched".to_owned()),
        }
    }

    /// As Envoy's canary: a configuration that does not start is refused before it reaches a worker.
    fn try_out(&self, real: &Shared) -> Result<(), Refusal> {
        let shared = Arc::new(real.apart());
        let named = (
            Rc::new(self.identity.clone()),
            Rc::new(FilterStats::new(shared.registry.clone(), &self.identity.name)),
        );
        let place = Place {
            guests: leno_wasm::Worker::new(shared.engine.clone()),
            shared: shared.clone(),
            caller: None,
            node: shared.node.clone(),
        };
        let plugin = place.plugin(self, &named).map_err(|reason| Refusal {
            reason: Invalid::new(
                "config",
                format!("the filter does not start with this configuration: {reason}"),
            ),
            lacks_queue: shared.queues.has_missed(),
        })?;
        plugin.on_shutdown();
        // Those that are tried after it may count on its queues, as they will when it runs.
        real.queues.learn(&shared.queues);
        Ok(())
    }
}

fn guest(wasm: &WasmFilter, code: Option<&[u8]>, shared: &Shared) -> Result<Guest, Invalid> {
    let inline = match &wasm.vm.code {
        WasmCode::Inline(bytes) => Some(bytes.as_ref()),
        WasmCode::File(_) | WasmCode::Remote(_) => None,
    };
    if let Some(native) = inline.and_then(|name| shared.native(name)) {
        return Ok(Guest::Native(native));
    }
    let Some(code) = code.or(inline) else {
        return Err(Invalid::new(
            "config.vm_config.code",
            "the module has not been fetched",
        ));
    };
    let module = shared
        .module(code)
        .map_err(|error| Invalid::new("config.vm_config.code", error.to_string()))?;
    Ok(Guest::Module(module))
}

/// Names of the proxy's own environment that are not set are left out, as in Envoy.
fn environment(wasm: &WasmFilter) -> BTreeMap<String, String> {
    let own = wasm
        .vm
        .host_environment
        .iter()
        .filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
    own.chain(wasm.vm.environment.clone()).collect()
}
