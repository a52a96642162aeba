//! The proxies that are compared, each with one worker, no access log, and the same work.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use clap::ValueEnum;
use leno_tests::bootstrap::{Bootstrap, Speaks, all_to, wasm_filter};
use leno_tests::peers;
use leno_tests::process::Running;
use leno_tests::wait::{free_address, until};
use serde_json::{Value, json};

use super::load;
use super::scenario::{Load, Scenario};

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// The release build of `leno-proxy`.
    Leno,
    /// Envoy, from the same bootstrap.
    Envoy,
    /// Envoy without the filters of the scenario: what they cost is told against it.
    EnvoyWithoutFilters,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
}

impl Peer {
    /// As in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leno => "leno",
            Self::Envoy => "envoy",
            Self::EnvoyWithoutFilters => "envoy without filters",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }
}

/// A peer that runs.
pub struct Started {
    /// Its name.
    pub name: &'static str,
    /// The process that proxies.
    pub process: Running,
    /// Where it listens.
    pub address: SocketAddr,
}

/// An nginx that answers everything with 1 KiB.
///
/// # Errors
/// It does not start.
pub async fn upstream(folder: &Path) -> anyhow::Result<Started> {
    let address = free_address();
    let body = "x".repeat(1024);
    let server = format!("listen {address}; location / {{ return 200 '{body}'; }}");
    let process = nginx("upstream", folder, "", &server)?;
    ready(Started {
        name: "upstream",
        process,
        address,
    })
    .await
}

/// Starts `peer` in front of `upstream` and waits until it answers.
///
/// # Errors
/// It does not start, or does not answer.
pub async fn start(
    peer: Peer,
    scenario: &Scenario,
    upstream: SocketAddr,
    folder: &Path,
) -> anyhow::Result<Started> {
    let address = free_address();
    let process = match peer {
        Peer::Leno | Peer::Envoy | Peer::EnvoyWithoutFilters => {
            let filters = if peer == Peer::EnvoyWithoutFilters {
                0
            } else {
                scenario.filters
            };
            envoy_like(peer, filters, address, upstream, folder)?
        }
        Peer::Nginx => {
            let http2 = if matches!(scenario.load, Load::Http2 { .. }) {
                " http2"
            } else {
                ""
            };
            let pool =
                format!("upstream up {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}");
            let server = format!(
                "listen {address}{http2}; location / {{ proxy_pass http://up; proxy_http_version 1.1; \
                 proxy_set_header Connection ''; proxy_set_header Host $host; }}"
            );
            nginx("nginx", folder, &pool, &server)?
        }
        Peer::Haproxy => haproxy(scenario, address, upstream, folder)?,
    };
    ready(Started {
        name: peer.name(),
        process,
        address,
    })
    .await
}

/// Waits until it answers one protocol or the other.
async fn ready(mut started: Started) -> anyhow::Result<Started> {
    let one = |load| Scenario {
        name: "ready",
        load,
        filters: 0,
    };
    let http1 = one(Load::Http1 { connections: 1 });
    let http2 = one(Load::Http2 {
        connections: 1,
        streams: 1,
    });
    let Started {
        name,
        process,
        address,
    } = &mut started;
    until(&format!("{name} answers"), || {
        if let Err(ended) = process.alive() {
            panic!("{ended}");
        }
        let answer = load::run(&http1, *address, 1, None).or_else(|_| load::run(&http2, *address, 1, None));
        std::future::ready(answer)
    })
    .await;
    Ok(started)
}

fn nginx(name: &str, folder: &Path, http: &str, server: &str) -> anyhow::Result<Running> {
    let prefix = folder.join(name);
    fs::create_dir_all(prefix.join("logs"))?;
    let file = prefix.join("nginx.conf");
    // One process that works and is the one that was started.
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {pid}; error_log {log} error;\n\
         events {{ worker_connections 16384; }}\n\
         http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; default_type text/plain;\n\
         {http}\nserver {{ {server} }} }}\n",
        pid = prefix.join("pid").display(),
        log = prefix.join("error.log").display(),
    );
    fs::write(&file, text)?;
    Ok(Running::start(
        name,
        folder,
        &peers::installed("nginx"),
        [Path::new("-p"), &prefix, Path::new("-c"), &file],
    ))
}

fn haproxy(
    scenario: &Scenario,
    address: SocketAddr,
    upstream: SocketAddr,
    folder: &Path,
) -> anyhow::Result<Running> {
    let proto = if matches!(scenario.load, Load::Http2 { .. }) {
        " proto h2"
    } else {
        ""
    };
    let file = folder.join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 600s\n  \
         timeout server 600s\n  http-reuse always\nfrontend front\n  bind {address}{proto}\n  default_backend back\n\
         backend back\n  server up {upstream} pool-max-conn 256\n"
    );
    fs::write(&file, text)?;
    Ok(Running::start(
        "haproxy",
        folder,
        &peers::installed("haproxy"),
        [Path::new("-db"), Path::new("-f"), &file],
    ))
}

fn envoy_like(
    peer: Peer,
    filters: usize,
    address: SocketAddr,
    upstream: SocketAddr,
    folder: &Path,
) -> anyhow::Result<Running> {
    let module = |index: usize| {
        wasm_filter(
            &format!("small-{index}"),
            &peers::module("header-rewrite"),
            &json!({"request": [{"set": {"name": format!("x-small-{index}"), "value": "%{request.method}"}}]}),
        )
    };
    let filters: Vec<Value> = (0..filters).map(module).collect();
    let text = Bootstrap::default()
        .cluster("up", upstream, Speaks::Http1)
        .listener("front", address, &filters, &all_to("up"))
        .text(free_address());
    let mut file: Value = serde_json::from_str(&text).context("the bootstrap")?;
    tune(&mut file);
    let name = peer.name().replace(' ', "-");
    let path = folder.join(format!("{name}.yaml"));
    fs::write(&path, format!("{file:#}"))?;
    let mut command = Command::new(if peer == Peer::Leno {
        peers::program("leno-proxy")
    } else {
        peers::envoy()
    });
    command.arg("-c").arg(&path);
    command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
    Ok(Running::start_command(&name, folder, command))
}

/// What Envoy's own benchmark guide asks for: no request ids, no dynamic statistics, no limits in the way
/// (<https://www.envoyproxy.io/docs/envoy/latest/faq/performance/how_to_benchmark_envoy>).
fn tune(file: &mut Value) {
    let manager =
        &mut file["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager["generate_request_id"] = json!(false);
    if let Some(router) = manager["http_filters"]
        .as_array_mut()
        .and_then(|filters| filters.last_mut())
    {
        router["typed_config"]["dynamic_stats"] = json!(false);
    }
    let limit = json!(1_000_000_000);
    file["static_resources"]["clusters"][0]["circuit_breakers"] = json!({"thresholds": [{
        "max_connections": limit, "max_pending_requests": limit, "max_requests": limit, "max_retries": limit,
    }]});
}
