//! `envoy.config.route.v3.RouteConfiguration`: virtual hosts, routes and what they match.

use std::collections::BTreeSet;

use leno_model::invalid::Invalid;
use leno_model::route::{
    PathMatch, Route, RouteAction, RouteConfiguration, RouteMatch, TellsAttempts, VirtualHost,
};

use crate::pb::route::route_match::PathSpecifier;
use crate::pb::{core, route};
use crate::strict::Fields;
use crate::wire::{Within, boolean, list, required, required_text};
use crate::{filter, header_edits, matching, retry, route_action};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.route.v3.RouteConfiguration",
        supported: &[
            "name",
            "virtual_hosts",
            "request_headers_to_add",
            "request_headers_to_remove",
            "response_headers_to_add",
            "response_headers_to_remove",
            "ignore_port_in_host_matching",
            "validate_clusters",
        ],
        no_effect: &[("metadata", "it is for people and for filters of other types")],
    },
    Fields {
        message: "envoy.config.route.v3.VirtualHost",
        supported: &[
            "name",
            "domains",
            "routes",
            "request_headers_to_add",
            "request_headers_to_remove",
            "response_headers_to_add",
            "response_headers_to_remove",
            "typed_per_filter_config",
            "retry_policy",
            "include_request_attempt_count",
            "include_attempt_count_in_response",
        ],
        no_effect: &[("metadata", "it is for people and for filters of other types")],
    },
    Fields {
        message: "envoy.config.route.v3.Route",
        supported: &[
            "name",
            "match",
            "route",
            "redirect",
            "direct_response",
            "request_headers_to_add",
            "request_headers_to_remove",
            "response_headers_to_add",
            "response_headers_to_remove",
            "typed_per_filter_config",
        ],
        no_effect: &[
            ("metadata", "it is for people and for filters of other types"),
            ("decorator", "it names spans, and there is no tracing"),
        ],
    },
    Fields {
        message: "envoy.config.route.v3.RouteMatch",
        supported: &[
            "prefix",
            "path",
            "safe_regex",
            "path_separated_prefix",
            "case_sensitive",
            "runtime_fraction",
            "headers",
            "query_parameters",
            "grpc",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions",
        supported: &[],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.RuntimeFractionalPercent",
        supported: &["default_value"],
        no_effect: &[(
            "runtime_key",
            "there is no runtime layer, and without a layer the default counts",
        )],
    },
];

/// From the wire, as a resource of its own.
pub(crate) fn decode(config: &route::RouteConfiguration) -> Result<RouteConfiguration, Invalid> {
    required_text("name", &config.name)?;
    decode_inline(config)
}

/// From the wire, inside a listener: there it needs no name.
pub(crate) fn decode_inline(config: &route::RouteConfiguration) -> Result<RouteConfiguration, Invalid> {
    let virtual_hosts = list("virtual_hosts", &config.virtual_hosts, decode_host)?;
    let mut seen = BTreeSet::new();
    for (host_index, host) in virtual_hosts.iter().enumerate() {
        for (index, domain) in host.domains.iter().enumerate() {
            if !seen.insert(domain.to_ascii_lowercase()) {
                let path = format!("virtual_hosts[{host_index}].domains[{index}]");
                return Err(Invalid::new(
                    path,
                    format!("`{domain}` stands twice in this configuration"),
                ));
            }
        }
    }
    Ok(RouteConfiguration {
        name: config.name.clone(),
        virtual_hosts,
        edits: header_edits::decode(&header_edits::Wire {
            request_add: &config.request_headers_to_add,
            request_remove: &config.request_headers_to_remove,
            response_add: &config.response_headers_to_add,
            response_remove: &config.response_headers_to_remove,
        })?,
        ignore_port_in_host: config.ignore_port_in_host_matching,
        validate_clusters: config.validate_clusters.map(|validate| validate.value),
    })
}

/// To the wire.
pub(crate) fn encode(value: &RouteConfiguration) -> route::RouteConfiguration {
    let edits = header_edits::encode(&value.edits);
    route::RouteConfiguration {
        name: value.name.clone(),
        virtual_hosts: value.virtual_hosts.iter().map(encode_host).collect(),
        request_headers_to_add: edits.request_add,
        request_headers_to_remove: edits.request_remove,
        response_headers_to_add: edits.response_add,
        response_headers_to_remove: edits.response_remove,
        ignore_port_in_host_matching: value.ignore_port_in_host,
        validate_clusters: value.validate_clusters.map(boolean),
        ..Default::default()
    }
}

