//! How HTTP is read from a connection and which filters it passes.

use std::sync::Arc;
use std::time::Duration;

use crate::access_log::AccessLog;
use crate::filter::HttpFilter;
use crate::route::RouteConfiguration;

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`. Zero timeouts are `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConnectionManager {
    /// The protocol of the downstream.
    pub codec: Codec,
    /// Prefix of `http.<prefix>.` statistics.
    pub stat_prefix: String,
    /// Where the routes come from.
    pub routes: RouteSource,
    /// In the order of the request. The last one is the router.
    pub filters: Vec<HttpFilter>,
    /// One line per exchange.
    pub access_log: Vec<AccessLog>,
    /// A connection without exchanges is closed after this (default 1 h).
    pub idle_timeout: Option<Duration>,
    /// An exchange without progress ends after this (default 5 min).
    pub stream_idle_timeout: Option<Duration>,
    /// From first byte to last byte of a request (default none).
    pub request_timeout: Option<Duration>,
    /// From first byte of a request to the end of its headers (default none).
    pub request_headers_timeout: Option<Duration>,
    /// HTTP/2: between the first and the second GOAWAY (default 5 s).
    pub drain_timeout: Duration,
    /// Refuse header blocks above this many bytes (default 60 KiB).
    pub max_request_headers_bytes: u32,
    /// Refuse header blocks of more fields (default 100).
    pub max_request_headers_count: u32,
    /// HTTP/2: streams open at once on one connection.
    pub max_concurrent_streams: u32,
    /// HTTP/2: bytes in flight per stream.
    pub initial_stream_window: u32,
    /// HTTP/2: bytes in flight per connection.
    pub initial_connection_window: u32,
    /// HTTP/1: answer HTTP/1.0 requests (Envoy's `accept_http_10`).
    pub accept_http_10: bool,
    /// HTTP/1: trailers pass (Envoy's `enable_trailers`); otherwise they are dropped.
    pub h1_trailers: bool,
    /// What `server` says (default `leno`).
    pub server_name: String,
    /// What happens to a `server` of the upstream.
    pub server_header: ServerHeader,
    /// Trust the address of the connection, not `x-forwarded-for`.
    pub use_remote_address: bool,
    /// How many entries of `x-forwarded-for`, from the right, were written by proxies we trust.
    pub xff_trusted_hops: u32,
    /// Write `x-request-id` where it is missing (default true).
    pub generate_request_id: bool,
    /// Keep an `x-request-id` that came from outside.
    pub preserve_external_request_id: bool,
    /// RFC 3986 §6.2.2.3 dot segments and case of percent-encodings, before any match.
    pub normalize_path: bool,
    /// `//` becomes `/` before any match.
    pub merge_slashes: bool,
    /// Written to `via` in both directions when not empty.
    pub via: String,
}

impl Default for HttpConnectionManager {
    /// Envoy's defaults, as in the API documentation of each field, without filters and routes.
    fn default() -> Self {
        Self {
            codec: Codec::Auto,
            stat_prefix: String::new(),
            routes: RouteSource::Inline(Arc::default()),
            filters: Vec::new(),
            access_log: Vec::new(),
            idle_timeout: Some(Duration::from_secs(3600)),
            stream_idle_timeout: Some(Duration::from_secs(300)),
            request_timeout: None,
            request_headers_timeout: None,
            drain_timeout: Duration::from_secs(5),
            max_request_headers_bytes: 60 << 10,
            max_request_headers_count: 100,
            max_concurrent_streams: 1024,
            initial_stream_window: 16 << 20,
            initial_connection_window: 24 << 20,
            accept_http_10: false,
            h1_trailers: false,
            server_name: "leno".to_owned(),
            server_header: ServerHeader::Overwrite,
            use_remote_address: false,
            xff_trusted_hops: 0,
            generate_request_id: true,
            preserve_external_request_id: false,
            normalize_path: false,
            merge_slashes: false,
            via: String::new(),
        }
    }
}

/// `HttpConnectionManager.CodecType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// By the HTTP/2 preface.
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 with prior knowledge only.
    Http2,
}

/// `HttpConnectionManager.ServerHeaderTransformation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerHeader {
    /// Always ours.
    Overwrite,
    /// Ours where the upstream wrote none.
    AppendIfAbsent,
    /// The upstream's, or none.
    PassThrough,
}

/// Where a connection manager finds its routes.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteSource {
    /// In the listener itself.
    Inline(Arc<RouteConfiguration>),
    /// Over RDS, by this name.
    Discovered(String),
}
