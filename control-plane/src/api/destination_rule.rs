//! `networking.istio.io DestinationRule`: subsets and policies of a host.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::meta::Span;

/// `DestinationRule.spec`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationRule {
    /// A host of a ServiceEntry.
    pub host: String,
    /// Namespaces that see it: `.`, `*` or names; absent means all.
    #[serde(default)]
    pub export_to: Vec<String>,
    /// Named groups of endpoints.
    #[serde(default)]
    pub subsets: Vec<Subset>,
    /// For all of the host.
    #[serde(default)]
    pub traffic_policy: Option<TrafficPolicy>,
}

/// `Subset`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subset {
    /// Unique within the rule.
    pub name: String,
    /// Labels of its endpoints.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Overrides the host's, field by field.
    #[serde(default)]
    pub traffic_policy: Option<TrafficPolicy>,
}

/// `TrafficPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    #[serde(default)]
    pub load_balancer: Option<LoadBalancer>,
    /// Bounds.
    #[serde(default)]
    pub connection_pool: Option<ConnectionPool>,
}

/// `LoadBalancerSettings`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancer {
    /// One of the simple algorithms.
    pub simple: Simple,
}

/// `SimpleLB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Simple {
    /// Istio's default: least request.
    Unspecified,
    /// As least request.
    LeastConn,
    /// At random.
    Random,
    /// In turn.
    RoundRobin,
    /// The less busy of two.
    LeastRequest,
}

/// `ConnectionPoolSettings`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionPool {
    /// Of connections.
    #[serde(default)]
    pub tcp: TcpPool,
    /// Of exchanges.
    #[serde(default)]
    pub http: HttpPool,
}

/// `ConnectionPoolSettings.TCPSettings`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpPool {
    /// Connections at once.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// 10 s when absent.
    #[serde(default)]
    pub connect_timeout: Option<Span>,
    /// Of a pooled connection.
    #[serde(default)]
    pub idle_timeout: Option<Span>,
}

/// `ConnectionPoolSettings.HTTPSettings`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpPool {
    /// Exchanges that wait for a connection.
    #[serde(default)]
    pub http1_max_pending_requests: Option<u32>,
    /// Exchanges at once.
    #[serde(default)]
    pub http2_max_requests: Option<u32>,
    /// A connection is closed after this many.
    #[serde(default)]
    pub max_requests_per_connection: Option<u32>,
    /// Retries at once.
    #[serde(default)]
    pub max_retries: Option<u32>,
    /// Of a pooled connection.
    #[serde(default)]
    pub idle_timeout: Option<Span>,
}
