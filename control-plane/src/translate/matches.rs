//! What a route matches.

use leno_model::matching::{HeaderMatch, HeaderValueMatch, Pattern, QueryMatch};
use leno_model::route::{PathMatch, RouteMatch};

use crate::api::meta::StringMatch;
use crate::api::virtual_service::HttpMatch;

/// Whether nothing gets past a route: Istio sets such routes of several virtual services behind their others.
pub(super) fn is_catch_all(matches: &RouteMatch) -> bool {
    let any_path = match &matches.path {
        PathMatch::Prefix(prefix) => prefix.is_empty() || prefix == "/",
        PathMatch::Regex(pattern) => pattern == ".*",
        PathMatch::Exact(_) | PathMatch::SeparatedPrefix(_) => false,
    };
    let rest = RouteMatch {
        path: matches.path.clone(),
        case_sensitive: matches.case_sensitive,
        ..RouteMatch::path(PathMatch::Prefix(String::new()))
    };
    any_path && *matches == rest
}

/// All parts of a match but those that were decided already: port, gateways, the caller.
pub(super) fn route_match(matched: &HttpMatch) -> RouteMatch {
    let path = match &matched.uri {
        None => PathMatch::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathMatch::Exact(path.clone()),
        Some(StringMatch::Prefix(path)) => PathMatch::Prefix(path.clone()),
        Some(StringMatch::Regex(pattern)) => PathMatch::Regex(pattern.clone()),
    };
    let pseudo = [
        (":method", &matched.method),
        (":authority", &matched.authority),
        (":scheme", &matched.scheme),
    ];
    let pseudo = pseudo
        .into_iter()
        .filter_map(|(name, value)| Some(header(name, value.as_ref(), false)).filter(|_| value.is_some()));
    let headers = matched
        .headers
        .iter()
        .map(|(name, value)| header(name, value.as_ref(), false));
    let without = matched
        .without_headers
        .iter()
        .map(|(name, value)| header(name, value.as_ref(), true));
    RouteMatch {
        case_sensitive: !matched.ignore_uri_case,
        headers: pseudo.chain(headers).chain(without).collect(),
        query: matched
            .query_params
            .iter()
            .map(|(name, value)| QueryMatch {
                name: name.clone(),
                value: value.as_ref().filter(|value| !is_any(value)).map(string_match),
            })
            .collect(),
        ..RouteMatch::path(path)
    }
}

/// Istio's reading of `withoutHeaders`: a field that is missing is an empty one, which an inverted match lets pass.
fn header(name: &str, value: Option<&StringMatch>, invert: bool) -> HeaderMatch {
    let value = match value {
        None => HeaderValueMatch::Present(true),
        Some(value) if is_any(value) => HeaderValueMatch::Present(true),
        Some(value) => HeaderValueMatch::String(string_match(value)),
    };
    HeaderMatch {
        name: name.to_ascii_lowercase(),
        treat_missing_as_empty: invert && value != HeaderValueMatch::Present(true),
        value,
        invert,
    }
}

/// Every value begins with nothing.
fn is_any(value: &StringMatch) -> bool {
    *value == StringMatch::Prefix(String::new())
}

fn string_match(from: &StringMatch) -> leno_model::matching::StringMatch {
    let pattern = match from {
        StringMatch::Exact(text) => Pattern::Exact(text.clone()),
        StringMatch::Prefix(text) => Pattern::Prefix(text.clone()),
        StringMatch::Regex(text) => Pattern::Regex(text.clone()),
    };
    leno_model::matching::StringMatch {
        pattern,
        ignore_case: false,
    }
}
