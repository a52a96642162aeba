//! What the proxy knows about a connection and an exchange besides the messages: the sources of properties.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use leno_model::bootstrap::Node;
use leno_model::endpoint::Locality;
use leno_model::listener::Direction as Side;

use crate::http::message::Protocol;
use crate::tls::session::Session;

/// A downstream connection. Shared by its exchanges.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Unique within the proxy's life.
    pub id: u64,
    /// The peer's address.
    pub source: SocketAddr,
    /// The address it came to.
    pub destination: SocketAddr,
    /// The name that the client asked for in TLS; empty when there is none.
    pub server_name: String,
    /// `None`: plain TCP.
    pub tls: Option<Arc<Session>>,
    /// The listener it came in through.
    pub listener: Arc<ListenerFacts>,
    /// Who this proxy is.
    pub node: Arc<Node>,
}

/// The part of a listener that filters may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerFacts {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub direction: Side,
    /// The name of the filter chain.
    pub filter_chain: String,
}

/// What is learnt about one exchange. Written by `request.rs`.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Of the downstream.
    pub protocol: Protocol,
    /// Wall clock when the request began.
    pub started: SystemTime,
    /// The same moment, for durations.
    pub start: Instant,
    /// Who asked, as far as it is trusted (`x-forwarded-for`); the peer when `None`.
    pub client: Option<SocketAddr>,
    /// The name of the route.
    pub route: Option<Arc<str>>,
    /// The name of its virtual host.
    pub virtual_host: Option<Arc<str>>,
    /// The cluster that was chosen.
    pub cluster: Option<Arc<str>>,
    /// The endpoint that was chosen.
    pub upstream: Option<Upstream>,
    /// How many times an upstream was tried.
    pub attempts: u32,
    /// Bytes of the request's body that have come in.
    pub request_body_bytes: u64,
    /// Bytes of the response's body that went out.
    pub response_body_bytes: u64,
    /// The status of the response; `None` before there is one. Kept by the chain.
    pub response_code: Option<u16>,
    /// Why the response is what it is. Local replies of filters are written here by the chain.
    pub response_details: Cow<'static, str>,
    /// Envoy's response flags, as bits.
    pub response_flags: u64,
    /// From the first to the last byte of the exchange; `None` before it is over.
    pub duration: Option<Duration>,
    /// From the first byte sent to the upstream to the last byte received.
    pub backend_latency: Option<Duration>,
}

/// An endpoint in use.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its address.
    pub address: SocketAddr,
    /// Our end of the connection to it, once there is one.
    pub local_address: Option<SocketAddr>,
    /// Where it is.
    pub locality: Arc<Locality>,
    /// From asking for a connection to having one.
    pub pool_ready: Option<Duration>,
    /// Why its connection failed; empty when it did not.
    pub transport_failure: String,
}

impl Facts {
    /// An exchange that begins now.
    #[must_use]
    pub fn new(protocol: Protocol, started: SystemTime, start: Instant) -> Self {
        Self {
            protocol,
            started,
            start,
            client: None,
            route: None,
            virtual_host: None,
            cluster: None,
            upstream: None,
            attempts: 0,
            request_body_bytes: 0,
            response_body_bytes: 0,
            response_code: None,
            response_details: Cow::Borrowed(""),
            response_flags: 0,
            duration: None,
            backend_latency: None,
        }
    }
}
