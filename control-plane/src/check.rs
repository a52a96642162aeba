//! Rules across the fields of one object, as Istio's CRDs (CEL) and its webhook have them. One function per kind.
//!
//! A folder and, later, an admission webhook call the same functions.

mod names;

mod pattern;

mod virtual_service;

mod wasm_plugin;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use leno_model::invalid::Invalid;

use crate::api::destination_rule::{DestinationRule, TrafficPolicy};
use crate::api::gateway::{Gateway, Port};
use crate::api::secret::{PullSecret, SecretDocument};
use crate::api::service_entry::{Resolution, ServiceEntry};
use crate::api::sidecar::{CaptureMode, Sidecar};
use crate::world::Object;
use names::{domain, host, ip, is_label};

pub use virtual_service::virtual_service;
pub use wasm_plugin::wasm_plugin;

type Checked = Result<(), Invalid>;

/// The shortest time that Istio and Envoy count.
const SHORTEST: Duration = Duration::from_millis(1);

fn refuse(path: impl Into<String>, reason: impl Into<String>) -> Checked {
    Err(Invalid::new(path, reason))
}

/// `Gateway`.
///
/// # Errors
/// The first field that breaks a rule.
pub fn gateway(object: &Object<Gateway>) -> Checked {
    names::meta(&object.meta)?;
    if object.spec.servers.is_empty() {
        return refuse("spec.servers", "is empty; a gateway needs at least one server");
    }
    for (position, server) in object.spec.servers.iter().enumerate() {
        let path = format!("spec.servers[{position}]");
        http_port(&server.port).map_err(|invalid| invalid.within(&format!("{path}.port")))?;
        if server.hosts.is_empty() {
            return refuse(format!("{path}.hosts"), "is empty; \"*\" takes every host");
        }
        for (index, host) in server.hosts.iter().enumerate() {
            let name = host.split_once('/').map_or(host.as_str(), |(_, name)| name);
            domain(name).map_err(|invalid| invalid.within(&format!("{path}.hosts[{index}]")))?;
        }
        ip(&server.bind).map_err(|invalid| invalid.within(&format!("{path}.bind")))?;
    }
    Ok(())
}

fn http_port(port: &Port) -> Checked {
    if port.number == 0 {
        return refuse("number", "must be 1 to 65535");
    }
    protocol(&port.protocol)
}

fn protocol(protocol: &str) -> Checked {
    match protocol.to_ascii_uppercase().as_str() {
        "HTTP" | "HTTP2" | "GRPC" => Ok(()),
        _ => refuse(
            "protocol",
            format!("{protocol:?} is not supported by this version; HTTP, HTTP2 and GRPC are"),
        ),
    }
}

fn export_to(namespaces: &[String]) -> Checked {
    for (position, namespace) in namespaces.iter().enumerate() {
        if namespace == "~" || namespace.is_empty() {
            return refuse(
                format!("spec.exportTo[{position}]"),
                format!("{namespace:?} is not a namespace; write \".\", \"*\" or a name"),
            );
        }
    }
    Ok(())
}

/// `DestinationRule`.
///
/// # Errors
/// The first field that breaks a rule.
pub fn destination_rule(object: &Object<DestinationRule>) -> Checked {
    names::meta(&object.meta)?;
    let spec = &object.spec;
    if spec.host.is_empty() || spec.host == "*" {
        return refuse("spec.host", "must name a host");
    }
    domain(&spec.host).map_err(|invalid| invalid.within("spec.host"))?;
    policy(spec.traffic_policy.as_ref()).map_err(|invalid| invalid.within("spec"))?;
    export_to(&spec.export_to)?;
    let mut names = BTreeSet::new();
    for (position, subset) in spec.subsets.iter().enumerate() {
        if subset.name.is_empty() {
            return refuse(format!("spec.subsets[{position}].name"), "is empty");
        }
        if !is_label(&subset.name) {
            return refuse(
                format!("spec.subsets[{position}].name"),
                format!(
                    "{:?} is not a name; write letters and digits, with dashes between them",
                    subset.name
                ),
            );
        }
        policy(subset.traffic_policy.as_ref())
            .map_err(|invalid| invalid.within(&format!("spec.subsets[{position}]")))?;
        if !names.insert(&subset.name) {
            return refuse(
                format!("spec.subsets[{position}].name"),
                format!("{:?} stands there twice", subset.name),
            );
        }
    }
    Ok(())
}

