//! `leno run`: a proxy from a folder of YAML, with its control plane in the same process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use leno_control_plane::folder::Folder;
use leno_control_plane::server::{Options as ControlPlane, Server};
use leno_proxy::options::Options as ProxyOptions;

use crate::failure::failure;
use crate::options::{Role, Run};
use crate::validate;

/// Runs until it is told to end.
pub(crate) async fn run(command: Run) -> anyhow::Result<ExitCode> {
    let reading = Folder::default()
        .read(&command.folder)
        .with_context(|| format!("{} cannot be read", command.folder.display()))?;
    if validate::ids(&reading.world).is_empty() && reading.problems.is_empty() {
        tracing::warn!(
            folder = %command.folder.display(),
            "there is nothing in the folder: nothing is served until it has documents (.yaml, .yml or .json)"
        );
    }
    let labels = labels(&command, &reading.world)?;
    let namespace = command
        .namespace
        .clone()
        .unwrap_or_else(|| namespace(&reading.world));
    let temporary;
    let state: PathBuf = match &command.state {
        Some(state) => state.clone(),
        None => {
            temporary = tempfile::tempdir().context("a folder for artifacts")?;
            temporary.path().to_owned()
        }
    };
    let mut options = ControlPlane::new(command.folder.clone(), state);
    options.xds = ([127, 0, 0, 1], 0).into();
    options.http = command.http;
    options.access_log.clone_from(&command.access_log);
    options
        .client
        .insecure_registries
        .clone_from(&command.insecure_registry);
    options.client.ca_file.clone_from(&command.ca_file);
    let server = Server::start(options).await?;
    let bootstrap = bootstrap(&command, &namespace, &labels, &server);
    let mut words = vec!["leno-proxy".to_owned(), "--config-yaml".to_owned(), bootstrap];
    if let Some(workers) = command.concurrency {
        words.extend(["--concurrency".to_owned(), workers.to_string()]);
    }
    words.extend(["--drain-time-s".to_owned(), command.drain_time_s.to_string()]);
    let proxy = ProxyOptions::try_parse_from(words)?;
    let handle = leno_proxy::server::Server::start(proxy, Vec::new(), None)
        .await
        .map_err(|reason| {
            failure(
                format!("the proxy does not start: {reason}"),
                "another --admin or --http address",
            )
        })?;
    tracing::info!(
        folder = %command.folder.display(), namespace, ?labels, admin = %command.admin, status = %server.http(),
        "running; Ctrl-C ends it"
    );
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    handle.shutdown().await;
    server.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// What `--label` says or, for a gateway, what the Gateways of the folder select.
fn labels(
    command: &Run,
    world: &leno_control_plane::world::World,
) -> anyhow::Result<BTreeMap<String, String>> {
    if !command.label.is_empty() || command.role == Role::Sidecar {
        return Ok(command.label.iter().cloned().collect());
    }
    let mut labels = BTreeMap::new();
    for (key, gateway) in &world.gateways {
        for (name, value) in &gateway.spec.selector {
            let before = labels.insert(name.clone(), value.clone());
            if before.is_some_and(|before| before != *value) {
                return Err(failure(
                    format!("Gateway {key} selects {name}={value}, and another one selects another {name}"),
                    "--label to say which proxy this is",
                ));
            }
        }
    }
    Ok(labels)
}

fn namespace(world: &leno_control_plane::world::World) -> String {
    world
        .gateways
        .keys()
        .next()
        .map_or_else(|| "default".to_owned(), |key| key.namespace.clone())
}

fn bootstrap(command: &Run, namespace: &str, labels: &BTreeMap<String, String>, server: &Server) -> String {
    let role = match command.role {
        Role::Gateway => "router",
        Role::Sidecar => "sidecar",
    };
    let name = Path::new(&command.folder)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .replace(['~', '.'], "-");
    let socket = |address: std::net::SocketAddr| serde_json::json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    serde_json::json!({
        "node": {
            "id": format!("{role}~127.0.0.1~{name}.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": name,
            "metadata": { "NAMESPACE": namespace, "LABELS": labels },
        },
        "admin": { "address": socket(command.admin) },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "control-plane" } }],
            },
            "lds_config": { "ads": {}, "resource_api_version": "V3" },
            "cds_config": { "ads": {}, "resource_api_version": "V3" },
        },
        "static_resources": { "clusters": [{
            "name": "control-plane",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} },
                },
            },
            "load_assignment": {
                "cluster_name": "control-plane",
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(server.xds()) } }] }],
            },
        }] },
    })
    .to_string()
}
