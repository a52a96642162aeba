//! `networking.istio.io Gateway`: where gateways listen.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `Gateway.spec`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Labels of the gateway proxies that serve it. Empty selects every gateway.
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
    /// At least one.
    pub servers: Vec<Server>,
}

/// `Server`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where it listens.
    pub port: Port,
    /// `[namespace/]host` patterns that virtual services may bind to.
    pub hosts: Vec<String>,
    /// An address to bind instead of all.
    #[serde(default)]
    pub bind: String,
    /// For people.
    #[serde(default)]
    pub name: String,
}

/// `Port`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// 1 to 65535.
    pub number: u16,
    /// `HTTP`, `HTTP2` or `GRPC` in this version.
    pub protocol: String,
    /// A label.
    #[serde(default)]
    pub name: String,
    /// Ignored by Istio too, outside of Services.
    #[serde(default)]
    pub target_port: Option<u16>,
}
