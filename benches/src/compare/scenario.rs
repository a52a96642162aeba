//! What is measured.

use super::peer::Peer;

/// One kind of load through one kind of proxy.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// As on the command line.
    pub name: &'static str,
    /// What the proxy is asked.
    pub load: Load,
    /// Small Proxy-Wasm filters before the router.
    pub filters: usize,
}

/// How clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// HTTP/1.1 with keep-alive over so many connections.
    Http1 {
        /// Connections.
        connections: u32,
    },
    /// HTTP/2 with prior knowledge, without TLS.
    Http2 {
        /// Connections.
        connections: u32,
        /// Concurrent streams of each.
        streams: u32,
    },
}

impl Load {
    /// Connections of the client.
    pub fn connections(self) -> u32 {
        match self {
            Self::Http1 { connections } | Self::Http2 { connections, .. } => connections,
        }
    }
}

/// All of them.
pub const ALL: [Scenario; 3] = [
    Scenario {
        name: "http1",
        load: Load::Http1 { connections: 50 },
        filters: 0,
    },
    Scenario {
        name: "http2",
        load: Load::Http2 {
            connections: 10,
            streams: 10,
        },
        filters: 0,
    },
    Scenario {
        name: "http1-wasm5",
        load: Load::Http1 { connections: 50 },
        filters: 5,
    },
];

impl Scenario {
    /// Whether `peer` can do it. Peers without Wasm run without filters, as what Wasm costs is compared with.
    pub fn runs_on(&self, peer: Peer) -> bool {
        self.filters == 0 || matches!(peer, Peer::Leno | Peer::Envoy | Peer::EnvoyWithoutFilters)
    }
}
