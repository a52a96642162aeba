//! `leno proxy-config` against an admin port that answers as Envoy does.

#![allow(clippy::unwrap_used, reason = "a test may end where it finds something wrong")]

mod program;

use axum::Json;
use axum::routing::get;
use program::leno;
use serde_json::{Value, json};

fn dump() -> Value {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "http_filters": [
            {"name": "auth", "config_discovery": {"type_urls": ["type.googleapis.com/one.of.Several"]}},
            {"name": "slow", "config_discovery": {"type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"]}},
            {"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
        ]
    });
    let listener = json!({
        "name": "inbound",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 8080}},
        "filter_chains": [{"filters": [{"typed_config": manager}]}]
    });
    json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {"id": "proxy-7"}}},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
         "dynamic_listeners": [{"name": "inbound", "active_state": {"version_info": "12", "listener": listener}}]},
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
         "static_clusters": [{"cluster": {"name": "xds", "type": "STRICT_DNS"}}],
         "dynamic_active_clusters": [{"version_info": "3", "cluster": {"name": "backend", "type": "EDS", "lb_policy": "LEAST_REQUEST"}}]},
        // Envoy has this one too, and before the other.
        {"@type": "type.googleapis.com/envoy.admin.v3.ScopedRoutesConfigDump"},
        {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
         "dynamic_route_configs": [{"version_info": "4", "route_config": {"name": "http.8080",
            "virtual_hosts": [{"name": "shop", "domains": ["shop.example", "shop"], "routes": [{}, {}]}]}}]},
        {"@type": "type.googleapis.com/envoy.admin.v3.EcdsConfigDump",
         "ecds_filters": [{"version_info": "9", "ecds_filter": {
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "auth",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"}}}]}
    ]})
}

fn clusters() -> Value {
    let host = |port: u16, health: Value| json!({"address": {"socket_address": {"address": "10.0.0.1", "port_value": port}}, "health_status": health, "weight": 1});
    json!({"cluster_statuses": [{"name": "backend", "host_statuses": [
        host(80, json!({"eds_health_status": "HEALTHY"})),
        host(81, json!({"eds_health_status": "HEALTHY", "failed_outlier_check": true}))
    ]}]})
}

/// The cells of every line.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[test]
fn shows_each_part() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let admin = listener.local_addr().unwrap().to_string();
    let router = axum::Router::new()
        .route("/config_dump", get(|| async { Json(dump()) }))
        .route("/clusters", get(|| async { Json(clusters()) }));
    runtime.spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let shows = |part: &str, expected: &[&str]| {
        let run = leno(folder.path(), ["proxy-config", part, "--admin", &admin]).succeeds();
        let found = rows(&run.stdout);
        let expected: Vec<Vec<String>> = rows(&expected.join("\n"));
        assert_eq!(found[1..], expected, "{part}");
    };
    shows("listeners", &["inbound 0.0.0.0 8080 1 12"]);
    shows(
        "clusters",
        &["xds STRICT_DNS ROUND_ROBIN static", "backend EDS LEAST_REQUEST 3"],
    );
    shows("routes", &["http.8080 shop shop.example, shop 2 4"]);
    shows(
        "endpoints",
        &[
            "backend 10.0.0.1:80 HEALTHY 1",
            "backend 10.0.0.1:81 failed_outlier_check 1",
        ],
    );
    shows(
        "filters",
        &[
            "inbound auth discovered envoy.extensions.filters.http.wasm.v3.Wasm 9",
            "inbound slow discovered envoy.extensions.filters.http.wasm.v3.Wasm not there yet",
            "inbound router listener envoy.extensions.filters.http.router.v3.Router 12",
        ],
    );
    leno(folder.path(), ["pc", "bootstrap", "--admin", &admin])
        .succeeds()
        .says("id: proxy-7");
    let all = leno(folder.path(), ["pc", "all", "--admin", &admin, "-o", "json"]).succeeds_with_json();
    assert_eq!(all, dump());
    leno(folder.path(), ["pc", "all", "--admin", "http://127.0.0.1:1"])
        .fails()
        .complains("no proxy answers at http://127.0.0.1:1")
        .complains("try: --admin");
}
