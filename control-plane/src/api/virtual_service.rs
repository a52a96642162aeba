//! `networking.istio.io VirtualService`: HTTP routes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::meta::{Span, StringMatch, string_match, string_matches};

/// `VirtualService.spec`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualService {
    /// Authorities it applies to; `*` and `*.suffix` are patterns.
    pub hosts: Vec<String>,
    /// `[namespace/]name` of Gateways, or `mesh` for sidecars (the default).
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Namespaces that see it: `.`, `*` or names; absent means all.
    #[serde(default)]
    pub export_to: Vec<String>,
    /// The first that matches wins.
    #[serde(default)]
    pub http: Vec<HttpRoute>,
}

/// `HTTPRoute`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRoute {
    /// For logs.
    #[serde(default)]
    pub name: String,
    /// Any of them; absent matches everything.
    #[serde(default, rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Where to, by weight.
    #[serde(default)]
    pub route: Vec<RouteDestination>,
    /// Answer with another place.
    #[serde(default)]
    pub redirect: Option<Redirect>,
    /// Answer at once.
    #[serde(default)]
    pub direct_response: Option<DirectResponse>,
    /// New path or authority.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
    /// For the whole exchange; absent means none, as in Istio.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// When to try again; absent means Istio's default of two retries.
    #[serde(default)]
    pub retries: Option<Retries>,
    /// Header changes.
    #[serde(default)]
    pub headers: Option<Headers>,
}

/// `HTTPMatchRequest`: all of its parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMatch {
    /// For logs.
    #[serde(default)]
    pub name: String,
    /// Path.
    #[serde(default, deserialize_with = "string_match")]
    pub uri: Option<StringMatch>,
    /// `http` or `https`.
    #[serde(default, deserialize_with = "string_match")]
    pub scheme: Option<StringMatch>,
    /// Method.
    #[serde(default, deserialize_with = "string_match")]
    pub method: Option<StringMatch>,
    /// Authority.
    #[serde(default, deserialize_with = "string_match")]
    pub authority: Option<StringMatch>,
    /// Headers; an empty match means presence.
    #[serde(default, deserialize_with = "string_matches")]
    pub headers: BTreeMap<String, Option<StringMatch>>,
    /// Headers that must not match.
    #[serde(default, deserialize_with = "string_matches")]
    pub without_headers: BTreeMap<String, Option<StringMatch>>,
    /// Query parameters.
    #[serde(default, deserialize_with = "string_matches")]
    pub query_params: BTreeMap<String, Option<StringMatch>>,
    /// Exact and prefix paths match in any case.
    #[serde(default)]
    pub ignore_uri_case: bool,
    /// Port of the listener.
    #[serde(default)]
    pub port: Option<u16>,
    /// Labels of the calling workload.
    #[serde(default)]
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the calling workload.
    #[serde(default)]
    pub source_namespace: String,
    /// Narrows the virtual service's own list.
    #[serde(default)]
    pub gateways: Vec<String>,
}

/// `HTTPRouteDestination`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteDestination {
    /// Whom to ask.
    pub destination: Destination,
    /// Its share; may be absent for a single destination.
    #[serde(default)]
    pub weight: u32,
    /// Header changes.
    #[serde(default)]
    pub headers: Option<Headers>,
}

/// `Destination`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// A host of a ServiceEntry. A short name gets the namespace's `.svc.cluster.local`.
    pub host: String,
    /// A subset of its DestinationRule.
    #[serde(default)]
    pub subset: String,
    /// Needed when the host has several ports.
    #[serde(default)]
    pub port: Option<PortNumber>,
}

/// `PortSelector`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortNumber {
    /// 1 to 65535.
    pub number: u16,
}

/// `HTTPRedirect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redirect {
    /// The whole path.
    #[serde(default)]
    pub uri: String,
    /// The host.
    #[serde(default)]
    pub authority: String,
    /// The port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Instead of a port.
    #[serde(default)]
    pub derive_port: Option<DerivePort>,
    /// The scheme.
    #[serde(default)]
    pub scheme: String,
    /// 301 when absent.
    #[serde(default)]
    pub redirect_code: Option<u16>,
}

/// `RedirectPortSelection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum DerivePort {
    /// 80 or 443.
    #[serde(rename = "FROM_PROTOCOL_DEFAULT")]
    FromProtocolDefault,
    /// The port of the request.
    #[serde(rename = "FROM_REQUEST_PORT")]
    FromRequestPort,
}

/// `HTTPDirectResponse`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: u16,
    /// May be absent.
    #[serde(default)]
    pub body: Option<Body>,
}

/// `HTTPBody`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Text.
    pub string: String,
}

/// `HTTPRewrite`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rewrite {
    /// Replaces the path, or the prefix that matched.
    #[serde(default)]
    pub uri: String,
    /// Replaces the authority.
    #[serde(default)]
    pub authority: String,
    /// Replaces what a regular expression finds.
    #[serde(default)]
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// `RegexRewrite`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegexRewrite {
    /// RE2.
    #[serde(rename = "match")]
    pub pattern: String,
    /// With `\1` to `\9`.
    pub rewrite: String,
}

/// `HTTPRetry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retries {
    /// 0 turns retries off.
    #[serde(default)]
    pub attempts: u32,
    /// Each try ends after this.
    #[serde(default)]
    pub per_try_timeout: Option<Span>,
    /// Envoy's names and status codes, separated by commas.
    #[serde(default)]
    pub retry_on: String,
    /// First pause.
    #[serde(default)]
    pub backoff: Option<Span>,
    /// Prefer endpoints that were not tried; true when absent.
    #[serde(default)]
    pub retry_ignore_previous_hosts: Option<bool>,
}

/// `Headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    /// Before forwarding.
    #[serde(default)]
    pub request: HeaderOperations,
    /// Before answering.
    #[serde(default)]
    pub response: HeaderOperations,
}

/// `HeaderOperations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderOperations {
    /// The only field of its name.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// One more field.
    #[serde(default)]
    pub add: BTreeMap<String, String>,
    /// No field of this name.
    #[serde(default)]
    pub remove: Vec<String>,
}
