//! Services as a namespace sees them, and their clusters and endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use leno_model::cluster::{Balance, Cluster, Discovery, Limits, UpstreamProtocol};
use leno_model::endpoint::{Endpoint, Host, LoadAssignment, Locality, LocalityEndpoints};
use leno_model::filter::{FilterConfig, WasmCode};

use super::rules::policies;
use super::scope::{View, full_host, is_exported};
use super::{Note, Settings, Translation};
use crate::api::destination_rule::{DestinationRule, Simple, TrafficPolicy};
use crate::api::meta::selects;
use crate::api::service_entry::{Resolution, ServiceEntry, ServicePort, WorkloadEntry};
use crate::world::{Object, World};

/// The cluster that proxies fetch artifacts from.
pub const ARTIFACTS_CLUSTER: &str = "leno-artifacts";

/// Envoy's bounds are 1024; Istio lifts them where a DestinationRule says nothing.
const UNBOUNDED: u32 = u32::MAX;

/// A host with its policies.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name in full.
    pub host: String,
    /// Where it is defined.
    pub entry: Arc<Object<ServiceEntry>>,
    /// Its policies.
    pub rule: Option<Arc<Object<DestinationRule>>>,
}

/// Services by host.
pub type Services = BTreeMap<String, Service>;

/// What the namespace of `view` sees. Of two entries for one host, that of the own namespace wins, then the older
/// name (Istio orders by creation, which files do not have).
pub fn visible(world: &World, view: &View, notes: &mut BTreeSet<Note>) -> Services {
    let mut services = Services::new();
    let own_first = |namespace: &str| usize::from(namespace != view.namespace);
    let mut entries: Vec<_> = world.service_entries.values().collect();
    entries.sort_by_key(|entry| {
        (
            own_first(&entry.meta.namespace),
            entry.meta.creation_timestamp.clone(),
        )
    });
    for entry in entries {
        if !is_exported(&entry.spec.export_to, &entry.meta.namespace, &view.namespace) {
            continue;
        }
        for host in &entry.spec.hosts {
            let host = full_host(host, &entry.meta.namespace);
            services.entry(host.clone()).or_insert_with(|| Service {
                rule: policies(world, view, &host, &entry.meta.namespace, notes),
                host,
                entry: Arc::clone(entry),
            });
        }
    }
    services
}

impl Service {
    /// The port with this number; without a number, the only one.
    pub fn port(&self, number: Option<u16>) -> Option<&ServicePort> {
        let ports = &self.entry.spec.ports;
        match number {
            Some(number) => ports.iter().find(|port| port.number == number),
            None if ports.len() == 1 => ports.first(),
            None => None,
        }
    }
}

/// Istio's name of a cluster.
pub fn cluster_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// Clusters and endpoints of all services, and of the artifacts when a filter needs them.
pub fn clusters(services: &Services, settings: &Settings, translation: &mut Translation) {
    for service in services.values() {
        for port in &service.entry.spec.ports {
            let policy = service
                .rule
                .as_ref()
                .and_then(|rule| rule.spec.traffic_policy.as_ref());
            let everyone = BTreeMap::new();
            add(service, port, "", &everyone, &[policy], translation);
            for subset in service.rule.iter().flat_map(|rule| &rule.spec.subsets) {
                add(
                    service,
                    port,
                    &subset.name,
                    &subset.labels,
                    &[policy, subset.traffic_policy.as_ref()],
                    translation,
                );
            }
        }
    }
    if translation
        .snapshot
        .filters
        .values()
        .any(|filter| is_remote(filter))
    {
        let cluster = single(ARTIFACTS_CLUSTER, settings.artifacts);
        translation
            .snapshot
            .clusters
            .insert(cluster.name.clone(), Arc::new(cluster));
    }
}

fn is_remote(filter: &FilterConfig) -> bool {
    match filter {
        FilterConfig::Wasm(wasm) => matches!(wasm.vm.code, WasmCode::Remote(_)),
        FilterConfig::Router(_) => false,
    }
}

/// A cluster of one address.
pub fn single(name: &str, address: SocketAddr) -> Cluster {
    let endpoint = Endpoint::at(Host::Socket(address));
    let assignment = LoadAssignment {
        cluster: name.to_owned(),
        localities: vec![LocalityEndpoints {
            endpoints: vec![endpoint],
            ..LocalityEndpoints::default()
        }],
    };
    Cluster {
        limits: unbounded(),
        ..Cluster::new(name, Discovery::Static(Arc::new(assignment)))
    }
}

fn unbounded() -> Limits {
    Limits {
        max_connections: UNBOUNDED,
        max_pending_requests: UNBOUNDED,
        max_requests: UNBOUNDED,
        max_retries: UNBOUNDED,
    }
}

