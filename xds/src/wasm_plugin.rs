//! `envoy.extensions.wasm.v3.PluginConfig`: a guest, its virtual machine and its configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leno_model::filter::{FailurePolicy, WasmFilter, WasmVm};
use leno_model::invalid::Invalid;

use crate::descriptors::{pack, unpack};
use crate::pb::{core, protobuf, wasm};
use crate::strict::Fields;
use crate::wasm_code;
use crate::wire::{self, Within, boolean, enumeration, required};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.extensions.wasm.v3.PluginConfig",
        supported: &[
            "name",
            "root_id",
            "vm_config",
            "configuration",
            "fail_open",
            "failure_policy",
            "reload_config",
            "capability_restriction_config",
            "allow_on_headers_stop_iteration",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.wasm.v3.VmConfig",
        supported: &[
            "vm_id",
            "runtime",
            "code",
            "configuration",
            "environment_variables",
            "capability_restriction_config",
        ],
        no_effect: &[
            (
                "allow_precompiled",
                "code embedded in a module is never trusted; ours is keyed by digest",
            ),
            (
                "nack_on_code_cache_miss",
                "a new filter waits for its module while the old one serves",
            ),
        ],
    },
    Fields {
        message: "envoy.extensions.wasm.v3.EnvironmentVariables",
        supported: &["host_env_keys", "key_values"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.wasm.v3.CapabilityRestrictionConfig",
        supported: &["allowed_capabilities"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.wasm.v3.SanitizationConfig",
        supported: &[],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.wasm.v3.ReloadConfig",
        supported: &["backoff"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.BackoffStrategy",
        supported: &["base_interval"],
        no_effect: &[(
            "max_interval",
            "a reload waits for the base interval each time, as in Envoy",
        )],
    },
];

/// Names of engines in `vm_config.runtime`; which of them is named changes nothing, a guest runs in ours.
const RUNTIMES: &[&str] = &[
    "",
    "envoy.wasm.runtime.v8",
    "envoy.wasm.runtime.wasmtime",
    "envoy.wasm.runtime.wamr",
    "envoy.wasm.runtime.wasmer",
    "envoy.wasm.runtime.wavm",
];

/// First pause before a failed guest starts again.
const DEFAULT_RELOAD_BACKOFF: Duration = Duration::from_secs(1);

/// From the wire.
#[allow(
    deprecated,
    reason = "Istio and Envoy before 1.40 know no other place for capabilities"
)]
pub(crate) fn decode(plugin: &wasm::PluginConfig) -> Result<WasmFilter, Invalid> {
    let wasm::plugin_config::Vm::VmConfig(vm) = required("vm_config", plugin.vm.as_ref())?;
    let capabilities = [
        &vm.capability_restriction_config,
        &plugin.capability_restriction_config,
    ]
    .into_iter()
    .find_map(Option::as_ref)
    .filter(|restriction| !restriction.allowed_capabilities.is_empty())
    .map(|restriction| restriction.allowed_capabilities.keys().cloned().collect());
    let backoff = plugin
        .reload_config
        .as_ref()
        .and_then(|reload| reload.backoff.as_ref());
    let reload_backoff = match backoff {
        Some(backoff) => {
            wire::positive("base_interval", backoff.base_interval.as_ref()).within("reload_config.backoff")?
        }
        None => None,
    };
    Ok(WasmFilter {
        name: plugin.name.clone(),
        root_id: plugin.root_id.clone(),
        vm: decode_vm(vm).within("vm_config")?,
        configuration: decode_configuration(plugin.configuration.as_ref())?,
        failure: decode_failure(plugin)?,
        reload_backoff: reload_backoff.unwrap_or(DEFAULT_RELOAD_BACKOFF),
        capabilities,
        allow_on_headers_stop_iteration: plugin
            .allow_on_headers_stop_iteration
            .is_some_and(|allowed| allowed.value),
    })
}

/// To the wire.
#[allow(
    deprecated,
    reason = "Istio and Envoy before 1.40 know no other place for capabilities"
)]
pub(crate) fn encode(filter: &WasmFilter) -> wasm::PluginConfig {
    let failure = match filter.failure {
        FailurePolicy::Closed => wasm::FailurePolicy::FailClosed,
        FailurePolicy::Open => wasm::FailurePolicy::FailOpen,
        FailurePolicy::Reload => wasm::FailurePolicy::FailReload,
    };
    let restriction = filter
        .capabilities
        .as_ref()
        .map(|names| wasm::CapabilityRestrictionConfig {
            allowed_capabilities: names
                .iter()
                .map(|name| (name.clone(), wasm::SanitizationConfig {}))
                .collect(),
        });
    wasm::PluginConfig {
        name: filter.name.clone(),
        root_id: filter.root_id.clone(),
        configuration: encode_configuration(&filter.configuration),
        failure_policy: failure.into(),
        reload_config: (filter.reload_backoff != DEFAULT_RELOAD_BACKOFF).then(|| wasm::ReloadConfig {
            backoff: Some(core::BackoffStrategy {
                base_interval: Some(wire::to_duration(filter.reload_backoff)),
                max_interval: None,
            }),
        }),
        capability_restriction_config: restriction,
        allow_on_headers_stop_iteration: filter.allow_on_headers_stop_iteration.then(|| boolean(true)),
        vm: Some(wasm::plugin_config::Vm::VmConfig(encode_vm(&filter.vm))),
        ..Default::default()
    }
}

