//! Where a proxy accepts connections, and what it does with each.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::access_log::AccessLog;
use crate::http::HttpConnectionManager;

/// `envoy.config.listener.v3.Listener`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Unique within a proxy.
    pub name: String,
    /// Where to bind. Port 0 binds any free port.
    pub address: SocketAddr,
    /// Tried in order of Envoy's matching rules; this version holds exactly one, without a match.
    pub filter_chains: Vec<FilterChain>,
    /// The statistics prefix; the address when empty.
    pub stat_prefix: String,
    /// The side of the workload this listener stands on.
    pub direction: Direction,
    /// Soft limit in bytes on what one connection buffers (Envoy's default is 1 MiB).
    pub per_connection_buffer_limit: u32,
    /// One line per connection.
    pub access_log: Vec<AccessLog>,
}

/// `envoy.config.core.v3.TrafficDirection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Not said: a gateway.
    #[default]
    Unspecified,
    /// To the workload this proxy stands beside.
    Inbound,
    /// From the workload this proxy stands beside.
    Outbound,
}

/// `envoy.config.listener.v3.FilterChain`.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterChain {
    /// For statistics and dumps; may be empty.
    pub name: String,
    /// The terminal network filter.
    pub network: NetworkFilter,
}

/// What reads the bytes of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkFilter {
    /// `envoy.filters.network.http_connection_manager`.
    Http(Arc<HttpConnectionManager>),
}