fn decode_host(host: &route::VirtualHost) -> Result<VirtualHost, Invalid> {
    if host.domains.is_empty() {
        return Err(Invalid::new("domains", "at least one is required"));
    }
    list("domains", &host.domains, |domain| check_domain(domain))?;
    Ok(VirtualHost {
        name: required_text("name", &host.name)?.to_owned(),
        domains: host.domains.clone(),
        routes: list("routes", &host.routes, decode_route)?,
        edits: header_edits::decode(&header_edits::Wire {
            request_add: &host.request_headers_to_add,
            request_remove: &host.request_headers_to_remove,
            response_add: &host.response_headers_to_add,
            response_remove: &host.response_headers_to_remove,
        })?,
        retry: host
            .retry_policy
            .as_ref()
            .map(retry::decode)
            .transpose()
            .within("retry_policy")?,
        tells_attempts: TellsAttempts {
            request: host.include_request_attempt_count,
            response: host.include_attempt_count_in_response,
        },
        filter_overrides: filter::decode_overrides(&host.typed_per_filter_config)?,
    })
}

/// A star stands alone, or at one end.
fn check_domain(domain: &str) -> Result<(), Invalid> {
    let stars = domain.matches('*').count();
    let at_an_end = domain.starts_with('*') || domain.ends_with('*');
    match stars {
        _ if domain.is_empty() => Err(Invalid::new("", "a domain is required")),
        0 => Ok(()),
        1 if at_an_end => Ok(()),
        _ => Err(Invalid::new(
            "",
            format!("`{domain}`: one `*` may stand at the beginning or at the end"),
        )),
    }
}

fn encode_host(value: &VirtualHost) -> route::VirtualHost {
    let edits = header_edits::encode(&value.edits);
    route::VirtualHost {
        name: value.name.clone(),
        domains: value.domains.clone(),
        routes: value.routes.iter().map(encode_route).collect(),
        request_headers_to_add: edits.request_add,
        request_headers_to_remove: edits.request_remove,
        response_headers_to_add: edits.response_add,
        response_headers_to_remove: edits.response_remove,
        retry_policy: value.retry.as_ref().map(retry::encode),
        include_request_attempt_count: value.tells_attempts.request,
        include_attempt_count_in_response: value.tells_attempts.response,
        typed_per_filter_config: encode_overrides(&value.filter_overrides),
        ..Default::default()
    }
}

fn encode_overrides(
    overrides: &std::collections::BTreeMap<String, leno_model::route::FilterOverride>,
) -> std::collections::HashMap<String, crate::pb::protobuf::Any> {
    let encoded = overrides
        .iter()
        .map(|(name, value)| (name.clone(), filter::encode_override(value)));
    encoded.collect()
}