#[allow(deprecated, reason = "users still write `fail_open`")]
fn decode_failure(plugin: &wasm::PluginConfig) -> Result<FailurePolicy, Invalid> {
    let policy = enumeration("failure_policy", plugin.failure_policy)?;
    if plugin.fail_open && policy != wasm::FailurePolicy::Unspecified {
        return Err(Invalid::new(
            "fail_open",
            "only one of `fail_open` and `failure_policy` may be set",
        ));
    }
    Ok(match policy {
        wasm::FailurePolicy::Unspecified if plugin.fail_open => FailurePolicy::Open,
        wasm::FailurePolicy::Unspecified | wasm::FailurePolicy::FailClosed => FailurePolicy::Closed,
        wasm::FailurePolicy::FailOpen => FailurePolicy::Open,
        wasm::FailurePolicy::FailReload => FailurePolicy::Reload,
    })
}

fn decode_vm(vm: &wasm::VmConfig) -> Result<WasmVm, Invalid> {
    if !RUNTIMES.contains(&vm.runtime.as_str()) {
        let known = RUNTIMES[1..].join(", ");
        return Err(Invalid::new(
            "runtime",
            format!("`{}` is not one of {known}", vm.runtime),
        ));
    }
    let code = required("code", vm.code.as_ref())?;
    let (environment, host_environment) = match &vm.environment_variables {
        None => Default::default(),
        Some(variables) => (
            variables.key_values.clone().into_iter().collect(),
            variables.host_env_keys.iter().cloned().collect(),
        ),
    };
    let environment: BTreeMap<String, String> = environment;
    let host_environment: BTreeSet<String> = host_environment;
    if let Some(key) = host_environment.iter().find(|key| environment.contains_key(*key)) {
        let reason = format!("`{key}` stands in `key_values` and in `host_env_keys`");
        return Err(Invalid::new("environment_variables", reason));
    }
    Ok(WasmVm {
        id: vm.vm_id.clone(),
        code: wasm_code::decode(code).within("code")?,
        configuration: decode_configuration(vm.configuration.as_ref())?,
        environment,
        host_environment,
    })
}

fn encode_vm(vm: &WasmVm) -> wasm::VmConfig {
    let has_environment = !vm.environment.is_empty() || !vm.host_environment.is_empty();
    wasm::VmConfig {
        vm_id: vm.id.clone(),
        runtime: RUNTIMES[1].to_owned(),
        code: Some(wasm_code::encode(&vm.code)),
        configuration: encode_configuration(&vm.configuration),
        environment_variables: has_environment.then(|| wasm::EnvironmentVariables {
            host_env_keys: vm.host_environment.iter().cloned().collect(),
            key_values: vm.environment.clone().into_iter().collect(),
        }),
        ..Default::default()
    }
}

/// The bytes that a guest gets: texts and bytes as they are, a `Struct` as JSON text, any other message serialised.
///
/// Envoy's documentation of the field says JSON; Envoy 1.39 hands out the serialised `Struct` instead, which no
/// guest can read without a protobuf parser. We do what is documented.
fn decode_configuration(any: Option<&protobuf::Any>) -> Result<Vec<u8>, Invalid> {
    let Some(any) = any else { return Ok(Vec::new()) };
    let bytes = if let Some(text) = unpack::<protobuf::StringValue>(any).within("configuration")? {
        text.value.into_bytes()
    } else if let Some(bytes) = unpack::<protobuf::BytesValue>(any).within("configuration")? {
        bytes.value
    } else if let Some(fields) = unpack::<protobuf::Struct>(any).within("configuration")? {
        wire::struct_to_json(&fields).to_string().into_bytes()
    } else {
        any.value.clone()
    };
    Ok(bytes)
}

fn encode_configuration(bytes: &[u8]) -> Option<protobuf::Any> {
    if bytes.is_empty() {
        return None;
    }
    Some(match std::str::from_utf8(bytes) {
        Ok(text) => pack(&protobuf::StringValue {
            value: text.to_owned(),
        }),
        Err(_) => pack(&protobuf::BytesValue {
            value: bytes.to_vec(),
        }),
    })
}
