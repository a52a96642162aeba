//! Istio's labels, from what a proxy knows.
//!
//! What this side of the call is comes from the node's metadata as Istio writes it (`WORKLOAD_NAME`, `NAMESPACE`,
//! `LABELS`, `CLUSTER_ID`). The other side is known by its certificate, and as a destination by the name of the
//! cluster; what neither tells is `unknown`, as in Istio.

use leno_sdk::{Context, Log};

use crate::config::Reporter;
use crate::flags;

const UNKNOWN: &str = "unknown";

/// What the proxy itself runs beside.
pub(crate) struct Node {
    workload: String,
    namespace: String,
    app: String,
    version: String,
    service: String,
    revision: String,
    cluster: String,
}

impl Node {
    pub(crate) fn of(context: &Context) -> Self {
        let metadata = |path: &[&str]| {
            let path: Vec<&str> = ["xds", "node", "metadata"].iter().chain(path).copied().collect();
            context.property(&path).text().filter(|text| !text.is_empty())
        };
        let label = |name: &str| metadata(&["LABELS", name]);
        let known = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
        let workload = known(metadata(&["WORKLOAD_NAME"]));
        let app = label("app").or_else(|| label("app.kubernetes.io/name"));
        let version = label("version").or_else(|| label("app.kubernetes.io/version"));
        // Without a label the workload's own name is the canonical one, and `latest` its revision (Istio, "Canonical
        // Service").
        let service = label("service.istio.io/canonical-name").or_else(|| app.clone());
        let revision = label("service.istio.io/canonical-revision").or_else(|| version.clone());
        Self {
            service: service.unwrap_or_else(|| workload.clone()),
            revision: revision.unwrap_or_else(|| "latest".to_owned()),
            namespace: known(metadata(&["NAMESPACE"])),
            cluster: known(metadata(&["CLUSTER_ID"])),
            app: known(app),
            version: known(version),
            workload,
        }
    }
}

