//! The gateway example on real parts: our control plane with its embedded registry drives a real Envoy, and ours, by
//! ADS and ECDS; both do the same with the same documents.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leno_tests::client::{Ask, client};
use leno_tests::mesh::{ControlPlane, FILTERS, replace};
use leno_tests::proxy::{Kind, Proxy};
use leno_tests::registry::{another_version, push};
use leno_tests::status::Plugin;
use leno_tests::wait::{free_address, until};
use leno_tests::{peers, process, upstream};
use tokio::task::JoinHandle;

const TOKEN: &str = include_str!("../../examples/gateway/token").trim_ascii_end();

const BOOTSTRAP: &str = include_str!("../../examples/gateway/bootstrap.yaml");

/// More than gRPC takes in one message where nobody raised the limit (4 MiB).
const LARGE: usize = 5 << 20;

const DOCUMENTS: [(&str, &str); 8] = [
    (
        "gateway.yaml",
        include_str!("../../examples/gateway/config/gateway.yaml"),
    ),
    (
        "routes.yaml",
        include_str!("../../examples/gateway/config/routes.yaml"),
    ),
    (
        "services.yaml",
        include_str!("../../examples/gateway/config/services.yaml"),
    ),
    (
        "auth.yaml",
        include_str!("../../examples/gateway/config/plugins/auth.yaml"),
    ),
    (
        "rate-limit.yaml",
        include_str!("../../examples/gateway/config/plugins/rate-limit.yaml"),
    ),
    (
        "header-rewrite.yaml",
        include_str!("../../examples/gateway/config/plugins/header-rewrite.yaml"),
    ),
    (
        "telemetry.yaml",
        include_str!("../../examples/gateway/config/plugins/telemetry.yaml"),
    ),
    (
        "routing.yaml",
        include_str!("../../examples/gateway/config/plugins/routing.yaml"),
    ),
];

/// The example, running.
struct Gateway {
    control: ControlPlane,
    proxy: Proxy,
    address: SocketAddr,
    header_rewrite: String,
}

impl Gateway {
    async fn start(kind: Kind, api_type: &str, folder: &Path) -> Self {
        let (stable, canary) = (upstream::serve("stable").await, upstream::serve("canary").await);
        let control = ControlPlane::start(folder).await;
        let (address, admin) = (free_address(), free_address());
        let ports = [
            ("18080", address),
            ("18081", stable),
            ("18082", canary),
            ("15014", control.http),
            ("15010", control.xds),
            ("15000", admin),
        ];
        for filter in FILTERS {
            control.push(filter).await;
        }
        for (name, text) in DOCUMENTS {
            control.write(name, &replace(text, &ports));
        }
        let header_rewrite = replace(DOCUMENTS[5].1, &ports);
        let bootstrap =
            replace(BOOTSTRAP, &ports).replace("api_type: GRPC", &format!("api_type: {api_type}"));
        let mut proxy = Proxy::start(kind, folder, &bootstrap, admin);
        proxy.ready().await;
        control.programmed(&FILTERS).await;
        let gateway = Self {
            control,
            proxy,
            address,
            header_rewrite,
        };
        until("the gateway serves", || async {
            let answer = gateway.ask(Ask::get("/healthz")).await?;
            anyhow::ensure!(answer.status == 200, "{answer:?}");
            Ok(answer)
        })
        .await;
        gateway
    }

    async fn ask(&self, ask: Ask) -> anyhow::Result<leno_tests::client::Answer> {
        ask.send(self.address).await
    }

    /// The version that `header-rewrite` writes into responses.
    async fn version(&self) -> anyhow::Result<String> {
        let answer = self.ask(Ask::get("/healthz")).await?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.header("x-filter-version").to_owned())
    }
}

