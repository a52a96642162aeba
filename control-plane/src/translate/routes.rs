//! Virtual services as virtual hosts and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use leno_model::access_log::Format;
use leno_model::route::{
    AppendAction, DirectResponse, Forward, HeaderEdit, HeaderEdits, HostRewrite, PathRewrite, Redirect,
    RedirectPath, Route, RouteAction, Target, VirtualHost, WeightedCluster,
};

use super::matches::{is_catch_all, route_match};
use super::scope::{Role, View, full_host, is_exported};
use super::services::{Services, cluster_name};
use super::{Note, gateway_key, retry};
use crate::api::meta::{Key, StringMatch, selects};
use crate::api::virtual_service::{
    DerivePort, Destination, HeaderOperations, Headers, HttpMatch, HttpRoute, Redirect as Redirected,
    RouteDestination, VirtualService,
};
use crate::world::{Object, World};

/// Where routes are for: a listener of a gateway, or of a sidecar.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Who calls.
    pub view: &'a View,
    /// The listener's port.
    pub port: u16,
    /// The Gateways that the listener serves; none for a sidecar.
    pub gateways: &'a [Key],
}

/// The virtual services that a site sees, oldest first, then by name.
pub fn bound<'w>(world: &'w World, site: Site<'_>) -> Vec<&'w Arc<Object<VirtualService>>> {
    let mut services: Vec<_> = world
        .virtual_services
        .values()
        .filter(|service| {
            is_exported(
                &service.spec.export_to,
                &service.meta.namespace,
                &site.view.namespace,
            )
        })
        .filter(|service| binds(&service.spec.gateways, &service.meta.namespace, site))
        .collect();
    services.sort_by_key(|service| {
        (
            service.meta.creation_timestamp.clone(),
            service.meta.name.clone(),
            service.meta.namespace.clone(),
        )
    });
    services
}

/// Whether a list of gateways names this site. An empty list means sidecars.
fn binds(gateways: &[String], namespace: &str, site: Site<'_>) -> bool {
    match site.view.role {
        Role::Sidecar => gateways.is_empty() || gateways.iter().any(|name| name == "mesh"),
        Role::Gateway => gateways
            .iter()
            .any(|name| site.gateways.contains(&gateway_key(name, namespace))),
    }
}

/// What a route matches: one of these.
pub(super) fn matches(http: &HttpRoute) -> &[HttpMatch] {
    static EVERYTHING: LazyLock<HttpMatch> = LazyLock::new(HttpMatch::default);
    match &http.matches[..] {
        [] => std::slice::from_ref(&*EVERYTHING),
        some => some,
    }
}

/// A virtual host without routes.
pub fn host(domain: &str, port: u16) -> VirtualHost {
    VirtualHost {
        name: format!("{domain}:{port}"),
        domains: vec![domain.to_owned()],
        routes: Vec::new(),
        edits: HeaderEdits::default(),
        retry: None,
        tells_attempts: Default::default(),
        filter_overrides: BTreeMap::new(),
    }
}

/// Collects routes per host; what cannot be honoured becomes a note.
pub struct Builder<'a> {
    /// Where the routes are for.
    pub site: Site<'a>,
    /// What the namespace sees.
    pub services: &'a Services,
    /// Remarks for users.
    pub notes: &'a mut BTreeSet<Note>,
}

