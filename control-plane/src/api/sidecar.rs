//! `networking.istio.io Sidecar`: listeners of a proxy beside a workload, without interception.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::gateway::Port;

/// `Sidecar.spec`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sidecar {
    /// Absent: all workloads of the namespace.
    #[serde(default)]
    pub workload_selector: Option<Labels>,
    /// To the workload.
    #[serde(default)]
    pub ingress: Vec<Ingress>,
    /// From the workload.
    #[serde(default)]
    pub egress: Vec<Egress>,
}

/// `WorkloadSelector` of the networking group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// All of them must be equal.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// `IstioIngressListener`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ingress {
    /// Where the sidecar listens.
    pub port: Port,
    /// An address; all when absent.
    #[serde(default)]
    pub bind: String,
    /// `NONE` in this version.
    #[serde(default)]
    pub capture_mode: CaptureMode,
    /// `IP:PORT` of the workload.
    pub default_endpoint: String,
}

/// `IstioEgressListener`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Egress {
    /// Where the sidecar listens; required in this version.
    #[serde(default)]
    pub port: Option<Port>,
    /// An address; `127.0.0.1` when absent, as Istio does without interception.
    #[serde(default)]
    pub bind: String,
    /// `NONE` in this version.
    #[serde(default)]
    pub capture_mode: CaptureMode,
    /// `namespace/host` patterns of the services it reaches.
    pub hosts: Vec<String>,
}

/// `CaptureMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum CaptureMode {
    /// Taken as `NONE` while nothing is intercepted.
    #[default]
    #[serde(rename = "DEFAULT")]
    Default,
    /// Intercepted; refused by this version.
    #[serde(rename = "IPTABLES")]
    Iptables,
    /// The application connects to the listener itself.
    #[serde(rename = "NONE")]
    None,
}
