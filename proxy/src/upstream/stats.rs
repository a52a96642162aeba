//! What a cluster counts on one worker, under Envoy's names.

use crate::stats::{Counter, Gauge, Histogram, Registry};
use crate::tls::stats::TlsStats;

/// `cluster.<name>.*`.
pub struct ClusterStats {
    /// `upstream_cx_total`.
    pub connections: Counter,
    /// `upstream_cx_active`.
    pub connections_active: Gauge,
    /// `upstream_cx_connect_fail`.
    pub connect_fail: Counter,
    /// `upstream_cx_connect_timeout`.
    pub connect_timeout: Counter,
    /// `upstream_rq_total`.
    pub requests: Counter,
    /// `upstream_rq_active`.
    pub requests_active: Gauge,
    /// `upstream_rq_1xx` to `upstream_rq_5xx`.
    pub classes: [Counter; 5],
    /// `upstream_rq_pending_overflow`.
    pub overflow: Counter,
    /// `upstream_rq_timeout`.
    pub timeout: Counter,
    /// `upstream_rq_per_try_timeout`.
    pub try_timeout: Counter,
    /// `upstream_rq_retry`.
    pub retry: Counter,
    /// `upstream_rq_retry_success`.
    pub retry_success: Counter,
    /// `upstream_rq_retry_limit_exceeded`.
    pub retry_limit: Counter,
    /// `upstream_rq_retry_overflow`.
    pub retry_overflow: Counter,
    /// `upstream_cx_none_healthy`.
    pub none_healthy: Counter,
    /// `upstream_rq_time`, in milliseconds.
    pub time: Histogram,
    /// `membership_total`.
    pub members: Gauge,
    /// `ssl.*`.
    pub tls: TlsStats,
}

impl ClusterStats {
    pub(super) fn new(registry: &Registry, cluster: &str) -> Self {
        let tags = [("envoy.cluster_name", cluster)];
        let counter = |name: &str| registry.counter(&format!("cluster.{cluster}.{name}"), &tags);
        let gauge = |name: &str| registry.gauge(&format!("cluster.{cluster}.{name}"), &tags);
        Self {
            connections: counter("upstream_cx_total"),
            connections_active: gauge("upstream_cx_active"),
            connect_fail: counter("upstream_cx_connect_fail"),
            connect_timeout: counter("upstream_cx_connect_timeout"),
            requests: counter("upstream_rq_total"),
            requests_active: gauge("upstream_rq_active"),
            classes: [1, 2, 3, 4, 5].map(|class| counter(&format!("upstream_rq_{class}xx"))),
            overflow: counter("upstream_rq_pending_overflow"),
            timeout: counter("upstream_rq_timeout"),
            try_timeout: counter("upstream_rq_per_try_timeout"),
            retry: counter("upstream_rq_retry"),
            retry_success: counter("upstream_rq_retry_success"),
            retry_limit: counter("upstream_rq_retry_limit_exceeded"),
            retry_overflow: counter("upstream_rq_retry_overflow"),
            none_healthy: counter("upstream_cx_none_healthy"),
            time: registry.histogram(&format!("cluster.{cluster}.upstream_rq_time"), &tags),
            members: gauge("membership_total"),
            tls: TlsStats::new(registry, &format!("cluster.{cluster}"), &tags),
        }
    }

    /// A response of this status came in.
    pub fn response(&self, status: u16) {
        if let Some(class) = usize::from(status / 100)
            .checked_sub(1)
            .and_then(|class| self.classes.get(class))
        {
            class.inc();
        }
    }
}
