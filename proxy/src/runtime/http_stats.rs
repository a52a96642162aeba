//! What a connection manager counts on one worker.

use std::time::Duration;

use crate::http::error::Malformed;
use crate::reply::Flags;
use crate::stats::{Counter, Gauge, Histogram, Registry};

/// `http.<prefix>.*` on one worker, under Envoy's names.
pub struct HttpStats {
    /// `downstream_cx_total`.
    pub connections: Counter,
    /// `downstream_cx_active`.
    pub connections_active: Gauge,
    /// `downstream_cx_protocol_error`.
    pub protocol_error: Counter,
    head_timeout: Counter,
    requests: Counter,
    active: Gauge,
    classes: [Counter; 5],
    time: Histogram,
}

impl HttpStats {
    pub(super) fn new(registry: &Registry, prefix: &str) -> Self {
        let tags = [("envoy.http_conn_manager_prefix", prefix)];
        let name = |name: &str| format!("http.{prefix}.{name}");
        let counter = |text: &str| registry.counter(&name(text), &tags);
        Self {
            connections: counter("downstream_cx_total"),
            connections_active: registry.gauge(&name("downstream_cx_active"), &tags),
            protocol_error: counter("downstream_cx_protocol_error"),
            head_timeout: counter("downstream_rq_header_timeout"),
            requests: counter("downstream_rq_total"),
            active: registry.gauge(&name("downstream_rq_active"), &tags),
            classes: [1, 2, 3, 4, 5].map(|class| counter(&format!("downstream_rq_{class}xx"))),
            time: registry.histogram(&name("downstream_rq_time"), &tags),
        }
    }

    /// An exchange begins.
    pub fn begin(&self) {
        self.requests.inc();
        self.active.inc();
    }

    /// What came is no request.
    pub fn refused(&self, reason: Malformed, flags: Flags) {
        if reason == Malformed::HeadTimeout {
            self.head_timeout.inc();
        }
        if flags.contains(Flags::DOWNSTREAM_PROTOCOL) {
            self.protocol_error.inc();
        }
    }

    /// An exchange is over.
    pub fn end(&self, status: Option<u16>, took: Duration) {
        self.active.dec();
        let class = status.and_then(|status| usize::from(status / 100).checked_sub(1));
        if let Some(class) = class.and_then(|class| self.classes.get(class)) {
            class.inc();
        }
        self.time
            .record(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    }
}