fn policy(policy: Option<&TrafficPolicy>) -> Checked {
    let pool = policy.and_then(|policy| policy.connection_pool.as_ref());
    match pool.and_then(|pool| pool.tcp.connect_timeout) {
        Some(timeout) if timeout.0 < SHORTEST => refuse(
            "trafficPolicy.connectionPool.tcp.connectTimeout",
            "must be 1ms at least",
        ),
        Some(_) | None => Ok(()),
    }
}

/// `ServiceEntry`.
///
/// # Errors
/// The first field that breaks a rule.
pub fn service_entry(object: &Object<ServiceEntry>) -> Checked {
    names::meta(&object.meta)?;
    let spec = &object.spec;
    if spec.hosts.is_empty() {
        return refuse("spec.hosts", "is empty; name at least one host");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        domain(host).map_err(|invalid| invalid.within(&format!("spec.hosts[{index}]")))?;
        if host.starts_with('*') {
            return refuse(
                format!("spec.hosts[{index}]"),
                "patterns are not supported by this version; name the host",
            );
        }
    }
    for (index, address) in spec.addresses.iter().enumerate() {
        if address.parse::<IpAddr>().is_err() {
            return refuse(
                format!("spec.addresses[{index}]"),
                format!("{address:?} is not an IP address"),
            );
        }
    }
    export_to(&spec.export_to)?;
    if spec.ports.is_empty() {
        return refuse("spec.ports", "is empty; name at least one port");
    }
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (position, port) in spec.ports.iter().enumerate() {
        let path = format!("spec.ports[{position}]");
        if port.number == 0 || !numbers.insert(port.number) {
            return refuse(format!("{path}.number"), "must be 1 to 65535, and unique");
        }
        if port.name.is_empty() || !names.insert(&port.name) {
            return refuse(format!("{path}.name"), "must be there, and unique");
        }
        if port.target_port == Some(0) {
            return refuse(format!("{path}.targetPort"), "must be 1 to 65535");
        }
        if !port.protocol.is_empty() {
            protocol(&port.protocol).map_err(|invalid| invalid.within(&path))?;
        }
    }
    endpoints(spec)
}

fn endpoints(spec: &ServiceEntry) -> Checked {
    match spec.resolution {
        Resolution::None => {
            return refuse(
                "spec.resolution",
                "NONE is not supported by this version; use STATIC or DNS",
            );
        }
        Resolution::Static if spec.endpoints.is_empty() => {
            return refuse("spec.endpoints", "is empty; STATIC needs the addresses");
        }
        Resolution::DnsRoundRobin if spec.endpoints.len() > 1 => {
            return refuse("spec.endpoints", "DNS_ROUND_ROBIN takes one endpoint at most");
        }
        Resolution::Static | Resolution::Dns | Resolution::DnsRoundRobin => {}
    }
    let weights = spec.endpoints.iter().map(|endpoint| endpoint.weight.unwrap_or(1));
    let total: u64 = weights.map(u64::from).sum();
    if total > u64::from(u32::MAX) {
        return refuse(
            "spec.endpoints",
            format!("the weights add up to {total}; {} is the most", u32::MAX),
        );
    }
    for (position, endpoint) in spec.endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{position}]");
        let is_ip = endpoint.address.parse::<IpAddr>().is_ok();
        if spec.resolution == Resolution::Static && !is_ip {
            return refuse(
                format!("{path}.address"),
                format!(
                    "{:?} is not an IP address; use resolution DNS for names",
                    endpoint.address
                ),
            );
        }
        if endpoint.address.is_empty() {
            return refuse(format!("{path}.address"), "is empty");
        }
        if endpoint.weight == Some(0) {
            return refuse(
                format!("{path}.weight"),
                "must be at least 1; remove the endpoint to stop its traffic",
            );
        }
        host(&endpoint.address).map_err(|invalid| invalid.within(&format!("{path}.address")))?;
        for (name, number) in &endpoint.ports {
            if *number == 0 {
                return refuse(format!("{path}.ports.{name}"), "must be 1 to 65535");
            }
            if !spec.ports.iter().any(|port| port.name == *name) {
                return refuse(format!("{path}.ports.{name}"), "names no port of spec.ports");
            }
        }
    }
    Ok(())
}