fn add(
    service: &Service,
    port: &ServicePort,
    subset: &str,
    labels: &BTreeMap<String, String>,
    policies: &[Option<&TrafficPolicy>],
    translation: &mut Translation,
) {
    let name = cluster_name(port.number, subset, &service.host);
    let assignment = assignment(&name, service, port, labels);
    let discovery = match service.entry.spec.resolution {
        // A subset may select nobody, and a LOGICAL_DNS cluster has exactly one endpoint.
        Resolution::DnsRoundRobin if !assignment.localities.is_empty() => {
            Discovery::LogicalDns(Arc::new(assignment))
        }
        Resolution::Dns | Resolution::DnsRoundRobin => Discovery::StrictDns(Arc::new(assignment)),
        Resolution::Static | Resolution::None => {
            translation
                .snapshot
                .endpoints
                .insert(name.clone(), Arc::new(assignment));
            Discovery::Eds(name.clone())
        }
    };
    let mut cluster = Cluster::new(name, discovery);
    // Istio's defaults: least request, ten seconds to connect, no bounds.
    cluster.balance = Balance::LeastRequest { choices: 2 };
    cluster.connect_timeout = Duration::from_secs(10);
    cluster.limits = unbounded();
    cluster.protocol = protocol(port);
    for policy in policies.iter().flatten() {
        apply(policy, &mut cluster);
    }
    translation
        .snapshot
        .clusters
        .insert(cluster.name.clone(), Arc::new(cluster));
}

/// By the port's protocol or, where it says none, its name's prefix (Istio's `http2-`, `grpc-`).
fn protocol(port: &ServicePort) -> UpstreamProtocol {
    let said = match port.protocol.as_str() {
        "" => port.name.split('-').next().unwrap_or_default(),
        said => said,
    };
    match said.to_ascii_uppercase().as_str() {
        "HTTP2" | "GRPC" => UpstreamProtocol::Http2,
        _ => UpstreamProtocol::Http1,
    }
}

fn apply(policy: &TrafficPolicy, cluster: &mut Cluster) {
    if let Some(balancer) = &policy.load_balancer {
        cluster.balance = match balancer.simple {
            Simple::Random => Balance::Random,
            Simple::RoundRobin => Balance::RoundRobin,
            Simple::Unspecified | Simple::LeastConn | Simple::LeastRequest => {
                Balance::LeastRequest { choices: 2 }
            }
        };
    }
    let Some(pool) = &policy.connection_pool else {
        return;
    };
    let limits = &mut cluster.limits;
    let set = |bound: &mut u32, said: Option<u32>| *bound = said.filter(|said| *said > 0).unwrap_or(*bound);
    set(&mut limits.max_connections, pool.tcp.max_connections);
    set(
        &mut limits.max_pending_requests,
        pool.http.http1_max_pending_requests,
    );
    set(&mut limits.max_requests, pool.http.http2_max_requests);
    set(&mut limits.max_retries, pool.http.max_retries);
    if let Some(timeout) = pool.tcp.connect_timeout {
        cluster.connect_timeout = timeout.0;
    }
    if let Some(timeout) = pool.http.idle_timeout.or(pool.tcp.idle_timeout) {
        cluster.idle_timeout = Some(timeout.0).filter(|timeout| !timeout.is_zero());
    }
    if let Some(most) = pool.http.max_requests_per_connection {
        cluster.max_requests_per_connection = Some(most).filter(|most| *most > 0);
    }
}

fn assignment(
    name: &str,
    service: &Service,
    port: &ServicePort,
    labels: &BTreeMap<String, String>,
) -> LoadAssignment {
    let target = port.target_port.unwrap_or(port.number);
    let mut places: BTreeMap<Locality, Vec<Endpoint>> = BTreeMap::new();
    let by_name = WorkloadEntry {
        address: service.host.clone(),
        ports: BTreeMap::new(),
        labels: BTreeMap::new(),
        locality: String::new(),
        weight: None,
    };
    let spec = &service.entry.spec;
    let entries = if spec.endpoints.is_empty() {
        std::slice::from_ref(&by_name)
    } else {
        &spec.endpoints[..]
    };
    for entry in entries.iter().filter(|entry| selects(labels, &entry.labels)) {
        let port = entry.ports.get(&port.name).copied().unwrap_or(target);
        let address = match entry.address.parse::<IpAddr>() {
            Ok(ip) => Host::Socket(SocketAddr::new(ip, port)),
            Err(_) => Host::Name {
                name: entry.address.clone(),
                port,
            },
        };
        let mut endpoint = Endpoint::at(address);
        endpoint.weight = entry.weight.unwrap_or(1);
        if matches!(spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin) {
            endpoint.hostname.clone_from(&entry.address);
        }
        places
            .entry(locality(&entry.locality))
            .or_default()
            .push(endpoint);
    }
    LoadAssignment {
        cluster: name.to_owned(),
        localities: places
            .into_iter()
            .map(|(locality, endpoints)| LocalityEndpoints {
                locality,
                endpoints,
                ..LocalityEndpoints::default()
            })
            .collect(),
    }
}

fn locality(text: &str) -> Locality {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality {
        region: next(),
        zone: next(),
        sub_zone: next(),
    }
}
