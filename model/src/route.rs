//! Which cluster answers a request, and under which conditions.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::filter::FilterConfig;
use crate::matching::{Fraction, HeaderMatch, QueryMatch};

/// `envoy.config.route.v3.RouteConfiguration`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteConfiguration {
    /// The name that a listener asks for.
    pub name: String,
    /// Chosen by the request's authority.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Applied after those of route and virtual host.
    pub edits: HeaderEdits,
    /// `false`: the port of the authority takes part in the match of domains.
    pub ignore_port_in_host: bool,
    /// Whether a route to a cluster that is not there is refused. `None`: only where the configuration stands in a
    /// listener, as Envoy has it.
    pub validate_clusters: Option<bool>,
}

/// `envoy.config.route.v3.VirtualHost`.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualHost {
    /// For statistics and logs.
    pub name: String,
    /// Exact (`a.b`), suffix (`*.b`), prefix (`a.*`) or any (`*`); the longest of the best kind wins, in that
    /// order. Unique within a route configuration.
    pub domains: Vec<String>,
    /// The first that matches wins.
    pub routes: Vec<Route>,
    /// Applied after those of the route.
    pub edits: HeaderEdits,
    /// For routes that have none.
    pub retry: Option<RetryPolicy>,
    /// Who is told in `x-envoy-attempt-count` how often an upstream was tried.
    pub tells_attempts: TellsAttempts,
    /// Filter configuration for this host, by the filter's name in the listener.
    pub filter_overrides: BTreeMap<String, FilterOverride>,
}

/// `include_request_attempt_count` and `include_attempt_count_in_response` of a virtual host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TellsAttempts {
    /// The upstream.
    pub request: bool,
    /// The downstream.
    pub response: bool,
}

/// `envoy.config.route.v3.Route`.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// For logs; may be empty.
    pub name: String,
    /// When this route is chosen.
    pub matches: RouteMatch,
    /// What then happens.
    pub action: RouteAction,
    /// Applied first.
    pub edits: HeaderEdits,
    /// Filter configuration for this route, by the filter's name in the listener.
    pub filter_overrides: BTreeMap<String, FilterOverride>,
}

/// One entry of `typed_per_filter_config`.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterOverride {
    /// The filter does not run here.
    Disabled,
    /// It runs with this configuration instead.
    Config(Box<FilterConfig>),
}

/// `envoy.config.route.v3.RouteMatch`. All parts must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteMatch {
    /// The path without its query.
    pub path: PathMatch,
    /// Applies to prefix and exact paths.
    pub case_sensitive: bool,
    /// All of them.
    pub headers: Vec<HeaderMatch>,
    /// All of them.
    pub query: Vec<QueryMatch>,
    /// Only requests whose `content-type` is `application/grpc` or begins with `application/grpc+`.
    pub grpc: bool,
    /// Only this share of the requests.
    pub fraction: Option<Fraction>,
}

impl RouteMatch {
    /// Any request whose path is matched by `path`.
    pub fn path(path: PathMatch) -> Self {
        Self {
            path,
            case_sensitive: true,
            headers: Vec::new(),
            query: Vec::new(),
            grpc: false,
            fraction: None,
        }
    }
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// Begins with.
    Prefix(String),
    /// Equal to this, or begins with this and a `/`.
    SeparatedPrefix(String),
    /// Equal.
    Exact(String),
    /// The whole path matches.
    Regex(String),
}

/// What a route does.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteAction {
    /// Ask a cluster.
    Forward(Box<Forward>),
    /// Answer with another place.
    Redirect(Redirect),
    /// Answer at once.
    Direct(DirectResponse),
}

/// `envoy.config.route.v3.RouteAction`.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Whom to ask.
    pub target: Target,
    /// From the end of the request to the end of the response; `None` never ends (Envoy's default is 15 s).
    pub timeout: Option<Duration>,
    /// Overrides the connection manager's `stream_idle_timeout`.
    pub idle_timeout: Option<Duration>,
    /// When and how often to try again.
    pub retry: Option<RetryPolicy>,
    /// What the upstream sees as path.
    pub path_rewrite: Option<PathRewrite>,
    /// What the upstream sees as authority.
    pub host_rewrite: Option<HostRewrite>,
}

impl Forward {
    /// Forward to `cluster` with Envoy's defaults.
    pub fn to(cluster: impl Into<String>) -> Self {
        Self {
            target: Target::Cluster(cluster.into()),
            timeout: Some(Duration::from_secs(15)),
            idle_timeout: None,
            retry: None,
            path_rewrite: None,
            host_rewrite: None,
        }
    }
}

