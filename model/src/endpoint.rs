//! Who answers for a cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadAssignment {
    /// The cluster (or EDS service) name.
    pub cluster: String,
    /// By place and priority.
    pub localities: Vec<LocalityEndpoints>,
}

/// `envoy.config.endpoint.v3.LocalityLbEndpoints`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalityEndpoints {
    /// Region, zone, sub-zone; empty when not said.
    pub locality: Locality,
    /// 0 is tried first.
    pub priority: u32,
    /// Share among the localities of one priority; `None` counts as the sum of the endpoints' weights.
    pub weight: Option<u32>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locality {
    /// As `eu-west-1`.
    pub region: String,
    /// As `eu-west-1a`.
    pub zone: String,
    /// Free.
    pub sub_zone: String,
}

/// `envoy.config.endpoint.v3.LbEndpoint`.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Host,
    /// Its name for `host_rewrite: auto`; may be empty.
    pub hostname: String,
    /// At least 1.
    pub weight: u32,
    /// What the control plane knows of it.
    pub health: Health,
    /// Labels and the like, by namespace and key, as text.
    pub metadata: BTreeMap<String, BTreeMap<String, String>>,
}

impl Endpoint {
    /// A healthy endpoint of weight 1.
    pub fn at(address: Host) -> Self {
        Self {
            address,
            hostname: String::new(),
            weight: 1,
            health: Health::Unknown,
            metadata: BTreeMap::new(),
        }
    }
}

/// An address that may still be a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// Ready to connect to.
    Socket(SocketAddr),
    /// To be resolved.
    Name {
        /// A DNS name.
        name: String,
        /// A port.
        port: u16,
    },
}

/// `envoy.config.core.v3.HealthStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not said: counts as healthy.
    Unknown,
    /// Chosen.
    Healthy,
    /// Chosen only in panic.
    Unhealthy,
    /// Keeps what it has, gets nothing new.
    Draining,
    /// Chosen when the healthy do not suffice.
    Degraded,
}
