//! The configuration as it is written.

use std::collections::BTreeMap;

use leno_sdk::matching::Match;
use serde::Deserialize;

/// What to tell.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Config {
    /// Request metrics.
    pub metrics: Metrics,
    /// Lines of the proxy's log, one per exchange each.
    pub logs: Vec<LogLine>,
    /// Trace context; left alone unless given.
    pub tracing: Option<Tracing>,
}

/// Request metrics.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Metrics {
    /// None at all.
    pub disabled: bool,
    /// Which side of a call this proxy is; told from the direction of the listener unless given.
    pub reporter: Option<Reporter>,
    /// These are not recorded.
    pub disable: Vec<Metric>,
    /// Labels that are added, changed or removed.
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// A side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reporter {
    /// The proxy of the client.
    Source,
    /// The proxy of the server, or a gateway.
    Destination,
}

/// One of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Metric {
    /// `istio_requests_total`.
    RequestCount,
    /// `istio_request_duration_milliseconds`.
    RequestDuration,
    /// `istio_request_bytes`.
    RequestSize,
    /// `istio_response_bytes`.
    ResponseSize,
}

/// Another value for a label, or none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TagOverride {
    /// A template.
    pub value: Option<String>,
    /// The label is left out.
    pub remove: bool,
}

/// A line per exchange.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LogLine {
    /// A template.
    pub template: String,
    /// So many percent of the exchanges.
    #[serde(default = "all")]
    pub sampling: f64,
    /// Only for these requests.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Only for responses with this status or above, and for exchanges without a response.
    #[serde(default)]
    pub min_status: u16,
}

fn all() -> f64 {
    100.0
}

/// Trace context.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Tracing {
    /// So many percent of the traces that begin here are sampled.
    pub sampling: f64,
    /// In which formats the context is sent on; it is read in all of them.
    pub propagate: Vec<Propagation>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            sampling: 1.0,
            propagate: vec![Propagation::W3c],
        }
    }
}

/// A format of trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Propagation {
    /// `traceparent`.
    W3c,
    /// `b3`.
    B3,
    /// `x-b3-traceid` and its siblings.
    B3Multi,
}
