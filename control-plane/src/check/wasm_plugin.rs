//! Rules across the fields of a `WasmPlugin`.

use leno_oci::reference::Source;

use super::{Checked, names, refuse};
use crate::api::wasm_plugin::{EnvSource, EnvVar, PluginType, WasmPlugin};
use crate::world::Object;

/// `WasmPlugin`: see `validateWasmPlugin*` of Istio's webhook.
///
/// # Errors
/// The first field that breaks a rule.
pub fn wasm_plugin(object: &Object<WasmPlugin>) -> Checked {
    names::meta(&object.meta)?;
    let spec = &object.spec;
    wasm_source(spec)?;
    if spec.plugin_name.len() > 256 {
        return refuse("spec.pluginName", "is longer than 256 characters");
    }
    if spec.plugin_type == PluginType::Network {
        return refuse("spec.type", "NETWORK is not supported by this version; use HTTP");
    }
    if !spec.verification_key.is_empty() {
        return refuse(
            "spec.verificationKey",
            "signatures are not verified by this version; remove the key, or pin the artifact with sha256",
        );
    }
    let has_targets = spec.target_ref.is_some() || !spec.target_refs.is_empty();
    if spec.selector.is_some() && has_targets {
        return refuse(
            "spec.selector",
            "cannot stand beside targetRefs; keep one of them",
        );
    }
    if spec.target_ref.is_some() && !spec.target_refs.is_empty() {
        return refuse(
            "spec.targetRef",
            "cannot stand beside targetRefs; keep targetRefs",
        );
    }
    if spec.target_refs.len() > 16 {
        return refuse("spec.targetRefs", "holds more than 16 entries");
    }
    for (position, target) in spec.target_refs.iter().chain(&spec.target_ref).enumerate() {
        if !target.namespace.is_empty() && target.namespace != object.meta.namespace {
            return refuse(
                format!("spec.targetRefs[{position}].namespace"),
                "cross namespace referencing is not currently supported; use the plugin's own namespace",
            );
        }
        let known = matches!(
            (target.group.as_str(), target.kind.as_str()),
            ("gateway.networking.k8s.io", "Gateway" | "GatewayClass")
                | ("" | "core", "Service")
                | ("networking.istio.io", "ServiceEntry")
        );
        if !known {
            return refuse(
                format!("spec.targetRefs[{position}].kind"),
                format!(
                    "{:?} of group {:?} cannot be a target; Gateway and GatewayClass (gateway.networking.k8s.io), \
                     Service and ServiceEntry (networking.istio.io) can",
                    target.kind, target.group
                ),
            );
        }
    }
    for (position, env) in spec.vm_config.iter().flat_map(|vm| &vm.env).enumerate() {
        variable(env).map_err(|invalid| invalid.within(&format!("spec.vmConfig.env[{position}]")))?;
    }
    Ok(())
}

fn variable(env: &EnvVar) -> Checked {
    if env.name.is_empty() || env.name.len() > 256 {
        return refuse("name", "must have 1 to 256 characters");
    }
    if env.name.contains(['=', '\0']) {
        return refuse(
            "name",
            format!("{:?} cannot name a variable: no = stands in a name", env.name),
        );
    }
    if env.value.contains('\0') {
        return refuse("value", "holds '\\0', which no variable can hold");
    }
    if env.value_from == EnvSource::Host && !env.value.is_empty() {
        return refuse("value", "may only be set when valueFrom is INLINE");
    }
    Ok(())
}

fn wasm_source(spec: &WasmPlugin) -> Checked {
    if spec.url.is_empty() {
        return refuse(
            "spec.url",
            "is empty; write as in oci://registry.example/filters/auth:v1",
        );
    }
    if let Some((scheme, _)) = spec.url.split_once("://")
        && !["oci", "http", "https", "file"].contains(&scheme)
    {
        return refuse(
            "spec.url",
            format!("scheme {scheme:?} is not one of oci, http, https, file"),
        );
    }
    if let Err(error) = Source::parse(&spec.url) {
        return refuse("spec.url", error.to_string());
    }
    let is_digest = spec.sha256.len() == 64
        && spec
            .sha256
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !spec.sha256.is_empty() && !is_digest {
        return refuse("spec.sha256", "must be 64 hexadecimal digits in lower case");
    }
    if let Some((_, digest)) = spec.url.split_once("@sha256:")
        && !spec.sha256.is_empty()
        && digest != spec.sha256
    {
        return refuse(
            "spec.sha256",
            "differs from the digest in the url; keep one of them",
        );
    }
    Ok(())
}
