//! Listeners: one per port of a gateway, and those that a Sidecar names.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use leno_model::access_log::{AccessLog, Format, Line, Sink};
use leno_model::http::{HttpConnectionManager, RouteSource};
use leno_model::listener::{Direction, FilterChain, Listener};
use leno_model::route::{
    Forward, HeaderEdits, PathMatch, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};

use super::hosts::{Hosts, Patterns, add_addresses, on_gateway};
use super::plugins;
use super::routes::{Builder, Site, bound, host};
use super::scope::{Role, View, full_host, host_matches, written};
use super::services::{Services, cluster_name, single};
use super::{Artifacts, Note, Settings, Translation};
use crate::api::meta::{Key, selects};
use crate::api::sidecar::{Egress, Ingress, Sidecar};
use crate::world::{Object, World};

/// Istio's default access log line.
const ACCESS_LOG: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% \
%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% %DOWNSTREAM_LOCAL_ADDRESS% \
%DOWNSTREAM_REMOTE_ADDRESS% %ROUTE_NAME%\n";

/// Envoy's default (`per_connection_buffer_limit_bytes`).
const BUFFER_LIMIT: u32 = 1 << 20;

struct Context<'a> {
    world: &'a World,
    artifacts: &'a Artifacts,
    view: &'a View,
    settings: &'a Settings,
    services: &'a Services,
}

/// All listeners of a view, with their routes and chains.
pub fn build(
    world: &World,
    artifacts: &Artifacts,
    view: &View,
    settings: &Settings,
    services: &Services,
    translation: &mut Translation,
) {
    let context = Context {
        world,
        artifacts,
        view,
        settings,
        services,
    };
    match view.role {
        Role::Gateway => context.gateway(translation),
        Role::Sidecar => context.sidecar(translation),
    }
}

/// The servers of all Gateways on one address.
#[derive(Default)]
struct Shared {
    gateways: Vec<Key>,
    hosts: Patterns,
}

