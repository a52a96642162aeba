//! Limits and times of a connection, decided once when configuration is applied.

use std::time::Duration;

use leno_model::http::{Codec, HttpConnectionManager};

/// How a connection with a downstream is served.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// Which versions are spoken.
    pub codec: Codec,
    /// Take HTTP/1.0 requests.
    pub accept_http_10: bool,
    /// `:scheme` of requests that do not bring one: whether the connection is encrypted.
    pub encrypted: bool,
    /// Limits of heads and trailers.
    pub limits: Limits,
    /// HTTP/1: whether trailers pass.
    pub h1_trailers: bool,
    /// A connection without exchanges is closed after this.
    pub idle_timeout: Option<Duration>,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Option<Duration>,
    /// HTTP/2.
    pub h2: H2Settings,
}

/// How a connection with an upstream is used.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientSettings {
    /// HTTP/1: limits of heads and trailers.
    pub h1_limits: Limits,
    /// HTTP/1: whether trailers pass.
    pub h1_trailers: bool,
    /// HTTP/2: limits of heads and trailers.
    pub limits: Limits,
    /// HTTP/2.
    pub h2: H2Settings,
}

impl Default for ClientSettings {
    /// Envoy's: a head of an HTTP/1 response may have 80 KiB, one of HTTP/2 60 KiB (`max_response_headers_kb`).
    fn default() -> Self {
        Self {
            h1_limits: Limits {
                bytes: 80 << 10,
                ..Limits::default()
            },
            h1_trailers: false,
            limits: Limits::default(),
            h2: H2Settings::default(),
        }
    }
}

/// What a head, or trailers, may have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of first line and fields in HTTP/1, as RFC 9113 §6.5.2 counts them in HTTP/2.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

impl Default for Limits {
    /// Envoy's: 60 KiB, 100 fields.
    fn default() -> Self {
        Self {
            bytes: 60 << 10,
            fields: 100,
        }
    }
}

/// Windows and stream limits of HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H2Settings {
    /// Streams the peer may have open at once.
    pub max_concurrent_streams: u32,
    /// Bytes in flight to us per stream.
    pub stream_window: u32,
    /// Bytes in flight to us per connection.
    pub connection_window: u32,
}

impl Default for H2Settings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 128,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
        }
    }
}

impl ServerSettings {
    /// For a connection without TLS.
    #[must_use]
    pub fn new(manager: &HttpConnectionManager) -> Self {
        let whole = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            codec: manager.codec,
            accept_http_10: manager.accept_http_10,
            encrypted: false,
            limits: Limits {
                bytes: whole(manager.max_request_headers_bytes),
                fields: whole(manager.max_request_headers_count),
            },
            h1_trailers: manager.h1_trailers,
            idle_timeout: manager.idle_timeout,
            head_timeout: manager.request_headers_timeout,
            h2: H2Settings {
                max_concurrent_streams: manager.max_concurrent_streams,
                stream_window: manager.initial_stream_window,
                connection_window: manager.initial_connection_window,
            },
        }
    }
}