async fn every_stage_has_its_effect(gateway: &Gateway) {
    let nobody = gateway.ask(Ask::get("/things")).await.expect("an answer");
    assert_eq!(nobody.status, 401, "{nobody:?}");
    let token = Ask::get("/api/v1/things?x=1")
        .with("authorization", &format!("Bearer {TOKEN}"))
        .with("x-beta", "1");
    let canary = gateway
        .ask(token.with("x-internal-a", "1"))
        .await
        .expect("an answer");
    assert_eq!(canary.status, 200, "{canary:?}");
    assert_eq!(canary.header("x-filter-version"), "v1");
    assert_eq!(canary.header("x-powered-by"), "");
    let seen = canary.upstream();
    assert_eq!(
        (&seen["upstream"], &seen["path"]),
        (&"canary".into(), &"/things?x=1".into()),
        "{seen}"
    );
    assert_eq!(canary.upstream_header("x-internal-a"), "");
    assert_eq!(canary.upstream_header("traceparent").len(), 55, "{seen}");
    assert_eq!(
        canary.upstream_header("x-caller"),
        canary.upstream_header("x-user")
    );
    assert_ne!(canary.upstream_header("x-user"), "", "{seen}");
    let mut orders = Vec::new();
    for _ in 0..7 {
        orders.push(
            gateway
                .ask(Ask::get("/orders").with("x-api-key", "load-key"))
                .await
                .expect("an answer")
                .status,
        );
    }
    assert_eq!(orders, [200, 200, 200, 200, 200, 429, 429]);
}

/// Requests one after another, each of which must pass the whole chain.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<anyhow::Result<u64>>>,
}

impl Load {
    fn start(gateway: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..4).map(|_| tokio::spawn(load(gateway, Arc::clone(&stop))));
        Self {
            tasks: tasks.collect(),
            stop,
        }
    }

    /// How many there were. None may have failed.
    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut count = 0;
        for task in self.tasks {
            count += task.await.expect("no panic").expect("no request fails");
        }
        count
    }
}

async fn load(gateway: SocketAddr, stop: Arc<AtomicBool>) -> anyhow::Result<u64> {
    let client = client()?;
    let ask = Ask::get("/healthz").with("x-internal-a", "1");
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = ask.send_with(&client, gateway).await?;
        let passed = ["v1", "v2", "v4"].contains(&answer.header("x-filter-version"))
            && answer.upstream_header("x-internal-a").is_empty()
            && answer.upstream_header("traceparent").len() == 55;
        anyhow::ensure!(answer.status == 200 && passed, "request {count}: {answer:?}");
        count += 1;
        // Constant load, not all that the machine can do: the rest needs it too.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(count)
}