impl Builder<'_> {
    /// The virtual host of `domain` with the routes of these virtual services, in order. A route that takes everything
    /// stands behind the routes of all of them, and what its own virtual service has behind it is never reached.
    pub fn virtual_host(&mut self, domain: &str, services: &[&Arc<Object<VirtualService>>]) -> VirtualHost {
        let (mut routes, mut last) = (Vec::new(), Vec::new());
        for service in services {
            let mut own = self.routes(service);
            if services.len() > 1
                && let Some(at) = own.iter().position(|route| is_catch_all(&route.matches))
            {
                last.push(own.swap_remove(at));
                own.truncate(at);
            }
            routes.append(&mut own);
        }
        routes.append(&mut last);
        VirtualHost {
            routes,
            ..host(domain, self.site.port)
        }
    }

    fn routes(&mut self, service: &Object<VirtualService>) -> Vec<Route> {
        let mut routes = Vec::new();
        for (position, http) in service.spec.http.iter().enumerate() {
            let path = format!("spec.http[{position}]");
            for matched in matches(http) {
                if self.is_here(matched, &service.meta.namespace) {
                    routes.push(self.route(service, http, matched, &path));
                }
            }
        }
        routes
    }

    pub(super) fn route(
        &mut self,
        service: &Object<VirtualService>,
        http: &HttpRoute,
        matched: &HttpMatch,
        path: &str,
    ) -> Route {
        let name = if matched.name.is_empty() {
            http.name.clone()
        } else {
            format!("{}.{}", http.name, matched.name)
        };
        Route {
            name,
            matches: route_match(matched),
            action: self.action(service, http, matched, path),
            edits: self.edits(service, http.headers.as_ref(), path),
            filter_overrides: BTreeMap::new(),
        }
    }

    fn is_here(&self, matched: &HttpMatch, namespace: &str) -> bool {
        let view = self.site.view;
        matched.port.is_none_or(|port| port == self.site.port)
            && (matched.gateways.is_empty() || binds(&matched.gateways, namespace, self.site))
            && (view.role == Role::Gateway || selects(&matched.source_labels, &view.labels))
            && (matched.source_namespace.is_empty() || matched.source_namespace == view.namespace)
    }

    fn action(
        &mut self,
        service: &Object<VirtualService>,
        http: &HttpRoute,
        matched: &HttpMatch,
        path: &str,
    ) -> RouteAction {
        if let Some(direct) = &http.direct_response {
            return RouteAction::Direct(DirectResponse {
                status: direct.status,
                body: direct
                    .body
                    .as_ref()
                    .map(|body| body.string.clone().into_bytes())
                    .unwrap_or_default(),
            });
        }
        if let Some(redirect) = &http.redirect {
            return RouteAction::Redirect(self.redirect(redirect));
        }
        let target = self.target(service, http, path);
        let rewrite = http.rewrite.as_ref();
        let path_rewrite = rewrite.and_then(|rewrite| match &rewrite.uri_regex_rewrite {
            Some(regex) => Some(PathRewrite::Regex {
                pattern: regex.pattern.clone(),
                substitution: regex.rewrite.clone(),
            }),
            None if rewrite.uri.is_empty() => None,
            // Envoy replaces what was matched; behind a regular expression that is the whole path.
            None if matches!(matched.uri, Some(StringMatch::Regex(_))) => Some(PathRewrite::Regex {
                pattern: "^.*$".to_owned(),
                substitution: rewrite.uri.clone(),
            }),
            None => Some(PathRewrite::Prefix(rewrite.uri.clone())),
        });
        let set_host = http.headers.as_ref().and_then(|headers| {
            headers
                .request
                .set
                .iter()
                .find(|(name, _)| is_authority(name))
                .map(|(_, value)| value.clone())
        });
        let host_rewrite = rewrite
            .map(|rewrite| rewrite.authority.clone())
            .filter(|authority| !authority.is_empty())
            .or(set_host)
            .map(HostRewrite::Literal);
        RouteAction::Forward(Box::new(Forward {
            target,
            timeout: http
                .timeout
                .map(|timeout| timeout.0)
                .filter(|timeout| !timeout.is_zero()),
            idle_timeout: None,
            retry: retry::policy(http.retries.as_ref()),
            path_rewrite,
            host_rewrite,
        }))
    }

    fn redirect(&self, redirect: &Redirected) -> Redirect {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let derived = redirect.derive_port.map(|from| match from {
            DerivePort::FromRequestPort => self.site.port,
            // Listeners speak plain HTTP.
            DerivePort::FromProtocolDefault if redirect.scheme.eq_ignore_ascii_case("https") => 443,
            DerivePort::FromProtocolDefault => 80,
        });
        Redirect {
            status: redirect.redirect_code.unwrap_or(301),
            scheme: some(&redirect.scheme).map(|scheme| scheme.to_ascii_lowercase()),
            host: some(&redirect.authority),
            port: redirect.port.or(derived),
            path: some(&redirect.uri).map(RedirectPath::Full),
            strip_query: false,
        }
    }

    fn target(&mut self, service: &Object<VirtualService>, http: &HttpRoute, path: &str) -> Target {
        let clusters: Vec<WeightedCluster> = http
            .route
            .iter()
            .enumerate()
            .map(|(index, to)| {
                let path = format!("{path}.route[{index}]");
                let RouteDestination {
                    destination,
                    weight,
                    headers,
                } = to;
                WeightedCluster {
                    name: self.cluster(service, destination, &path),
                    weight: if http.route.len() == 1 { 1 } else { *weight },
                    edits: self.edits(service, headers.as_ref(), &path),
                }
            })
            .collect();
        match &clusters[..] {
            [only] if only.edits == HeaderEdits::default() => Target::Cluster(only.name.clone()),
            _ => Target::Weighted(clusters),
        }
    }

    /// The cluster of a destination. One that does not exist is named all the same, so that its requests are
    /// answered with 503 and the others are not affected; a note says what is missing.
    fn cluster(&mut self, service: &Object<VirtualService>, to: &Destination, path: &str) -> String {
        let host = full_host(&to.host, &service.meta.namespace);
        let said = to.port.map(|port| port.number);
        let Some(found) = self.services.get(&host) else {
            self.note(
                service,
                format!("{path}.destination.host: no ServiceEntry has the host {host:?}"),
            );
            return cluster_name(said.unwrap_or(80), &to.subset, &host);
        };
        let Some(port) = found.port(said) else {
            let ports: Vec<String> = found
                .entry
                .spec
                .ports
                .iter()
                .map(|port| port.number.to_string())
                .collect();
            self.note(
                service,
                format!(
                    "{path}.destination.port: {host} has the ports {}; name one of them",
                    ports.join(", ")
                ),
            );
            return cluster_name(said.unwrap_or(0), &to.subset, &host);
        };
        let has_subset = || {
            found
                .rule
                .as_ref()
                .is_some_and(|rule| rule.spec.subsets.iter().any(|subset| subset.name == to.subset))
        };
        if !to.subset.is_empty() && !has_subset() {
            self.note(
                service,
                format!(
                    "{path}.destination.subset: no DestinationRule for {host} has the subset {:?}",
                    to.subset
                ),
            );
        }
        cluster_name(port.number, &to.subset, &host)
    }

    fn edits(
        &mut self,
        service: &Object<VirtualService>,
        headers: Option<&Headers>,
        path: &str,
    ) -> HeaderEdits {
        let Some(headers) = headers else {
            return HeaderEdits::default();
        };
        HeaderEdits {
            request: self.edit(service, &headers.request, &format!("{path}.headers.request")),
            request_remove: lower(&headers.request.remove),
            response: self.edit(service, &headers.response, &format!("{path}.headers.response")),
            response_remove: lower(&headers.response.remove),
        }
    }

    fn edit(
        &mut self,
        service: &Object<VirtualService>,
        from: &HeaderOperations,
        path: &str,
    ) -> Vec<HeaderEdit> {
        let set = from
            .set
            .iter()
            .filter(|(name, _)| !is_authority(name))
            .map(|edit| (edit, AppendAction::OverwriteOrAdd, "set"));
        let add = from
            .add
            .iter()
            .map(|edit| (edit, AppendAction::AppendOrAdd, "add"));
        set.chain(add)
            .filter_map(|((name, value), append, operation)| match Format::parse(value) {
                Ok(value) => Some(HeaderEdit {
                    name: name.to_ascii_lowercase(),
                    value,
                    append,
                }),
                Err(reason) => {
                    self.note(
                        service,
                        format!("{path}.{operation}.{name}: {reason}; the header is left out"),
                    );
                    None
                }
            })
            .collect()
    }

    fn note(&mut self, service: &Object<VirtualService>, message: String) {
        self.notes.insert(Note {
            kind: "VirtualService",
            key: service.meta.key(),
            message,
        });
    }
}

fn lower(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

/// What names the host of a request.
pub(crate) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}
