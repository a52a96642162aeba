//! A group of endpoints that answer alike.

use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::LoadAssignment;
use crate::tls::UpstreamTls;

/// `envoy.config.cluster.v3.Cluster`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Unique within a proxy.
    pub name: String,
    /// Where the endpoints come from.
    pub discovery: Discovery,
    /// How one of them is chosen.
    pub balance: Balance,
    /// A TCP connection must stand within this (default 5 s).
    pub connect_timeout: Duration,
    /// What is spoken to the endpoints.
    pub protocol: UpstreamProtocol,
    /// A pooled connection without exchanges is closed after this (default 1 h).
    pub idle_timeout: Option<Duration>,
    /// A connection is closed after this many exchanges.
    pub max_requests_per_connection: Option<u32>,
    /// Envoy's circuit breakers at default priority.
    pub limits: Limits,
    /// HTTP/1: trailers pass (Envoy's `enable_trailers`); otherwise they are dropped.
    pub h1_trailers: bool,
    /// Which addresses of a name are endpoints.
    pub dns_family: DnsFamily,
    /// `None`: plain TCP.
    pub tls: Option<Arc<UpstreamTls>>,
}

impl Cluster {
    /// A cluster with Envoy's defaults.
    pub fn new(name: impl Into<String>, discovery: Discovery) -> Self {
        Self {
            name: name.into(),
            discovery,
            balance: Balance::RoundRobin,
            connect_timeout: Duration::from_secs(5),
            protocol: UpstreamProtocol::Http1,
            idle_timeout: Some(Duration::from_secs(3600)),
            max_requests_per_connection: None,
            limits: Limits::default(),
            h1_trailers: false,
            dns_family: DnsFamily::Auto,
            tls: None,
        }
    }
}

/// `Cluster.DiscoveryType`.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// Addresses, given here.
    Static(Arc<LoadAssignment>),
    /// Names, given here; all addresses of each are endpoints.
    StrictDns(Arc<LoadAssignment>),
    /// One name, given here; a new connection goes to its first address.
    LogicalDns(Arc<LoadAssignment>),
    /// Over EDS, by this name.
    Eds(String),
}

/// `Cluster.DnsLookupFamily`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsFamily {
    /// The IPv6 ones; the IPv4 ones where there is none.
    #[default]
    Auto,
    /// IPv4 only.
    V4Only,
    /// IPv6 only.
    V6Only,
    /// The IPv4 ones; the IPv6 ones where there is none.
    V4Preferred,
    /// Both.
    All,
}

/// `Cluster.LbPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The least busy of `choices` picked at random (default 2).
    LeastRequest {
        /// At least 2.
        choices: u32,
    },
    /// At random, by weight.
    Random,
}

/// `HttpProtocolOptions.upstream_protocol_options`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// What the downstream speaks.
    Downstream,
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds`, per proxy. Envoy's defaults are 1024 each and 3 retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub max_connections: u32,
    /// Exchanges that wait for a connection.
    pub max_pending_requests: u32,
    /// Exchanges at once.
    pub max_requests: u32,
    /// Retries at once.
    pub max_retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
        }
    }
}
