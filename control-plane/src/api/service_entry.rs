//! `networking.istio.io ServiceEntry`: hosts and their endpoints.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `ServiceEntry.spec`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceEntry {
    /// At least one; no bare `*`.
    pub hosts: Vec<String>,
    /// Further authorities of the host on outbound listeners.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// At least one.
    #[serde(default)]
    pub ports: Vec<ServicePort>,
    /// Inside or outside of the mesh.
    #[serde(default)]
    pub location: Location,
    /// How addresses are found.
    #[serde(default)]
    pub resolution: Resolution,
    /// Who answers; with DNS, the hosts themselves when absent.
    #[serde(default)]
    pub endpoints: Vec<WorkloadEntry>,
    /// Namespaces that see it: `.`, `*` or names; absent means all.
    #[serde(default)]
    pub export_to: Vec<String>,
}

/// `ServicePort`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePort {
    /// 1 to 65535; unique within the entry.
    pub number: u16,
    /// Unique within the entry.
    pub name: String,
    /// `HTTP`, `HTTP2` or `GRPC` in this version; absent: by the name's prefix.
    #[serde(default)]
    pub protocol: String,
    /// Where endpoints listen, when it is another port.
    #[serde(default)]
    pub target_port: Option<u16>,
}

/// `Location`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Location {
    /// Not of the mesh.
    #[default]
    #[serde(rename = "MESH_EXTERNAL")]
    External,
    /// Of the mesh.
    #[serde(rename = "MESH_INTERNAL")]
    Internal,
}

/// `Resolution`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The address that was asked for; refused by this version.
    #[default]
    None,
    /// Endpoints are addresses.
    Static,
    /// Endpoints are names; all addresses are used.
    Dns,
    /// Endpoints are names; the first address is used.
    DnsRoundRobin,
}

/// `WorkloadEntry`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadEntry {
    /// An IP address or, with DNS, a name.
    pub address: String,
    /// Port by port name, where it differs.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// What subsets select by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `region/zone/sub-zone`.
    #[serde(default)]
    pub locality: String,
    /// Its share; 1 when absent.
    #[serde(default)]
    pub weight: Option<u32>,
}
