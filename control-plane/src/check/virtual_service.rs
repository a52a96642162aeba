//! Rules across the fields of a `VirtualService`.
//!
//! A proxy takes the routes of a port as a whole or not at all. So nothing that a proxy would refuse may pass here.

use std::collections::BTreeSet;
use std::sync::Arc;

use leno_model::access_log::Format;
use leno_model::field;
use leno_model::invalid::Invalid;

use leno_model::route::{RouteConfiguration, VirtualHost};
use leno_xds::codec;
use leno_xds::resource::Resource;

use super::{Checked, SHORTEST, domain, export_to, host, names, pattern, refuse};
use crate::api::virtual_service::{
    Headers, HttpMatch, HttpRoute, Redirect, Retries, Rewrite, RouteDestination, VirtualService,
};
use crate::translate::everywhere;
use crate::translate::retry::parse_retry_on;
use crate::translate::routes::{self, is_authority};
use crate::translate::scope::full_host;
use crate::world::Object;

/// `VirtualService`.
///
/// # Errors
/// The first field that breaks a rule.
pub fn virtual_service(object: &Object<VirtualService>) -> Checked {
    names::meta(&object.meta)?;
    let spec = &object.spec;
    hosts(object)?;
    export_to(&spec.export_to)?;
    if spec.http.is_empty() {
        return refuse(
            "spec.http",
            "is empty; a virtual service needs at least one route",
        );
    }
    for (position, route) in spec.http.iter().enumerate() {
        http_route(route).map_err(|invalid| invalid.within(&format!("spec.http[{position}]")))?;
    }
    decoded(object)
}

fn hosts(object: &Object<VirtualService>) -> Checked {
    let spec = &object.spec;
    if spec.hosts.is_empty() {
        return refuse("spec.hosts", "is empty; name at least one host");
    }
    let mut seen = BTreeSet::new();
    for (index, host) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        domain(host).map_err(|invalid| invalid.within(&path))?;
        if host == "*" && (spec.gateways.is_empty() || spec.gateways.iter().any(|name| name == "mesh")) {
            return refuse(
                path,
                "\"*\" is not allowed for sidecars; name gateways other than mesh, or name the host",
            );
        }
        let in_full = full_host(host, &object.meta.namespace);
        if !seen.insert(in_full.clone()) {
            return refuse(
                path,
                format!("{host:?} stands there twice: {in_full} in full, without regard to case"),
            );
        }
    }
    Ok(())
}

/// What becomes of the object passes the decoder of proxies. All that users get wrong is named above in their words;
/// this keeps what was overlooked from taking the routes of everybody else with it.
fn decoded(object: &Object<VirtualService>) -> Checked {
    let (paths, routes): (Vec<_>, Vec<_>) = everywhere::routes(object).into_iter().unzip();
    let configuration = RouteConfiguration {
        name: "alone".to_owned(),
        virtual_hosts: vec![VirtualHost {
            routes,
            ..routes::host("*", 80)
        }],
        ..RouteConfiguration::default()
    };
    let resource = Resource::RouteConfiguration(Arc::new(configuration));
    let (type_url, bytes) = codec::encode(&resource);
    let Err(invalid) = codec::decode(resource.kind(), type_url, &bytes) else {
        return Ok(());
    };
    let inner = invalid
        .path
        .strip_prefix("virtual_hosts[0].routes[")
        .and_then(|rest| rest.split_once(']'))
        .and_then(|(index, field)| Some((paths.get(index.parse::<usize>().ok()?)?, field)));
    let (path, field) = inner.map_or(("spec", invalid.path.as_str()), |(path, field)| {
        (path, field.trim_start_matches('.'))
    });
    refuse(
        path,
        format!("makes a route that proxies refuse: {field}: {}", invalid.reason),
    )
}

fn http_route(route: &HttpRoute) -> Checked {
    let actions = [
        !route.route.is_empty(),
        route.redirect.is_some(),
        route.direct_response.is_some(),
    ];
    if actions.iter().filter(|set| **set).count() != 1 {
        return refuse("", "needs exactly one of route, redirect and directResponse");
    }
    for (index, matched) in route.matches.iter().enumerate() {
        http_match(matched).map_err(|invalid| invalid.within(&format!("match[{index}]")))?;
    }
    if route.rewrite.is_some() && route.route.is_empty() {
        return refuse("rewrite", "goes only with route");
    }
    if let Some(rewrite) = &route.rewrite {
        self::rewrite(rewrite).map_err(|invalid| invalid.within("rewrite"))?;
    }
    destinations(&route.route)?;
    if let Some(redirect) = &route.redirect {
        self::redirect(redirect).map_err(|invalid| invalid.within("redirect"))?;
    }
    if let Some(direct) = &route.direct_response
        && !(200..=599).contains(&direct.status)
    {
        return refuse("directResponse.status", "must be 200 to 599");
    }
    if let Some(Retries {
        retry_on, backoff, ..
    }) = &route.retries
    {
        parse_retry_on(retry_on).map_err(|invalid| invalid.within("retries.retryOn"))?;
        if backoff.is_some_and(|backoff| backoff.0 < SHORTEST) {
            return refuse("retries.backoff", "must be 1ms at least");
        }
    }
    headers(route.headers.as_ref(), true)
}