/// A label and its value.
pub(crate) type Label = (&'static str, String);

/// All labels of an exchange, in Istio's order.
pub(crate) fn all(node: &Node, reporter: Option<Reporter>, log: &Log<'_>) -> Vec<Label> {
    let reporter = reporter.unwrap_or_else(|| direction(log));
    let mtls = log.property(&["connection", "mtls"]).bool().unwrap_or(false);
    let san = |path: &[&str]| log.property(path).text().filter(|san| !san.is_empty());
    let (ours, peer) = match reporter {
        Reporter::Source => (
            san(&["upstream", "uri_san_local_certificate"]),
            san(&["upstream", "uri_san_peer_certificate"]),
        ),
        Reporter::Destination => (
            san(&["connection", "uri_san_local_certificate"]),
            san(&["connection", "uri_san_peer_certificate"]),
        ),
    };
    let other = Side::peer(peer);
    let own = Side::own(node, ours);
    let (source, destination) = match reporter {
        Reporter::Source => (own, other),
        Reporter::Destination => (other, own),
    };
    let service = Service::of(log);
    let is_grpc = log.request_headers().get("content-type").is_some_and(|kind| {
        kind.starts_with(b"application/grpc") && !kind.starts_with(b"application/grpc-web")
    });
    let policy = match (reporter, mtls) {
        // The client's proxy does not see how its own connection is secured (Istio documents this label so).
        (Reporter::Source, _) => UNKNOWN,
        (Reporter::Destination, true) => "mutual_tls",
        (Reporter::Destination, false) => "none",
    };
    let code = log.property(&["response", "code"]).int().unwrap_or(0);
    let response_flags = flags::shown(log.property(&["response", "flags"]).int().unwrap_or(0));
    let reporter = match reporter {
        Reporter::Source => "source",
        Reporter::Destination => "destination",
    };
    vec![
        ("reporter", reporter.to_owned()),
        ("source_workload", source.workload),
        ("source_canonical_service", source.service),
        ("source_canonical_revision", source.revision),
        ("source_workload_namespace", source.namespace),
        ("source_principal", source.principal),
        ("source_app", source.app),
        ("source_version", source.version),
        ("source_cluster", source.cluster),
        ("destination_workload", destination.workload),
        ("destination_workload_namespace", destination.namespace),
        ("destination_principal", destination.principal),
        ("destination_app", destination.app),
        ("destination_version", destination.version),
        ("destination_service", service.host),
        ("destination_canonical_service", destination.service),
        ("destination_canonical_revision", destination.revision),
        ("destination_service_name", service.name),
        ("destination_service_namespace", service.namespace),
        ("destination_cluster", destination.cluster),
        (
            "request_protocol",
            if is_grpc { "grpc" } else { "http" }.to_owned(),
        ),
        ("response_code", code.to_string()),
        (
            "grpc_response_status",
            if is_grpc { grpc_status(log) } else { String::new() },
        ),
        ("response_flags", response_flags),
        ("connection_security_policy", policy.to_owned()),
    ]
}

fn direction(log: &Log<'_>) -> Reporter {
    let current = log.property(&["xds", "listener_direction"]).int();
    match current.or_else(|| log.property(&["listener_direction"]).int()) {
        Some(2) => Reporter::Source,
        _ => Reporter::Destination,
    }
}

fn grpc_status(log: &Log<'_>) -> String {
    // In trailers, or in headers if there was nothing else to send.
    let sent = log
        .response_trailers()
        .text("grpc-status")
        .or_else(|| log.response_headers().text("grpc-status"));
    sent.or_else(|| {
        log.property(&["response", "grpc_status"])
            .int()
            .map(|status| status.to_string())
    })
    .unwrap_or_default()
}

struct Side {
    workload: String,
    namespace: String,
    principal: String,
    app: String,
    version: String,
    service: String,
    revision: String,
    cluster: String,
}

impl Side {
    fn own(node: &Node, principal: Option<String>) -> Self {
        Self {
            workload: node.workload.clone(),
            namespace: node.namespace.clone(),
            principal: principal.unwrap_or_else(|| UNKNOWN.to_owned()),
            app: node.app.clone(),
            version: node.version.clone(),
            service: node.service.clone(),
            revision: node.revision.clone(),
            cluster: node.cluster.clone(),
        }
    }

    fn peer(principal: Option<String>) -> Self {
        let unknown = || UNKNOWN.to_owned();
        // spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT
        let namespace = principal
            .as_deref()
            .and_then(|id| id.split_once("/ns/")?.1.split('/').next());
        Self {
            workload: unknown(),
            namespace: namespace.map_or_else(unknown, ToOwned::to_owned),
            principal: principal.unwrap_or_else(unknown),
            app: unknown(),
            version: unknown(),
            service: unknown(),
            revision: unknown(),
            cluster: unknown(),
        }
    }
}

struct Service {
    host: String,
    name: String,
    namespace: String,
}

impl Service {
    /// From the cluster's name as Istio forms it, `outbound|80||reviews.demo.svc.cluster.local`, else from the host.
    fn of(log: &Log<'_>) -> Self {
        let cluster = log.property(&["xds", "cluster_name"]).text();
        let cluster = cluster
            .or_else(|| log.property(&["cluster_name"]).text())
            .unwrap_or_default();
        let mut parts = cluster.split('|');
        let host = match (parts.next(), parts.nth(2)) {
            (Some("outbound" | "inbound"), Some(host)) if !host.is_empty() => host.to_owned(),
            _ => authority(log),
        };
        let mut labels = host.split('.');
        let name = labels
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or(UNKNOWN)
            .to_owned();
        let namespace = match (labels.next(), labels.next()) {
            (Some(namespace), Some("svc")) => namespace,
            _ => UNKNOWN,
        };
        let namespace = namespace.to_owned();
        // What is not a name inside of the mesh is not shortened.
        let name = if namespace == UNKNOWN { host.clone() } else { name };
        let or_unknown = |text: String| if text.is_empty() { UNKNOWN.to_owned() } else { text };
        Self {
            host: or_unknown(host),
            name: or_unknown(name),
            namespace,
        }
    }
}

fn authority(log: &Log<'_>) -> String {
    let authority = log.request_headers().text(":authority").unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
        _ => authority,
    }
}
