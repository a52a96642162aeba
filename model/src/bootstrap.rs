//! What a proxy knows before it has heard from anyone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::listener::Listener;

/// `envoy.config.bootstrap.v3.Bootstrap`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bootstrap {
    /// Who this proxy is.
    pub node: Node,
    /// Listeners that are always there.
    pub listeners: Vec<Arc<Listener>>,
    /// Clusters that are always there.
    pub clusters: Vec<Arc<Cluster>>,
    /// Where the rest comes from.
    pub dynamic: Dynamic,
    /// The admin page; none when not said.
    pub admin: Option<SocketAddr>,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Unique in the mesh.
    pub id: String,
    /// The group of proxies it belongs to.
    pub cluster: String,
    /// As JSON text of an object; empty when there is none.
    pub metadata: String,
    /// Where it runs.
    pub locality: crate::endpoint::Locality,
}

/// `Bootstrap.DynamicResources`: each by ADS, or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dynamic {
    /// The server, when there is one.
    pub ads: Option<AdsSource>,
    /// Listeners come over ADS.
    pub listeners: bool,
    /// Clusters come over ADS.
    pub clusters: bool,
}

/// `ads_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdsSource {
    /// A static cluster that speaks HTTP/2.
    pub cluster: String,
    /// Which variant of the protocol.
    pub variant: AdsVariant,
    /// How long a first answer may take before the proxy goes on without (default 15 s).
    pub initial_fetch_timeout: Duration,
}

/// `ApiConfigSource.ApiType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdsVariant {
    /// `GRPC`.
    StateOfTheWorld,
    /// `DELTA_GRPC`.
    Delta,
}
