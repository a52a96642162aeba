//! The demo's mesh: upstreams, registry and control plane in this process, and a proxy beside it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use leno_control_plane::server::{Options, Server};
use leno_oci::client::{Client as Registry, Options as RegistryOptions};
use leno_oci::push::PushOptions;
use leno_oci::reference::Reference;

use super::client::Client;
use super::{step, upstream};
use crate::output::say;

/// A token of the demo's issuer, valid until 2100.
pub(crate) const TOKEN: &str = include_str!("../../../examples/gateway/token").trim_ascii_end();

/// An API key that no limit is on.
pub(crate) const LOAD_KEY: &str = "load-key";

const BOOTSTRAP: &str = include_str!("../../../examples/gateway/bootstrap.yaml");

const DOCUMENTS: &[(&str, &str)] = &[
    (
        "gateway.yaml",
        include_str!("../../../examples/gateway/config/gateway.yaml"),
    ),
    (
        "routes.yaml",
        include_str!("../../../examples/gateway/config/routes.yaml"),
    ),
    (
        "services.yaml",
        include_str!("../../../examples/gateway/config/services.yaml"),
    ),
    (
        "auth.yaml",
        include_str!("../../../examples/gateway/config/plugins/auth.yaml"),
    ),
    (
        "rate-limit.yaml",
        include_str!("../../../examples/gateway/config/plugins/rate-limit.yaml"),
    ),
    (
        "header-rewrite.yaml",
        include_str!("../../../examples/gateway/config/plugins/header-rewrite.yaml"),
    ),
    (
        "telemetry.yaml",
        include_str!("../../../examples/gateway/config/plugins/telemetry.yaml"),
    ),
    (
        "routing.yaml",
        include_str!("../../../examples/gateway/config/plugins/routing.yaml"),
    ),
];

/// A running mesh.
pub(crate) struct Mesh {
    folder: PathBuf,
    modules: PathBuf,
    server: Option<Server>,
    proxy: Child,
    registry: Registry,
    http: SocketAddr,
    gateway: SocketAddr,
    admin: SocketAddr,
    replacements: Vec<(String, String)>,
}

impl Mesh {
    /// Starts everything and waits until every filter is programmed.
    ///
    /// # Errors
    /// Names the part that does not start, and why.
    pub(crate) async fn start(state: &Path, modules: &Path) -> anyhow::Result<Self> {
        let stable = upstream::serve("v1").await.context("upstream v1")?;
        let canary = upstream::serve("v2").await.context("upstream v2")?;
        let (gateway, admin) = (free_address()?, free_address()?);
        let folder = state.join("config");
        std::fs::create_dir_all(&folder)?;
        let mut options = Options::new(folder.clone(), state.join("state"));
        options.xds = SocketAddr::from(([127, 0, 0, 1], 0));
        options.http = options.xds;
        let server = Server::start(options).await.context("control plane")?;
        let (xds, http) = (server.xds(), server.http());
        let port = |number: u16, address: SocketAddr| (number.to_string(), address.port().to_string());
        let replacements = vec![
            port(18080, gateway),
            port(18081, stable),
            port(18082, canary),
            port(15014, http),
            port(15010, xds),
            port(15000, admin),
        ];
        let registry = Registry::new(RegistryOptions::default())?;
        let bootstrap = state.join("bootstrap.yaml");
        std::fs::write(&bootstrap, replace(BOOTSTRAP, &replacements))?;
        let proxy = start_proxy(&bootstrap, state)?;
        let mut mesh = Self {
            folder,
            modules: modules.to_owned(),
            server: Some(server),
            proxy,
            registry,
            http,
            gateway,
            admin,
            replacements,
        };
        for filter in ["auth", "rate-limit", "header-rewrite", "telemetry", "routing"] {
            let module = mesh.module(filter)?;
            let size = module.len();
            mesh.push(filter, "v1", module).await?;
            step("push", &format!("filters/{filter}:v1, {} KiB", size >> 10));
        }
        for (name, text) in DOCUMENTS {
            std::fs::write(mesh.folder.join(name), replace(text, &mesh.replacements))?;
        }
        mesh.programmed(5).await?;
        Ok(mesh)
    }

    /// Where traffic goes in.
    pub(crate) fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Where registry, artifacts and status are.
    pub(crate) fn control_plane(&self) -> SocketAddr {
        self.http
    }