impl Context<'_> {
    fn gateway(&self, translation: &mut Translation) {
        let mut addresses: BTreeMap<SocketAddr, Shared> = BTreeMap::new();
        for (key, gateway) in &self.world.gateways {
            if !selects(&gateway.spec.selector, &self.view.labels) {
                continue;
            }
            for server in &gateway.spec.servers {
                let address = SocketAddr::new(bind(&server.bind, Ipv4Addr::UNSPECIFIED), server.port.number);
                let shared = addresses.entry(address).or_default();
                if !shared.gateways.contains(key) {
                    shared.gateways.push(key.clone());
                }
                shared
                    .hosts
                    .extend(server.hosts.iter().map(|host| match host.split_once('/') {
                        Some((".", name)) => (Some(key.namespace.clone()), written(name)),
                        Some(("*", name)) => (None, written(name)),
                        Some((namespace, name)) => (Some(namespace.to_owned()), written(name)),
                        None => (None, written(host)),
                    }));
            }
        }
        for (address, shared) in addresses {
            let routes = self.gateway_routes(address, &shared, translation);
            self.listener(
                address,
                Direction::Outbound,
                RouteSource::Discovered(routes.name.clone()),
                translation,
            );
            translation
                .snapshot
                .routes
                .insert(routes.name.clone(), Arc::new(routes));
        }
    }

    fn gateway_routes(
        &self,
        address: SocketAddr,
        shared: &Shared,
        translation: &mut Translation,
    ) -> RouteConfiguration {
        let port = address.port();
        let site = Site {
            view: self.view,
            port,
            gateways: &shared.gateways,
        };
        let services = bound(self.world, site);
        let mut hosts = Hosts::default();
        for service in &services {
            for host in &service.spec.hosts {
                let host = full_host(host, &service.meta.namespace);
                let domains = on_gateway(&shared.hosts, &service.meta.namespace, &host);
                if domains.is_empty() {
                    translation.notes.insert(Note {
                        kind: "VirtualService",
                        key: service.meta.key(),
                        message: format!(
                            "spec.hosts: {host:?} is not among the hosts of its gateways on port {port}"
                        ),
                    });
                }
                for domain in domains {
                    hosts.add(&domain, service);
                }
            }
        }
        let mut builder = Builder {
            site,
            services: self.services,
            notes: &mut translation.notes,
        };
        RouteConfiguration {
            // Istio's names.
            name: match address.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => format!("http.{port}"),
                other => format!("http.{port}.{other}"),
            },
            virtual_hosts: hosts
                .iter()
                .map(|(domain, services)| builder.virtual_host(domain, services))
                .collect(),
            edits: HeaderEdits::default(),
            ignore_port_in_host: true,
            validate_clusters: None,
        }
    }

    fn sidecar(&self, translation: &mut Translation) {
        let Some(sidecar) = self.own_sidecar() else { return };
        for egress in &sidecar.spec.egress {
            self.egress(sidecar, egress, translation);
        }
        for ingress in &sidecar.spec.ingress {
            self.ingress(ingress, translation);
        }
    }

    /// The Sidecar of this workload: one that selects it, before one for the whole namespace.
    fn own_sidecar(&self) -> Option<&Object<Sidecar>> {
        self.world
            .sidecars
            .values()
            .filter(|sidecar| sidecar.meta.namespace == self.view.namespace)
            .filter(|sidecar| {
                let selector = sidecar.spec.workload_selector.as_ref();
                selector.is_none_or(|selector| selects(&selector.labels, &self.view.labels))
            })
            .min_by_key(|sidecar| usize::from(sidecar.spec.workload_selector.is_none()))
            .map(Arc::as_ref)
    }

    fn egress(&self, sidecar: &Object<Sidecar>, egress: &Egress, translation: &mut Translation) {
        let Some(port) = &egress.port else { return };
        let address = SocketAddr::new(bind(&egress.bind, Ipv4Addr::LOCALHOST), port.number);
        let site = Site {
            view: self.view,
            port: port.number,
            gateways: &[],
        };
        let bound = bound(self.world, site);
        let reaches = |namespace: &str, host: &str| {
            egress
                .hosts
                .iter()
                .filter_map(|pattern| pattern.split_once('/'))
                .any(|(from, pattern)| {
                    let near = match from {
                        "*" => true,
                        "." => namespace == sidecar.meta.namespace,
                        name => name == namespace,
                    };
                    near && host_matches(pattern, host)
                })
        };
        let mut hosts = Hosts::default();
        for service in &bound {
            for host in &service.spec.hosts {
                let host = full_host(host, &service.meta.namespace);
                if reaches(&service.meta.namespace, &host) {
                    hosts.add(&host, service);
                }
            }
        }
        let mut builder = Builder {
            site,
            services: self.services,
            notes: &mut translation.notes,
        };
        let mut virtual_hosts: Vec<VirtualHost> = hosts
            .iter()
            .map(|(domain, services)| builder.virtual_host(domain, services))
            .collect();
        for service in self.services.values() {
            if hosts.has(&service.host) || !reaches(&service.entry.meta.namespace, &service.host) {
                continue;
            }
            let Some(to) = service
                .port(Some(port.number))
                .or_else(|| service.entry.spec.ports.first())
            else {
                continue;
            };
            virtual_hosts.push(everything(
                &service.host,
                port.number,
                &cluster_name(to.number, "", &service.host),
            ));
        }
        add_addresses(&mut virtual_hosts, self.services, &mut translation.notes);
        let routes = RouteConfiguration {
            name: match address.ip() {
                IpAddr::V4(Ipv4Addr::LOCALHOST) => port.number.to_string(),
                other => format!("{}.{other}", port.number),
            },
            virtual_hosts,
            edits: HeaderEdits::default(),
            ignore_port_in_host: true,
            validate_clusters: None,
        };
        self.listener(
            address,
            Direction::Outbound,
            RouteSource::Discovered(routes.name.clone()),
            translation,
        );
        translation
            .snapshot
            .routes
            .insert(routes.name.clone(), Arc::new(routes));
    }

    fn ingress(&self, ingress: &Ingress, translation: &mut Translation) {
        let port = ingress.port.number;
        let address = SocketAddr::new(bind(&ingress.bind, Ipv4Addr::UNSPECIFIED), port);
        // Checked when the document was read.
        let Ok(workload) = ingress.default_endpoint.parse::<SocketAddr>() else {
            return;
        };
        // Istio's name; several addresses may have one port.
        let name = match address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => format!("inbound|{port}||"),
            other => format!("inbound|{port}||{other}"),
        };
        let cluster = single(&name, workload);
        let routes = RouteConfiguration {
            name,
            virtual_hosts: vec![VirtualHost {
                name: format!("inbound|http|{port}"),
                ..everything("*", port, &cluster.name)
            }],
            ..RouteConfiguration::default()
        };
        translation
            .snapshot
            .clusters
            .insert(cluster.name.clone(), Arc::new(cluster));
        self.listener(
            address,
            Direction::Inbound,
            RouteSource::Inline(Arc::new(routes)),
            translation,
        );
    }

    fn listener(
        &self,
        address: SocketAddr,
        direction: Direction,
        routes: RouteSource,
        translation: &mut Translation,
    ) {
        let name = format!("{}_{}", address.ip(), address.port());
        let site = plugins::Site {
            listener: &name,
            port: address.port(),
            direction,
        };
        let filters = plugins::chain(
            self.world,
            self.artifacts,
            self.view,
            self.settings,
            site,
            translation,
        );
        let stat_prefix = match direction {
            Direction::Inbound => format!("inbound_{name}"),
            Direction::Outbound | Direction::Unspecified => format!("outbound_{name}"),
        };
        let manager = HttpConnectionManager {
            stat_prefix,
            routes,
            filters,
            access_log: self.access_log(),
            // A gateway stands at the edge; sidecars trust each other's forwarding headers (as Istio sets it).
            use_remote_address: self.view.role == Role::Gateway,
            normalize_path: true,
            ..HttpConnectionManager::default()
        };
        translation.snapshot.listeners.insert(
            name.clone(),
            Arc::new(Listener {
                direction,
                per_connection_buffer_limit: BUFFER_LIMIT,
                ..Listener::new(name, address, FilterChain::http(manager))
            }),
        );
    }

    fn access_log(&self) -> Vec<AccessLog> {
        let Some(path) = &self.settings.access_log else {
            return Vec::new();
        };
        let sink = match path.to_str() {
            Some("/dev/stdout") => Sink::Stdout,
            Some("/dev/stderr") => Sink::Stderr,
            _ => Sink::File(PathBuf::from(path)),
        };
        let format = Format::parse(ACCESS_LOG).unwrap_or_default();
        vec![AccessLog {
            sink,
            line: Line::Text(format),
        }]
    }
}

fn bind(said: &str, otherwise: Ipv4Addr) -> IpAddr {
    said.parse().unwrap_or(IpAddr::V4(otherwise))
}

/// A virtual host that sends everything to one cluster.
fn everything(domain: &str, port: u16, cluster: &str) -> VirtualHost {
    let forward = Forward {
        timeout: None,
        retry: super::retry::policy(None),
        ..Forward::to(cluster)
    };
    VirtualHost {
        routes: vec![Route {
            name: "default".to_owned(),
            matches: RouteMatch::path(PathMatch::Prefix("/".to_owned())),
            action: RouteAction::Forward(Box::new(forward)),
            edits: HeaderEdits::default(),
            filter_overrides: BTreeMap::new(),
        }],
        ..host(domain, port)
    }
}