fn http_match(matched: &HttpMatch) -> Checked {
    let single = [
        ("uri", &matched.uri),
        ("scheme", &matched.scheme),
        ("method", &matched.method),
        ("authority", &matched.authority),
    ];
    for (path, value) in single {
        pattern::string(value.as_ref()).map_err(|invalid| invalid.within(path))?;
    }
    for (path, map) in [
        ("headers", &matched.headers),
        ("withoutHeaders", &matched.without_headers),
    ] {
        for (name, value) in map {
            let path = format!("{path}.{name}");
            // Pseudo-headers can be looked at, though not edited; so can the host.
            let looked_at = name.strip_prefix(':').unwrap_or(name);
            if !looked_at.eq_ignore_ascii_case("host") {
                field::editable_name(looked_at).map_err(|invalid| invalid.within(&path))?;
            }
            pattern::string(value.as_ref()).map_err(|invalid| invalid.within(&path))?;
        }
    }
    for (name, value) in &matched.query_params {
        pattern::string(value.as_ref()).map_err(|invalid| invalid.within(&format!("queryParams.{name}")))?;
    }
    Ok(())
}

fn rewrite(rewrite: &Rewrite) -> Checked {
    pattern::text(&rewrite.uri).map_err(|invalid| invalid.within("uri"))?;
    pattern::text(&rewrite.authority).map_err(|invalid| invalid.within("authority"))?;
    let Some(regex) = &rewrite.uri_regex_rewrite else {
        return Ok(());
    };
    if !rewrite.uri.is_empty() {
        return refuse("uri", "cannot stand beside uriRegexRewrite; keep one of them");
    }
    pattern::substitution(&regex.pattern, &regex.rewrite).map_err(|invalid| invalid.within("uriRegexRewrite"))
}

fn destinations(route: &[RouteDestination]) -> Checked {
    let total: u64 = route.iter().map(|to| u64::from(to.weight)).sum();
    if route.len() > 1 && total == 0 {
        return refuse(
            "route",
            "the weights add up to 0; give each destination its share",
        );
    }
    if total > u64::from(u32::MAX) {
        return refuse(
            "route",
            format!("the weights add up to {total}; {} is the most", u32::MAX),
        );
    }
    for (index, to) in route.iter().enumerate() {
        let path = format!("route[{index}]");
        if to.destination.host.is_empty() || to.destination.host.starts_with('*') {
            return refuse(
                format!("{path}.destination.host"),
                "must be one host, not a pattern",
            );
        }
        host(&to.destination.host).map_err(|invalid| invalid.within(&format!("{path}.destination.host")))?;
        if to.destination.port.is_some_and(|port| port.number == 0) {
            return refuse(format!("{path}.destination.port.number"), "must be 1 to 65535");
        }
        // A destination has no rewrite of its own: the host of a request is the route's.
        headers(to.headers.as_ref(), false).map_err(|invalid| invalid.within(&path))?;
    }
    Ok(())
}

fn redirect(redirect: &Redirect) -> Checked {
    let texts = [
        ("uri", &redirect.uri),
        ("authority", &redirect.authority),
        ("scheme", &redirect.scheme),
    ];
    for (path, text) in texts {
        pattern::text(text).map_err(|invalid| invalid.within(path))?;
    }
    if redirect.port == Some(0) {
        return refuse("port", "must be 1 to 65535");
    }
    if redirect.port.is_some() && redirect.derive_port.is_some() {
        return refuse("port", "cannot stand beside derivePort; keep one of them");
    }
    if !matches!(redirect.redirect_code.unwrap_or(301), 301 | 302 | 303 | 307 | 308) {
        return refuse("redirectCode", "must be 301, 302, 303, 307 or 308");
    }
    Ok(())
}

/// `rewrites_host`: `request.set` of `host` is what a rewrite of the authority is.
fn headers(headers: Option<&Headers>, rewrites_host: bool) -> Checked {
    let Some(headers) = headers else { return Ok(()) };
    for (side, operations) in [("request", &headers.request), ("response", &headers.response)] {
        for (operation, edits) in [("set", &operations.set), ("add", &operations.add)] {
            for (name, value) in edits {
                let path = || format!("headers.{side}.{operation}.{name}");
                let is_rewrite =
                    rewrites_host && side == "request" && operation == "set" && is_authority(name);
                if is_rewrite {
                    pattern::text(value).map_err(|invalid| invalid.within(&path()))?;
                    continue;
                }
                field::editable_name(name).map_err(|invalid| invalid.within(&path()))?;
                let format = Format::parse(value).map_err(|reason| Invalid::new(path(), reason))?;
                field::value(&format).map_err(|invalid| invalid.within(&path()))?;
            }
        }
        for (index, name) in operations.remove.iter().enumerate() {
            field::editable_name(name)
                .map_err(|invalid| invalid.within(&format!("headers.{side}.remove[{index}]")))?;
        }
    }
    Ok(())
}