    /// A client of the gateway.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.gateway)
    }

    /// Pushes and attaches `header-rewrite:v2`: another module, and another configuration.
    ///
    /// # Errors
    /// The push fails.
    pub(crate) async fn publish_second_version(&self) -> anyhow::Result<()> {
        let mut module = self.module("header-rewrite")?.to_vec();
        // A custom section that says so makes it another module with another digest (core specification §5.5.3).
        let (name, text) = (b"leno.demo", b"second version");
        module.push(0);
        module.push(u8::try_from(1 + name.len() + text.len())?);
        module.push(u8::try_from(name.len())?);
        module.extend_from_slice(name);
        module.extend_from_slice(text);
        self.push("header-rewrite", "v2", Bytes::from(module)).await?;
        self.attach_version("v2", "value: v2")
    }

    /// Attaches a version that is in no registry; gives what the status says of it.
    ///
    /// # Errors
    /// The control plane does not notice.
    pub(crate) async fn publish_broken_version(&self) -> anyhow::Result<String> {
        let file = self.folder.join("header-rewrite.yaml");
        let text = std::fs::read_to_string(&file)?;
        let broken = text
            .replace("header-rewrite:v2", "header-rewrite:none")
            .replace("value: v2", "value: v3");
        std::fs::write(&file, broken)?;
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let status = self.status();
            if let Some(failure) = status.plugins.iter().find_map(|plugin| plugin.failure.clone()) {
                return Ok(failure);
            }
            anyhow::ensure!(
                Instant::now() < until,
                "the control plane does not report the missing version"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Attaches the second version again; waits until it is programmed, and says what is so when it is not.
    ///
    /// # Errors
    /// Its document cannot be written.
    pub(crate) async fn withdraw_broken_version(&self) -> anyhow::Result<Result<(), String>> {
        let file = self.folder.join("header-rewrite.yaml");
        let text = std::fs::read_to_string(&file)?;
        let good = text
            .replace("header-rewrite:none", "header-rewrite:v2")
            .replace("value: v3", "value: v2");
        std::fs::write(&file, good)?;
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let status = self.status();
            let plugin = status
                .plugins
                .iter()
                .find(|plugin| plugin.name == "header-rewrite");
            let said = match plugin {
                None => "it is not there".to_owned(),
                Some(plugin) if !plugin.url.ends_with(":v2") => format!("{} is attached", plugin.url),
                Some(plugin) => match &plugin.failure {
                    Some(failure) => failure.clone(),
                    None if plugin.summary == "programmed 1/1" => return Ok(Ok(())),
                    None => plugin.summary.clone(),
                },
            };
            if Instant::now() > until {
                return Ok(Err(said));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn attach_version(&self, tag: &str, value: &str) -> anyhow::Result<()> {
        let file = self.folder.join("header-rewrite.yaml");
        let text = std::fs::read_to_string(&file)?;
        let new = text
            .replace("header-rewrite:v1", &format!("header-rewrite:{tag}"))
            .replace("value: v1", value);
        std::fs::write(&file, new)?;
        Ok(())
    }

    fn module(&self, filter: &str) -> anyhow::Result<Bytes> {
        let path = self
            .modules
            .join(format!("leno_filter_{}.wasm", filter.replace('-', "_")));
        let bytes = std::fs::read(&path)
            .with_context(|| format!("{} (build it with `cargo xtask guests`)", path.display()))?;
        Ok(Bytes::from(bytes))
    }

    async fn push(&self, filter: &str, tag: &str, module: Bytes) -> anyhow::Result<()> {
        let reference = Reference::parse(&format!("{}/filters/{filter}:{tag}", self.http))?;
        self.registry
            .push(&reference, module, &PushOptions::default())
            .await
            .with_context(|| format!("push of {reference}"))?;
        Ok(())
    }

    fn status(&self) -> leno_control_plane::status::Status {
        self.server.as_ref().map(Server::status).unwrap_or_default()
    }

    async fn programmed(&mut self, plugins: usize) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.status();
            let done = status
                .plugins
                .iter()
                .filter(|plugin| plugin.summary == "programmed 1/1")
                .count();
            if done == plugins && self.client().get("/healthz").send().await.is_ok() {
                return Ok(());
            }
            if let Some(ended) = self.proxy.try_wait()? {
                anyhow::bail!("leno-proxy ended with {ended}");
            }
            if Instant::now() > until {
                let summaries: Vec<String> = status
                    .plugins
                    .iter()
                    .map(|plugin| format!("{}: {}", plugin.name, plugin.summary))
                    .collect();
                let problems: Vec<&str> = status
                    .problems
                    .iter()
                    .map(|problem| problem.message.as_str())
                    .collect();
                anyhow::bail!(
                    "the filters are not programmed: {}; {}",
                    summaries.join("; "),
                    problems.join("; ")
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The sum of a Prometheus metric of the proxy over the series that hold `label`.
    ///
    /// # Errors
    /// The admin page does not answer.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let url = format!("http://{}/stats/prometheus", self.admin);
        let text = reqwest::get(url).await?.text().await?;
        let series = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        Ok(series
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// Says what to try next.
    ///
    /// # Errors
    /// It cannot be said.
    pub(crate) fn explain(&self, state: &Path) -> anyhow::Result<()> {
        let Self {
            gateway, http, admin, ..
        } = self;
        let folder = state.join("config");
        say(format!(
            "\nThe mesh runs until Ctrl-C. Try, in another terminal:\n  \
               curl -i http://{gateway}/ -H 'x-api-key: {LOAD_KEY}'\n  \
               curl -s http://{http}/status\n  \
               curl -s http://{admin}/stats/prometheus | grep istio_\n  \
               leno proxy-config listeners --admin http://{admin}\n  \
               $EDITOR {}/header-rewrite.yaml",
            folder.display()
        ))
    }

    /// Stops everything and waits for it.
    ///
    /// # Errors
    /// The proxy does not drain, or a part of the control plane had failed.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.proxy.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let until = Instant::now() + Duration::from_secs(10);
        while self.proxy.try_wait()?.is_none() {
            anyhow::ensure!(Instant::now() < until, "leno-proxy does not end after SIGTERM");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // Already ended after `stop`; a failed start must not leave it behind.
        let _ended = self.proxy.kill();
        let _reaped = self.proxy.wait();
    }
}

fn replace(text: &str, replacements: &[(String, String)]) -> String {
    replacements.iter().fold(text.to_owned(), |text, (from, to)| {
        text.replace(from.as_str(), to)
    })
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

fn start_proxy(bootstrap: &Path, state: &Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?.with_file_name("leno-proxy");
    let log = std::fs::File::create(state.join("proxy.log"))?;
    Command::new(&program)
        .arg("-c")
        .arg(bootstrap)
        .args(["--concurrency", "2", "--drain-time-s", "2"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| {
            format!(
                "{} cannot be started; it is built with the workspace",
                program.display()
            )
        })
}
