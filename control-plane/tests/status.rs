//! What a control plane says of itself over HTTP, as documents and their artifacts come and go.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use leno_control_plane::server::{Options, Server};
use leno_control_plane::status::{Plugin, Status};

/// A filter that does nothing.
const FILTER: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 8192))
    (func (export "proxy_on_context_create") (param i32 i32)))"#;

/// Serves a filter, something else, and something that never comes.
async fn web() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let filter = wat::parse_str(FILTER).expect("a module");
    let routes = Router::new()
        .route("/good.wasm", get(move || async { filter }))
        .route("/text.wasm", get(|| async { "text" }))
        .route("/never.wasm", get(std::future::pending::<String>));
    tokio::spawn(axum::serve(listener, routes).into_future());
    address
}

fn write(folder: &Path, url: &str) {
    let text = format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: p, namespace: n}}\nspec: \
         {{url: '{url}'}}\n"
    );
    // At once, as an editor does.
    std::fs::write(folder.join(".draft"), text).expect("write");
    std::fs::rename(folder.join(".draft"), folder.join("p.yaml")).expect("rename");
}

async fn page(address: SocketAddr, path: &str) -> String {
    let response = reqwest::get(format!("http://{address}{path}"))
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    response.text().await.expect("a page")
}

/// Waits until the plugin is in this state, with this URL.
async fn reaches(address: SocketAddr, state: &str, url: &str) -> Plugin {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let found = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            looks.tick().await;
            let status: Status = serde_json::from_str(&page(address, "/status").await).expect("a status");
            let plugin = status.plugins.into_iter().next();
            if let Some(plugin) = plugin.filter(|plugin| plugin.state == state && plugin.url == url) {
                return plugin;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("{url} is never {state}"))
}

#[tokio::test]
async fn states_of_artifacts_are_in_status_and_metrics() {
    let web = web().await;
    let url = |file: &str| format!("http://{web}/{file}.wasm");
    let home = tempfile::tempdir().expect("a temporary folder");
    let folder = home.path().join("documents");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("bad.yaml"), "kind: Gatway\n").expect("write");
    write(&folder, &url("good"));
    let mut options = Options::new(folder.clone(), home.path().join("state"));
    options.xds.set_port(0);
    options.http.set_port(0);
    let server = Server::start(options).await.expect("a control plane");
    let http = server.http();

    let plugin = reaches(http, "ready", &url("good")).await;
    assert_eq!(
        (plugin.summary.as_str(), plugin.failure),
        ("programmed 0/0", None)
    );
    let good = plugin.sha256;
    write(&folder, &url("text"));
    let plugin = reaches(http, "failed", &url("text")).await;
    assert!(
        plugin.summary.starts_with("failed: ") && plugin.failure.is_some(),
        "{plugin:#?}"
    );
    let numbers = page(http, "/metrics").await;
    let is = |name: &str, labels: &str, value: &str| {
        let line = format!("leno_control_plane_{name}{{{labels}}} {value}");
        assert!(numbers.lines().any(|at| at == line), "no {line} in\n{numbers}");
    };
    is(
        "build_info",
        &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
        "1",
    );
    is("connected_proxies", "role=\"gateway\"", "0");
    is("config_pushes_total", "kind=\"Listener\"", "0");
    is("config_nacks_total", "kind=\"TypedExtensionConfig\"", "0");
    is("documents", "state=\"good\"", "1");
    is("documents", "state=\"refused\"", "1");
    is("objects", "kind=\"WasmPlugin\"", "1");
    let plugin = |rest: &str| format!("namespace=\"n\",name=\"p\",{rest}");
    is("plugin_artifact", &plugin("state=\"failed\""), "1");
    is("plugin_artifact", &plugin("state=\"ready\""), "0");
    is("plugin_artifact_failing", &plugin("step=\"verify\""), "1");
    is("plugin_artifact_failing", &plugin("step=\"pull\""), "0");
    is(
        "plugin_artifact_failures_total",
        &plugin("step=\"configure\""),
        "0",
    );
    let failures = format!(
        "leno_control_plane_plugin_artifact_failures_total{{{}}} ",
        plugin("step=\"verify\"")
    );
    let count = numbers.lines().find_map(|line| line.strip_prefix(&failures));
    assert!(
        count.and_then(|count| count.parse::<u64>().ok()) >= Some(1),
        "{numbers}"
    );

    write(&folder, &url("never"));
    let plugin = reaches(http, "pending", &url("never")).await;
    assert_eq!(plugin.failure, None, "{plugin:#?}");
    assert_eq!((plugin.sha256, plugin.serving_url), (good, Some(url("good"))));
    assert!(plugin.summary.starts_with("pending: "), "{}", plugin.summary);
    server.stop().await.expect("a stop");
}
