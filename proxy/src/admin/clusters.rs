//! `/clusters`: each cluster with its limits and endpoints.

use std::fmt::Write as _;
use std::sync::Arc;

use leno_model::cluster::{Cluster, Discovery};
use leno_model::endpoint::{Endpoint, Health, Host, LoadAssignment, LocalityEndpoints};
use leno_xds::resource::{Kind, Resource};
use serde_json::{Value, json};

use super::{Query, Reply};
use crate::config::view::View;

struct Shown<'a> {
    cluster: &'a Cluster,
    is_static: bool,
    endpoints: Option<&'a LoadAssignment>,
}

/// The page.
pub(super) fn answer(view: &View, query: &Query) -> Reply {
    let clusters: Vec<Shown<'_>> = shown(view).collect();
    if query.get("format") == Some("json") {
        let statuses: Vec<Value> = clusters.iter().map(status).collect();
        return Reply::json(&json!({"cluster_statuses": statuses}));
    }
    let mut out = String::new();
    clusters.iter().for_each(|cluster| lines(cluster, &mut out));
    Reply::text(out)
}

fn shown(view: &View) -> impl Iterator<Item = Shown<'_>> {
    view.of_kind(Kind::Cluster).filter_map(|entry| {
        let Resource::Cluster(cluster) = &entry.active.as_ref()?.resource else {
            return None;
        };
        let endpoints: Option<&Arc<LoadAssignment>> = match &cluster.discovery {
            Discovery::Static(endpoints)
            | Discovery::StrictDns(endpoints)
            | Discovery::LogicalDns(endpoints) => Some(endpoints),
            Discovery::Eds(service) => {
                let mut entries = view.of_kind(Kind::LoadAssignment);
                let entry = entries.find(|entry| entry.name == *service);
                match entry
                    .and_then(|entry| entry.active.as_ref())
                    .map(|state| &state.resource)
                {
                    Some(Resource::LoadAssignment(endpoints)) => Some(endpoints),
                    _ => None,
                }
            }
        };
        Some(Shown {
            cluster,
            is_static: entry.is_static,
            endpoints: endpoints.map(Arc::as_ref),
        })
    })
}

fn each<'a>(shown: &Shown<'a>) -> impl Iterator<Item = (&'a LocalityEndpoints, &'a Endpoint)> {
    let localities = shown
        .endpoints
        .into_iter()
        .flat_map(|endpoints| &endpoints.localities);
    localities.flat_map(|locality| {
        locality
            .endpoints
            .iter()
            .map(move |endpoint| (locality, endpoint))
    })
}

fn lines(shown: &Shown<'_>, out: &mut String) {
    let name = &shown.cluster.name;
    let limits = shown.cluster.limits;
    let limits = [
        ("max_connections", limits.max_connections),
        ("max_pending_requests", limits.max_pending_requests),
        ("max_requests", limits.max_requests),
        ("max_retries", limits.max_retries),
    ];
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(out, "{name}::observability_name::{name}");
    for (limit, value) in limits {
        let _ = writeln!(out, "{name}::default_priority::{limit}::{value}");
    }
    let _ = writeln!(out, "{name}::added_via_api::{}", !shown.is_static);
    for (locality, endpoint) in each(shown) {
        let address = address(&endpoint.address);
        let facts = [
            ("hostname", endpoint.hostname.clone()),
            ("health_flags", health(endpoint.health).to_owned()),
            ("weight", endpoint.weight.to_string()),
            ("region", locality.locality.region.clone()),
            ("zone", locality.locality.zone.clone()),
            ("sub_zone", locality.locality.sub_zone.clone()),
            ("priority", locality.priority.to_string()),
        ];
        for (fact, value) in facts {
            let _ = writeln!(out, "{name}::{address}::{fact}::{value}");
        }
    }
}

fn status(shown: &Shown<'_>) -> Value {
    let hosts = each(shown).map(|(locality, endpoint)| {
        let (address, port) = match &endpoint.address {
            Host::Socket(socket) => (socket.ip().to_string(), socket.port()),
            Host::Name { name, port } => (name.clone(), *port),
        };
        json!({
            "address": {"socket_address": {"address": address, "port_value": port}},
            "hostname": endpoint.hostname,
            "health_status": {"eds_health_status": eds_health(endpoint.health)},
            "weight": endpoint.weight,
            "priority": locality.priority,
            "locality": {
                "region": locality.locality.region,
                "zone": locality.locality.zone,
                "sub_zone": locality.locality.sub_zone,
            },
        })
    });
    let limits = shown.cluster.limits;
    json!({
        "name": shown.cluster.name,
        "added_via_api": !shown.is_static,
        "observability_name": shown.cluster.name,
        "circuit_breakers": {"thresholds": [{
            "max_connections": limits.max_connections,
            "max_pending_requests": limits.max_pending_requests,
            "max_requests": limits.max_requests,
            "max_retries": limits.max_retries,
        }]},
        "host_statuses": hosts.collect::<Vec<_>>(),
    })
}

fn address(host: &Host) -> String {
    match host {
        Host::Socket(socket) => socket.to_string(),
        Host::Name { name, port } => format!("{name}:{port}"),
    }
}

/// As Envoy flags what EDS said.
fn health(health: Health) -> &'static str {
    match health {
        Health::Unknown | Health::Healthy => "healthy",
        Health::Unhealthy => "/failed_eds_health",
        Health::Degraded => "/degraded_eds_health",
        Health::Draining => "/eds_status_draining",
    }
}

fn eds_health(health: Health) -> &'static str {
    match health {
        Health::Unknown | Health::Healthy => "HEALTHY",
        Health::Unhealthy => "UNHEALTHY",
        Health::Degraded => "DEGRADED",
        Health::Draining => "DRAINING",
    }
}
