//! Native code of a Proxy-Wasm module, linked with the host's functions.

use std::collections::BTreeSet;

use leno_sdk::host::LogLevel;
use wasmtime::{Caller, ExternType, InstancePre, Val};

use super::imports::WASI_MODULES;
use super::state::State;
use super::status::INTERNAL_FAILURE;
use crate::engine::Engine;
use crate::inspect::ProxyWasmVersion;

/// Shared by all VMs of the module, on every thread.
pub(crate) struct Code {
    pub(super) version: ProxyWasmVersion,
    module: wasmtime::Module,
    linked: InstancePre<State>,
}

impl Code {
    pub(crate) fn compile(
        engine: &Engine,
        version: ProxyWasmVersion,
        bytes: &[u8],
    ) -> wasmtime::Result<Self> {
        let module = wasmtime::Module::new(engine.wasmtime(), bytes)?;
        let linked = engine.proxy_wasm().instantiate_pre(&module)?;
        Ok(Self {
            version,
            module,
            linked,
        })
    }

    /// With only the `allowed` host functions, when there is such a list.
    pub(super) fn linked(
        &self,
        engine: &Engine,
        allowed: Option<&BTreeSet<String>>,
    ) -> wasmtime::Result<InstancePre<State>> {
        let Some(allowed) = allowed else {
            return Ok(self.linked.clone());
        };
        let mut linker = engine.proxy_wasm().clone();
        linker.allow_shadowing(true);
        for import in self.module.imports() {
            let ExternType::Func(function) = import.ty() else {
                continue;
            };
            if allowed.contains(import.name()) {
                continue;
            }
            let name = import.name().to_owned();
            let status = refusal(import.module());
            linker.func_new(
                import.module(),
                import.name(),
                function,
                move |caller, _, results| {
                    refuse(caller, &name, status, results);
                    Ok(())
                },
            )?;
        }
        linker.instantiate_pre(&self.module)
    }
}

/// What a function that is not allowed returns: `ENOTCAPABLE` in WASI, as in Envoy.
fn refusal(module: &str) -> i32 {
    const NOT_CAPABLE: i32 = 76;
    if WASI_MODULES.contains(&module) {
        NOT_CAPABLE
    } else {
        INTERNAL_FAILURE.0 as i32
    }
}

fn refuse(mut caller: Caller<'_, State>, name: &str, status: i32, results: &mut [Val]) {
    let text = format!("asked for {name}, which the plugin's capabilities do not allow");
    caller.data_mut().log(LogLevel::Error, text.as_bytes());
    for result in results {
        *result = Val::I32(status);
    }
}