/// `Sidecar`.
///
/// # Errors
/// The first field that breaks a rule.
pub fn sidecar(object: &Object<Sidecar>) -> Checked {
    names::meta(&object.meta)?;
    for (position, ingress) in object.spec.ingress.iter().enumerate() {
        let path = format!("spec.ingress[{position}]");
        http_port(&ingress.port).map_err(|invalid| invalid.within(&format!("{path}.port")))?;
        ip(&ingress.bind).map_err(|invalid| invalid.within(&format!("{path}.bind")))?;
        capture(ingress.capture_mode).map_err(|invalid| invalid.within(&path))?;
        if ingress.default_endpoint.parse::<std::net::SocketAddr>().is_err() {
            return refuse(
                format!("{path}.defaultEndpoint"),
                format!(
                    "{:?} is not IP:PORT, as in 127.0.0.1:8080",
                    ingress.default_endpoint
                ),
            );
        }
    }
    for (position, egress) in object.spec.egress.iter().enumerate() {
        let path = format!("spec.egress[{position}]");
        capture(egress.capture_mode).map_err(|invalid| invalid.within(&path))?;
        ip(&egress.bind).map_err(|invalid| invalid.within(&format!("{path}.bind")))?;
        match &egress.port {
            Some(port) => http_port(port).map_err(|invalid| invalid.within(&format!("{path}.port")))?,
            None => {
                return refuse(
                    format!("{path}.port"),
                    "must be said while nothing is intercepted",
                );
            }
        }
        for (index, host) in egress.hosts.iter().enumerate() {
            let Some((_, name)) = host.split_once('/') else {
                return refuse(
                    format!("{path}.hosts[{index}]"),
                    format!("{host:?} is not namespace/host, as in \"*/*\""),
                );
            };
            domain(name).map_err(|invalid| invalid.within(&format!("{path}.hosts[{index}]")))?;
        }
    }
    Ok(())
}

fn capture(mode: CaptureMode) -> Checked {
    match mode {
        CaptureMode::Default | CaptureMode::None => Ok(()),
        CaptureMode::Iptables => refuse(
            "captureMode",
            "IPTABLES is not supported by this version; use NONE",
        ),
    }
}

/// `Secret`: the registry credentials in it.
///
/// # Errors
/// The first field that breaks a rule.
pub fn pull_secret(document: &SecretDocument) -> Result<PullSecret, Invalid> {
    const TYPE: &str = "kubernetes.io/dockerconfigjson";
    const KEY: &str = ".dockerconfigjson";
    names::meta(&document.metadata)?;
    if document.secret_type != TYPE {
        return Err(Invalid::new(
            "type",
            format!(
                "{:?} is not supported by this version; {TYPE} is",
                document.secret_type
            ),
        ));
    }
    let content = match (document.string_data.get(KEY), document.data.get(KEY)) {
        (Some(text), _) => text.clone(),
        (None, Some(encoded)) => {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(encoded.trim())
                .map_err(|error| Invalid::new(format!("data.{KEY}"), format!("is not base64: {error}")))?;
            String::from_utf8(bytes).map_err(|_| Invalid::new(format!("data.{KEY}"), "is not text"))?
        }
        (None, None) => return Err(Invalid::new("data", format!("has no {KEY}"))),
    };
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(&content);
    match parsed {
        Ok(value) if value.get("auths").is_some_and(serde_json::Value::is_object) => Ok(PullSecret(content)),
        Ok(_) => Err(Invalid::new(format!("data.{KEY}"), "has no auths object")),
        Err(error) => Err(Invalid::new(
            format!("data.{KEY}"),
            format!("is not JSON: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests;
