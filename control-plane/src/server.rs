//! The control plane as a whole: starts its parts on given addresses, and stops them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use leno_oci::client::{Client, Options as ClientOptions};
use leno_oci::digest::Digest;
use leno_oci::fetch::Fetcher;
use leno_oci::store::Store;
use leno_wasm::{Engine, Limits};
use leno_xds::transport::server::Connection;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::artifacts::{self, Compiled, Pushed, Tools};
use crate::publish::Publisher;
use crate::registry;
use crate::status::metrics::{CONTENT_TYPE, metrics};
use crate::status::{Status, status};
use crate::translate::Settings;

/// What a control plane is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of documents.
    pub folder: PathBuf,
    /// Where it keeps artifacts, and the embedded registry its blobs.
    pub state: PathBuf,
    /// ADS. Port 0 takes a free one.
    pub xds: SocketAddr,
    /// Artifacts, registry, status, metrics. Port 0 takes a free one.
    pub http: SocketAddr,
    /// The address that proxies reach `http` at, when it is another.
    pub advertise: Option<SocketAddr>,
    /// The embedded registry is served below `/v2/`.
    pub registry: bool,
    /// Plugins of this namespace apply to every namespace.
    pub root_namespace: String,
    /// Where proxies write access logs.
    pub access_log: Option<PathBuf>,
    /// How often moving tags are looked at.
    pub poll: Duration,
    /// The registry client.
    pub client: ClientOptions,
}

impl Options {
    /// Istio's ports on loopback, with everything below `state`.
    pub fn new(folder: PathBuf, state: PathBuf) -> Self {
        Self {
            folder,
            state,
            xds: SocketAddr::from(([127, 0, 0, 1], 15010)),
            http: SocketAddr::from(([127, 0, 0, 1], 15014)),
            advertise: None,
            registry: true,
            root_namespace: "istio-system".to_owned(),
            access_log: None,
            poll: Duration::from_secs(10),
            client: ClientOptions::default(),
        }
    }
}

/// The most that the artifact store holds, in bytes: what was used least is dropped first.
const STORE_SIZE: u64 = 4 << 30;

/// A running control plane. Dropping it stops it.
pub struct Server {
    xds: SocketAddr,
    http: SocketAddr,
    publisher: Publisher,
    stop: CancellationToken,
    parts: tokio::task::JoinSet<anyhow::Result<()>>,
}

#[derive(Clone)]
struct Web {
    publisher: Publisher,
    store: Arc<Store>,
}

impl Server {
    /// Starts all parts; returns when both addresses are served.
    ///
    /// # Errors
    /// Names the folder, the address or the option that does not work.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let xds = bind(options.xds).await.context("xDS address")?;
        let http = bind(options.http).await.context("HTTP address")?;
        let (xds_address, http_address) = (xds.local_addr()?, http.local_addr()?);
        let artifacts_folder = options.state.join("artifacts");
        let store = Store::open(&artifacts_folder, STORE_SIZE)
            .with_context(|| format!("artifact store {}", artifacts_folder.display()))?;
        let store = Arc::new(store);
        let fetcher = Fetcher::new(Client::new(options.client.clone())?, Arc::clone(&store));
        let engine = Engine::new(Limits::default()).context("Wasm engine")?;
        let readings = crate::folder::watch::watch(&options.folder)
            .with_context(|| format!("folder {}", options.folder.display()))?;
        let (pushed, pushes) = mpsc::channel(64);
        let tools = Tools {
            fetcher,
            engine,
            poll: options.poll,
            compiled: Compiled::default(),
        };
        let states = artifacts::run(tools, readings.clone(), pushes);
        let publisher = Publisher::new(Settings {
            root_namespace: options.root_namespace.clone(),
            artifacts: options.advertise.unwrap_or(http_address),
            access_log: options.access_log.clone(),
        });

        let stop = CancellationToken::new();
        let mut parts = tokio::task::JoinSet::new();
        let running = publisher.clone().run(readings, states);
        let stopped = stop.clone();
        parts.spawn(async move {
            stopped.run_until_cancelled(running).await;
            Ok(())
        });
        let web = web(
            &options,
            Web {
                publisher: publisher.clone(),
                store,
            },
            pushed,
        )?;
        let stopped = stop.clone();
        parts.spawn(async move {
            axum::serve(http, web)
                .with_graceful_shutdown(stopped.cancelled_owned())
                .await
                .context("HTTP")
        });
        let (streams, stopped) = (publisher.clone(), stop.clone());
        parts.spawn(async move {
            let all = stopped.clone();
            let accept = move |connection: Connection| {
                drop(tokio::spawn(stream(streams.clone(), connection, all.clone())))
            };
            leno_xds::transport::server::serve(xds, accept, stopped.cancelled_owned())
                .await
                .context("xDS")
        });
        tracing::info!(xds = %xds_address, http = %http_address, folder = %options.folder.display(), "control plane is ready");
        Ok(Self {
            xds: xds_address,
            http: http_address,
            publisher,
            stop,
            parts,
        })
    }

    /// Where ADS is served.
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// Where artifacts, registry and status are served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// What became of the documents.
    pub fn status(&self) -> Status {
        status(&self.publisher)
    }

    /// Stops all parts and waits for them.
    ///
    /// # Errors
    /// A part had failed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.parts.join_next().await {
            ended??;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn stream(publisher: Publisher, connection: Connection, stop: CancellationToken) {
    let peer = connection.peer;
    if let Some(Err(reason)) = stop.run_until_cancelled(publisher.serve(connection)).await {
        tracing::error!(?peer, reason, "a proxy is turned away");
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} cannot be bound; is another control plane running?"))
}

fn web(options: &Options, web: Web, pushed: mpsc::Sender<Pushed>) -> anyhow::Result<Router> {
    let routes = Router::new()
        .route("/ready", get(|| async { "LIVE\n" }))
        .route("/status", get(show_status))
        .route("/metrics", get(show_metrics))
        .route("/artifacts/sha256/{digest}", get(artifact))
        .with_state(web);
    if !options.registry {
        return Ok(routes);
    }
    let folder = options.state.join("registry");
    let on_push = move |what: registry::Pushed| {
        // A full queue is drained by polls: nothing is lost but time.
        let _queued = pushed.try_send(Pushed {
            repository: what.repository,
        });
    };
    let registry_options = registry::Options {
        on_push: Some(Arc::new(on_push)),
        ..registry::Options::default()
    };
    let registry = registry::router(&folder, registry_options)
        .with_context(|| format!("registry folder {}", folder.display()))?;
    Ok(routes.merge(registry))
}

async fn show_status(State(web): State<Web>) -> Json<Status> {
    Json(status(&web.publisher))
}

async fn show_metrics(State(web): State<Web>) -> Response {
    ([("content-type", CONTENT_TYPE)], metrics(&web.publisher)).into_response()
}

/// A module by the digest of its bytes. What is there never changes, so it may be kept for ever.
async fn artifact(State(web): State<Web>, Path(digest): Path<String>) -> Response {
    let Ok(digest) = Digest::parse(&format!("sha256:{digest}")) else {
        return (StatusCode::BAD_REQUEST, "not 64 hexadecimal digits\n").into_response();
    };
    let found = tokio::task::spawn_blocking(move || web.store.get(&digest)).await;
    match found {
        Ok(Ok(Some(bytes))) => (
            [
                ("content-type", "application/wasm"),
                ("cache-control", "public, max-age=31536000, immutable"),
            ],
            bytes,
        )
            .into_response(),
        Ok(Ok(None)) => (StatusCode::NOT_FOUND, "no artifact has this digest\n").into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
