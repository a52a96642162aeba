//! What a listener counts on one worker, under Envoy's names.

use leno_model::listener::Listener;

use crate::stats::{Counter, Gauge, Registry};
use crate::tls::stats::TlsStats;

/// `listener.<address>.*`, or `listener.<stat_prefix>.*`.
pub struct ListenerStats {
    /// `downstream_cx_total`.
    pub connections: Counter,
    /// `downstream_cx_active`.
    pub connections_active: Gauge,
    /// `downstream_cx_destroy`.
    pub connections_destroyed: Counter,
    /// `no_filter_chain_match`.
    pub no_match: Counter,
    /// `downstream_pre_cx_timeout`: it did not show in time what it is.
    pub inspect_timeout: Counter,
    /// `downstream_cx_transport_socket_connect_timeout`: the handshake was not over in time.
    pub handshake_timeout: Counter,
    /// `ssl.*`.
    pub tls: TlsStats,
}

impl ListenerStats {
    /// For `listener`.
    #[must_use]
    pub fn new(registry: &Registry, listener: &Listener) -> Self {
        // Colons end a part of a name (Envoy's rule for names of statistics).
        let name = match listener.stat_prefix.as_str() {
            "" => listener.address.to_string().replace(':', "_"),
            prefix => prefix.replace(':', "_"),
        };
        let prefix = format!("listener.{name}");
        let tags = [("envoy.listener_address", name.as_str())];
        let counter = |text: &str| registry.counter(&format!("{prefix}.{text}"), &tags);
        Self {
            connections: counter("downstream_cx_total"),
            connections_active: registry.gauge(&format!("{prefix}.downstream_cx_active"), &tags),
            connections_destroyed: counter("downstream_cx_destroy"),
            no_match: counter("no_filter_chain_match"),
            inspect_timeout: counter("downstream_pre_cx_timeout"),
            handshake_timeout: counter("downstream_cx_transport_socket_connect_timeout"),
            tls: TlsStats::new(registry, &prefix, &tags),
        }
    }
}
