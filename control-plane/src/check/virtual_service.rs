//! Rules across the fields of a `VirtualService`.

use leno_model::access_log::Format;
use leno_model::field;
use leno_model::invalid::Invalid;

use super::{Checked, domain, export_to, refuse};
use crate::api::virtual_service::{Headers, HttpRoute, Retries, VirtualService};
use crate::translate::retry::parse_retry_on;
use crate::translate::routes::is_authority;
use crate::world::Object;

/// `VirtualService`.
///
/// # Errors
/// The first field that breaks a rule.
pub fn virtual_service(object: &Object<VirtualService>) -> Checked {
    let spec = &object.spec;
    if spec.hosts.is_empty() {
        return refuse("spec.hosts", "is empty; name at least one host");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        domain(host).map_err(|invalid| invalid.within(&format!("spec.hosts[{index}]")))?;
        if host == "*" && (spec.gateways.is_empty() || spec.gateways.iter().any(|name| name == "mesh")) {
            return refuse(
                format!("spec.hosts[{index}]"),
                "\"*\" is not allowed for sidecars; name gateways other than mesh, or name the host",
            );
        }
    }
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
    Ok(())
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
    if route.rewrite.is_some() && route.route.is_empty() {
        return refuse("rewrite", "goes only with route");
    }
    if let Some(rewrite) = &route.rewrite
        && rewrite.uri_regex_rewrite.is_some()
        && !rewrite.uri.is_empty()
    {
        return refuse(
            "rewrite.uri",
            "cannot stand beside uriRegexRewrite; keep one of them",
        );
    }
    let total: u64 = route.route.iter().map(|to| u64::from(to.weight)).sum();
    if route.route.len() > 1 && total == 0 {
        return refuse(
            "route",
            "the weights add up to 0; give each destination its share",
        );
    }
    for (index, to) in route.route.iter().enumerate() {
        if to.destination.host.is_empty() || to.destination.host.starts_with('*') {
            return refuse(
                format!("route[{index}].destination.host"),
                "must be one host, not a pattern",
            );
        }
    }
    if let Some(redirect) = &route.redirect {
        if redirect.port.is_some() && redirect.derive_port.is_some() {
            return refuse(
                "redirect.port",
                "cannot stand beside derivePort; keep one of them",
            );
        }
        if !matches!(redirect.redirect_code.unwrap_or(301), 301 | 302 | 303 | 307 | 308) {
            return refuse("redirect.redirectCode", "must be 301, 302, 303, 307 or 308");
        }
    }
    if let Some(direct) = &route.direct_response
        && !(200..=599).contains(&direct.status)
    {
        return refuse("directResponse.status", "must be 200 to 599");
    }
    if let Some(Retries { retry_on, .. }) = &route.retries {
        parse_retry_on(retry_on).map_err(|invalid| invalid.within("retries.retryOn"))?;
    }
    headers(route.headers.as_ref(), true)?;
    for (index, to) in route.route.iter().enumerate() {
        // A destination has no rewrite of its own: the host of a request is the route's.
        headers(to.headers.as_ref(), false).map_err(|invalid| invalid.within(&format!("route[{index}]")))?;
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
                if !is_rewrite {
                    field::editable_name(name).map_err(|invalid| invalid.within(&path()))?;
                }
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