fn decode_route(entry: &route::Route) -> Result<Route, Invalid> {
    let matches = required("match", entry.r#match.as_ref())?;
    let action = match &entry.action {
        None => {
            return Err(Invalid::new(
                "",
                "one of `route`, `redirect` and `direct_response` is required",
            ));
        }
        Some(route::route::Action::Route(forward)) => {
            RouteAction::Forward(Box::new(route_action::decode_forward(forward).within("route")?))
        }
        Some(route::route::Action::Redirect(redirect)) => {
            RouteAction::Redirect(route_action::decode_redirect(redirect).within("redirect")?)
        }
        Some(route::route::Action::DirectResponse(direct)) => {
            RouteAction::Direct(route_action::decode_direct(direct).within("direct_response")?)
        }
        Some(route::route::Action::FilterAction(_)) => {
            return Err(Invalid::new("filter_action", "not supported by this version"));
        }
        Some(route::route::Action::NonForwardingAction(_)) => {
            return Err(Invalid::new(
                "non_forwarding_action",
                "not supported by this version",
            ));
        }
    };
    Ok(Route {
        name: entry.name.clone(),
        matches: decode_match(matches).within("match")?,
        action,
        edits: header_edits::decode(&header_edits::Wire {
            request_add: &entry.request_headers_to_add,
            request_remove: &entry.request_headers_to_remove,
            response_add: &entry.response_headers_to_add,
            response_remove: &entry.response_headers_to_remove,
        })?,
        filter_overrides: filter::decode_overrides(&entry.typed_per_filter_config)?,
    })
}

fn encode_route(value: &Route) -> route::Route {
    let edits = header_edits::encode(&value.edits);
    let action = match &value.action {
        RouteAction::Forward(forward) => route::route::Action::Route(route_action::encode_forward(forward)),
        RouteAction::Redirect(redirect) => {
            route::route::Action::Redirect(route_action::encode_redirect(redirect))
        }
        RouteAction::Direct(direct) => {
            route::route::Action::DirectResponse(route_action::encode_direct(direct))
        }
    };
    route::Route {
        name: value.name.clone(),
        r#match: Some(encode_match(&value.matches)),
        action: Some(action),
        request_headers_to_add: edits.request_add,
        request_headers_to_remove: edits.request_remove,
        response_headers_to_add: edits.response_add,
        response_headers_to_remove: edits.response_remove,
        typed_per_filter_config: encode_overrides(&value.filter_overrides),
        ..Default::default()
    }
}

fn decode_match(value: &route::RouteMatch) -> Result<RouteMatch, Invalid> {
    let path = match required("", value.path_specifier.as_ref())? {
        PathSpecifier::Prefix(prefix) => PathMatch::Prefix(prefix.clone()),
        PathSpecifier::Path(path) => PathMatch::Exact(path.clone()),
        PathSpecifier::SafeRegex(regex) => PathMatch::Regex(matching::regex(regex).within("safe_regex")?),
        PathSpecifier::PathSeparatedPrefix(prefix) => {
            let is_path = prefix.starts_with('/') && !prefix.ends_with('/') && !prefix.contains(['?', '#']);
            if !is_path {
                let reason =
                    format!("`{prefix}` must begin with `/`, not end with `/`, and hold no `?` or `#`");
                return Err(Invalid::new("path_separated_prefix", reason));
            }
            PathMatch::SeparatedPrefix(prefix.clone())
        }
        PathSpecifier::ConnectMatcher(_) => {
            return Err(Invalid::new("connect_matcher", "not supported by this version"));
        }
        PathSpecifier::PathMatchPolicy(_) => {
            return Err(Invalid::new("path_match_policy", "not supported by this version"));
        }
    };
    let fraction = match &value.runtime_fraction {
        None => None,
        Some(fraction) => {
            let percent = required("default_value", fraction.default_value.as_ref());
            let percent = percent.and_then(|percent| matching::fraction(percent).within("default_value"));
            Some(percent.within("runtime_fraction")?)
        }
    };
    Ok(RouteMatch {
        path,
        case_sensitive: value.case_sensitive.is_none_or(|yes| yes.value),
        headers: list("headers", &value.headers, matching::header)?,
        query: list("query_parameters", &value.query_parameters, matching::query)?,
        grpc: value.grpc.is_some(),
        fraction,
    })
}

fn encode_match(value: &RouteMatch) -> route::RouteMatch {
    let path = match &value.path {
        PathMatch::Prefix(prefix) => PathSpecifier::Prefix(prefix.clone()),
        PathMatch::Exact(path) => PathSpecifier::Path(path.clone()),
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(matching::to_regex(regex)),
        PathMatch::SeparatedPrefix(prefix) => PathSpecifier::PathSeparatedPrefix(prefix.clone()),
    };
    route::RouteMatch {
        path_specifier: Some(path),
        case_sensitive: (!value.case_sensitive).then(|| boolean(false)),
        headers: value.headers.iter().map(matching::to_header).collect(),
        query_parameters: value.query.iter().map(matching::to_query).collect(),
        grpc: value
            .grpc
            .then(route::route_match::GrpcRouteMatchOptions::default),
        runtime_fraction: value.fraction.map(|fraction| core::RuntimeFractionalPercent {
            default_value: Some(matching::to_fraction(fraction)),
            runtime_key: String::new(),
        }),
        ..Default::default()
    }
}