/// Which cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// This one.
    Cluster(String),
    /// One of these, by weight. The sum is above zero.
    Weighted(Vec<WeightedCluster>),
    /// The one that this request header names (lower case); an unknown one is a 503.
    Header(String),
}

/// `envoy.config.route.v3.WeightedCluster.ClusterWeight`.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedCluster {
    /// Cluster name.
    pub name: String,
    /// Its share of the sum.
    pub weight: u32,
    /// Applied before those of the route.
    pub edits: HeaderEdits,
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// What the match consumed is replaced by this.
    Prefix(String),
    /// All matches of `pattern` are replaced by `substitution` (`\1` to `\9` are groups, `\0` the whole match).
    Regex {
        /// RE2 syntax.
        pattern: String,
        /// Envoy's substitution syntax.
        substitution: String,
    },
}

/// A new authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRewrite {
    /// This text.
    Literal(String),
    /// The host name of the chosen endpoint, where it has one.
    Auto,
    /// The value of this request header.
    Header(String),
}

/// `envoy.config.route.v3.RedirectAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// A new scheme.
    pub scheme: Option<String>,
    /// A new host.
    pub host: Option<String>,
    /// A new port.
    pub port: Option<u16>,
    /// A new path.
    pub path: Option<RedirectPath>,
    /// The query is dropped.
    pub strip_query: bool,
}

/// The path part of a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPath {
    /// The whole path.
    Full(String),
    /// What the match consumed is replaced by this.
    Prefix(String),
    /// As [`PathRewrite::Regex`].
    Regex {
        /// RE2 syntax.
        pattern: String,
        /// Envoy's substitution syntax.
        substitution: String,
    },
}

/// `envoy.config.route.v3.DirectResponseAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: u16,
    /// Sent as `text/plain` unless an edit says otherwise.
    pub body: Vec<u8>,
}

/// `envoy.config.route.v3.RetryPolicy`.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// What is worth another try.
    pub on: RetryOn,
    /// Further tries after the first.
    pub retries: u32,
    /// Each try ends after this.
    pub per_try_timeout: Option<Duration>,
    /// Statuses for [`RetryOn::retriable_status_codes`].
    pub status_codes: Vec<u16>,
    /// First pause; doubled and jittered each time (default 25 ms).
    pub backoff_base: Duration,
    /// Longest pause (default ten times the base).
    pub backoff_max: Duration,
    /// Prefer endpoints that were not tried yet.
    pub avoid_previous_hosts: bool,
}

/// `x-envoy-retry-on` and `x-envoy-retry-grpc-on`, as flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a set of independent conditions, named as Envoy names them"
)]
pub struct RetryOn {
    /// Any 5xx, reset or no response.
    pub server_error: bool,
    /// 502, 503, 504.
    pub gateway_error: bool,
    /// The connection could not be made.
    pub connect_failure: bool,
    /// Disconnect, reset or read timeout before any response.
    pub reset: bool,
    /// A reset before the request was sent.
    pub reset_before_request: bool,
    /// The upstream refused the stream.
    pub refused_stream: bool,
    /// 409.
    pub retriable_4xx: bool,
    /// [`RetryPolicy::status_codes`].
    pub retriable_status_codes: bool,
    /// `grpc-status` 1.
    pub grpc_cancelled: bool,
    /// `grpc-status` 4.
    pub grpc_deadline_exceeded: bool,
    /// `grpc-status` 13.
    pub grpc_internal: bool,
    /// `grpc-status` 8.
    pub grpc_resource_exhausted: bool,
    /// `grpc-status` 14.
    pub grpc_unavailable: bool,
}

/// Header changes of a route, virtual host or route configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderEdits {
    /// To the request.
    pub request: Vec<HeaderEdit>,
    /// From the request, lower case.
    pub request_remove: Vec<String>,
    /// To the response.
    pub response: Vec<HeaderEdit>,
    /// From the response, lower case.
    pub response_remove: Vec<String>,
}

/// `envoy.config.core.v3.HeaderValueOption`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderEdit {
    /// Lower case.
    pub name: String,
    /// With Envoy's command operators.
    pub value: crate::access_log::Format,
    /// What happens to a field that is there.
    pub append: AppendAction,
}

/// `HeaderValueOption.HeaderAppendAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAction {
    /// Another field of the same name.
    AppendOrAdd,
    /// Only where there is none.
    AddIfAbsent,
    /// The only field of this name.
    OverwriteOrAdd,
    /// Only where there is one.
    OverwriteIfExists,
}
