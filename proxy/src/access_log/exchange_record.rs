//! What an access log line can tell about one exchange. Borrowed from the exchange: filling it copies nothing.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::http::headers::Headers;
use crate::http::message::Protocol;
use crate::reply::Flags;
use crate::tls::session::Session;

/// One exchange, over or (for header edits) under way. Empty texts are values that are not there.
#[derive(Clone, Copy)]
pub struct ExchangeRecord<'a> {
    /// Wall clock at the first byte of the request.
    pub started: SystemTime,
    /// Of the downstream.
    pub protocol: Protocol,
    /// As the filters left them.
    pub request: &'a Headers,
    /// `None`: no response began.
    pub response: Option<&'a Headers>,
    /// Of the response.
    pub trailers: Option<&'a Headers>,
    /// 0: no response began.
    pub status: u16,
    /// Why the status is what it is.
    pub details: &'a str,
    /// What went wrong, in Envoy's letters.
    pub flags: Flags,
    /// Why the connection was ended by us.
    pub termination_details: &'a str,
    /// Body bytes from the downstream.
    pub bytes_received: u64,
    /// Body bytes to the downstream.
    pub bytes_sent: u64,
    /// How many times an upstream was tried.
    pub attempts: u32,
    /// When what happened.
    pub timing: Timing,
    /// The route's name.
    pub route: &'a str,
    /// The virtual host's name.
    pub virtual_host: &'a str,
    /// The chosen cluster.
    pub cluster: &'a str,
    /// The endpoint of the last try.
    pub upstream: Option<UpstreamRecord<'a>>,
    /// Who asked, as far as it is trusted (`x-forwarded-for`).
    pub remote: SocketAddr,
    /// The peer of the connection.
    pub direct_remote: SocketAddr,
    /// The address that the peer connected to.
    pub local: SocketAddr,
    /// Of the downstream.
    pub connection_id: u64,
    /// Unique within the proxy's life.
    pub exchange_id: u64,
    /// SNI.
    pub server_name: &'a str,
    /// The name of the filter chain.
    pub filter_chain: &'a str,
    /// Of the downstream; `None` for plain TCP.
    pub tls: Option<&'a Session>,
    /// What filters stored: appends the value of a name, or says that there is none.
    pub filter_state: Option<&'a FilterState>,
}

/// Appends the value of a name, or says that there is none.
pub type FilterState = dyn Fn(&str, &mut Vec<u8>) -> bool;

/// Moments of an exchange, counted from its first byte; `None` when it did not come to that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// The last byte of the request came in.
    pub request_end: Option<Duration>,
    /// The last byte of the request went to the upstream.
    pub request_sent: Option<Duration>,
    /// The first byte of the upstream's response came in.
    pub response_begin: Option<Duration>,
    /// The exchange was over.
    pub end: Option<Duration>,
}

/// The upstream's part of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamRecord<'a> {
    /// The endpoint.
    pub address: SocketAddr,
    /// Its host name.
    pub hostname: &'a str,
    /// Our end of the connection.
    pub local: Option<SocketAddr>,
    /// What is spoken to it.
    pub protocol: Option<Protocol>,
    /// Why the connection failed.
    pub transport_failure: &'a str,
}

impl<'a> ExchangeRecord<'a> {
    /// An exchange of which only the request is known.
    pub fn new(
        request: &'a Headers,
        protocol: Protocol,
        started: SystemTime,
        peers: [SocketAddr; 2],
    ) -> Self {
        let [remote, local] = peers;
        Self {
            started,
            protocol,
            request,
            response: None,
            trailers: None,
            status: 0,
            details: "",
            flags: Flags::NONE,
            termination_details: "",
            bytes_received: 0,
            bytes_sent: 0,
            attempts: 0,
            timing: Timing::default(),
            route: "",
            virtual_host: "",
            cluster: "",
            upstream: None,
            remote,
            direct_remote: remote,
            local,
            connection_id: 0,
            exchange_id: 0,
            server_name: "",
            filter_chain: "",
            tls: None,
            filter_state: None,
        }
    }
}