/// The module with a custom section more (core specification §5.5.3) that makes it large.
fn large(module: &[u8]) -> Vec<u8> {
    let mut bytes = another_version(module, "large");
    let mut section = vec![3];
    section.extend_from_slice(b"pad");
    section.resize(LARGE, 0);
    bytes.push(0);
    let mut length = section.len();
    while length >= 128 {
        bytes.push((length % 128) as u8 | 128);
        length /= 128;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(&section);
    bytes
}

impl Gateway {
    /// Attaches the header-rewrite of this tag, which writes `version`.
    fn attach(&self, tag: &str, version: &str) {
        let text = self
            .header_rewrite
            .replace("header-rewrite:v1", &format!("header-rewrite:{tag}"))
            .replace("value: v1", &format!("value: {version}"));
        self.control.write("header-rewrite.yaml", &text);
    }

    async fn push(&self, tag: &str, module: Vec<u8>) {
        let pushed = push(self.control.http, "filters/header-rewrite", tag, module, None);
        pushed.await.expect("a push");
    }

    async fn serves(&self, version: &str) {
        until(&format!("{version} serves"), || async {
            let seen = self.version().await?;
            anyhow::ensure!(seen == version, "{seen}");
            Ok(())
        })
        .await;
        self.control.programmed(&FILTERS).await;
    }

    /// Waits until the status of header-rewrite says something with `word`.
    async fn reported(&self, word: &str) -> Plugin {
        until(&format!("the status says {word}"), || async {
            let plugin = self.control.plugin("header-rewrite").await?;
            anyhow::ensure!(plugin.summary.contains(word), "{plugin:?}");
            Ok(plugin)
        })
        .await
    }
}

/// New versions replace old ones in a running proxy.
async fn a_version_is_swapped(gateway: &Gateway) {
    let module = large(&peers::module_bytes("header-rewrite"));
    gateway.push("v2", module).await;
    gateway.attach("v2", "v2");
    gateway.serves("v2").await;
}

/// What cannot be had, and what is no filter.
async fn bad_versions_change_nothing(gateway: &Gateway) {
    gateway.attach("v3", "v3");
    let missing = gateway.reported("v3").await;
    assert!(
        missing
            .failure
            .as_ref()
            .is_some_and(|failure| failure.contains("v3")),
        "{missing:?}"
    );
    assert_eq!(gateway.version().await.expect("an answer"), "v2");
    gateway.push("v3", b"\0asm\x01\0\0\0".to_vec()).await;
    gateway.reported("which ABI").await;
    assert_eq!(gateway.version().await.expect("an answer"), "v2");
}

/// What only Leno can run is kept from Envoy, which goes on with what it has.
async fn a_component_is_refused(gateway: &Gateway) {
    let core = std::fs::read(peers::component("header-rewrite")).expect("it was built");
    let component = wit_component::ComponentEncoder::default()
        .module(&core)
        .and_then(|mut encoder| encoder.encode())
        .expect("a component");
    gateway.push("component", component).await;
    gateway.attach("component", "v3");
    let plugin = gateway.reported("components").await;
    let reason = "envoy cannot run components; push a Proxy-Wasm build";
    assert_eq!(plugin.summary, format!("programmed 0/1: {reason}"));
    assert_eq!(plugin.proxies[0].state, "refused");
    assert_eq!(plugin.proxies[0].message.as_deref(), Some(reason));
    assert_eq!(gateway.version().await.expect("an answer"), "v2");
}

/// A proxy goes on without its control plane, and beside one that starts again and does not know a good version. It
/// takes what is good then.
async fn the_control_plane_may_die(gateway: &mut Gateway) {
    gateway.control.process.kill();
    assert_eq!(gateway.version().await.expect("an answer"), "v2");
    gateway.control.start_again().await;
    let plugin = until("the proxy is back", || async {
        let plugin = gateway.reported("which ABI").await;
        anyhow::ensure!(plugin.proxies.len() == 1, "{plugin:?}");
        Ok(plugin)
    })
    .await;
    assert_eq!(plugin.proxies[0].state, "waiting");
    assert_eq!(gateway.version().await.expect("an answer"), "v2");
    gateway.attach("v1", "v4");
    gateway.serves("v4").await;
}

async fn gateway_example(kind: Kind, api_type: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut gateway = Gateway::start(kind, api_type, folder.path()).await;
    every_stage_has_its_effect(&gateway).await;
    let load = Load::start(gateway.address);
    a_version_is_swapped(&gateway).await;
    if kind == Kind::Envoy {
        a_component_is_refused(&gateway).await;
    }
    bad_versions_change_nothing(&gateway).await;
    the_control_plane_may_die(&mut gateway).await;
    let requests = load.end().await;
    assert!(requests > 100, "{requests} requests are no load");
    let status = gateway.control.status().await.expect("a status");
    assert!(status.problems.is_empty(), "{:#?}", status.problems);
    assert_eq!(status.proxies.len(), 1, "{:#?}", status.proxies);
    let kinds = &status.proxies[0].kinds;
    assert!(
        kinds.len() >= 4 && kinds.values().all(|state| state.starts_with("synced")),
        "{kinds:#?}"
    );
    let address = gateway.control.http.to_string();
    let arguments = ["proxy-status", "--control-plane", &address];
    let table = process::output(&peers::program("leno"), arguments).await;
    let (agent, other) = match kind {
        Kind::Leno => ("leno 0", "envoy"),
        Kind::Envoy => ("envoy 1.", "leno 0"),
    };
    assert!(table.contains(agent) && !table.contains(other), "{table}");
    assert_eq!(table.matches("programmed 1/1").count(), FILTERS.len(), "{table}");
    assert_eq!(table.matches("SYNCED").count(), 5, "{table}");
    gateway.proxy.process.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_is_driven_by_our_control_plane() {
    gateway_example(Kind::Envoy, "GRPC").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_is_driven_by_our_control_plane_in_deltas() {
    gateway_example(Kind::Envoy, "DELTA_GRPC").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_proxy_is_driven_by_our_control_plane() {
    gateway_example(Kind::Leno, "GRPC").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_proxy_is_driven_by_our_control_plane_in_deltas() {
    gateway_example(Kind::Leno, "DELTA_GRPC").await;
}
