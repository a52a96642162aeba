//! Where a proxy accepts connections, and what it does with each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::access_log::AccessLog;
use crate::http::HttpConnectionManager;
use crate::tls::DownstreamTls;

/// `envoy.config.listener.v3.Listener`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Unique within a proxy.
    pub name: String,
    /// Where to bind. Port 0 binds any free port.
    pub address: SocketAddr,
    /// Chosen by [`ChainMatch`]; no two take the same connection.
    pub filter_chains: Vec<FilterChain>,
    /// Takes what no other chain takes.
    pub default_filter_chain: Option<FilterChain>,
    /// Look into the first bytes for TLS even where no chain asks for it (`tls_inspector`).
    pub inspects_tls: bool,
    /// A connection that does not show within this what it is gets closed (default 15 s).
    pub inspect_timeout: Option<Duration>,
    /// The statistics prefix; the address when empty.
    pub stat_prefix: String,
    /// The side of the workload this listener stands on.
    pub direction: Direction,
    /// Soft limit in bytes on what one connection buffers (Envoy's default is 1 MiB).
    pub per_connection_buffer_limit: u32,
    /// One line per connection.
    pub access_log: Vec<AccessLog>,
}

impl Listener {
    /// Envoy's default of `listener_filters_timeout`.
    pub const INSPECT_TIMEOUT: Duration = Duration::from_secs(15);

    /// Envoy's default soft limit on buffers.
    pub const BUFFER_LIMIT: u32 = 1 << 20;

    /// A listener with Envoy's defaults and one chain.
    pub fn new(name: impl Into<String>, address: SocketAddr, chain: FilterChain) -> Self {
        Self {
            name: name.into(),
            address,
            filter_chains: vec![chain],
            default_filter_chain: None,
            inspects_tls: false,
            inspect_timeout: Some(Self::INSPECT_TIMEOUT),
            stat_prefix: String::new(),
            direction: Direction::Unspecified,
            per_connection_buffer_limit: Self::BUFFER_LIMIT,
            access_log: Vec::new(),
        }
    }

    /// All chains; the default one is the last.
    pub fn chains(&self) -> impl Iterator<Item = &FilterChain> {
        self.filter_chains.iter().chain(&self.default_filter_chain)
    }
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
    /// Which connections it takes. The default chain has none.
    pub matches: ChainMatch,
    /// `None`: plain TCP.
    pub tls: Option<Arc<DownstreamTls>>,
    /// The TLS handshake must be over within this; the proxy's own bound when `None`.
    pub handshake_timeout: Option<Duration>,
    /// The terminal network filter.
    pub network: NetworkFilter,
}

impl FilterChain {
    /// Plain HTTP for every connection.
    pub fn http(manager: impl Into<Arc<HttpConnectionManager>>) -> Self {
        Self {
            name: String::new(),
            matches: ChainMatch::default(),
            tls: None,
            handshake_timeout: None,
            network: NetworkFilter::Http(manager.into()),
        }
    }
}

/// `envoy.config.listener.v3.FilterChainMatch`: all that is given must hold. Of several chains, the one with the most
/// specific criterion wins, criterion by criterion in the order of the fields here, without going back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainMatch {
    /// Of the address that the client connected to.
    pub destination_port: Option<u16>,
    /// Names that a client may ask for (SNI), lower case: exact, or `*.` and a suffix. Any when empty.
    pub server_names: Vec<String>,
    /// What the first bytes are.
    pub transport: Option<TransportProtocol>,
    /// What the client may offer in ALPN; anything when empty.
    pub application_protocols: Vec<String>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransportProtocol {
    /// No TLS.
    RawBuffer,
    /// TLS.
    Tls,
}

/// What reads the bytes of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkFilter {
    /// `envoy.filters.network.http_connection_manager`.
    Http(Arc<HttpConnectionManager>),
}
