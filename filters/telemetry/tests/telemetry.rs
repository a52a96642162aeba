//! What is counted, logged and sent on, and which configurations are refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use leno_filter_telemetry::Telemetry;
use leno_sdk::testing::{Mesh, Running, TestRequest, get, post, response};

fn start(mesh: &Mesh, config: &str) -> Running {
    mesh.worker().native::<Telemetry>(config).unwrap()
}

fn refused(config: &str) -> String {
    Mesh::new()
        .worker()
        .native::<Telemetry>(config)
        .err()
        .expect("the configuration is refused")
}

/// A metric's labels and value.
fn metric(mesh: &Mesh, name: &str) -> (Vec<(String, String)>, u64) {
    let found = mesh
        .metrics()
        .into_iter()
        .find(|metric| metric.ends_with(&format!(";.;{name}")))
        .unwrap();
    let labels = found.split(";.;").filter_map(|pair| pair.split_once("=.="));
    let labels = labels
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .collect();
    (labels, mesh.metric(&found).unwrap())
}

fn label(mesh: &Mesh, name: &str) -> Option<String> {
    let (labels, _) = metric(mesh, "istio_requests_total");
    labels
        .into_iter()
        .find(|(label, _)| label == name)
        .map(|(_, value)| value)
}

fn check_labels(mesh: &Mesh, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(label(mesh, name).as_deref(), Some(*value), "{name}");
    }
}

fn demo_node(mesh: &Mesh) {
    let metadata = |path: &[&str], value: &str| {
        mesh.set_property(
            &["xds", "node", "metadata"]
                .iter()
                .chain(path)
                .copied()
                .collect::<Vec<_>>(),
            value,
        );
    };
    metadata(&["WORKLOAD_NAME"], "reviews-v1");
    metadata(&["NAMESPACE"], "demo");
    metadata(&["CLUSTER_ID"], "Kubernetes");
    metadata(&["LABELS", "app"], "reviews");
    metadata(&["LABELS", "version"], "v1");
}

fn measured(request: TestRequest) -> TestRequest {
    request
        .int_property(&["request", "duration"], 12_345_678)
        .int_property(&["request", "total_size"], 300)
        .int_property(&["response", "total_size"], 4_000)
        .int_property(&["response", "flags"], 0)
}

#[test]
fn a_server_reports_with_istios_labels() {
    let mesh = Mesh::new();
    demo_node(&mesh);
    let request = measured(get("/").answered(response(503)))
        .int_property(&["xds", "listener_direction"], 1)
        .property(&["xds", "cluster_name"], "inbound|9080||")
        .bool_property(&["connection", "mtls"], true)
        .property(
            &["connection", "uri_san_peer_certificate"],
            "spiffe://cluster.local/ns/shop/sa/cart",
        )
        .property(
            &["connection", "uri_san_local_certificate"],
            "spiffe://cluster.local/ns/demo/sa/reviews",
        )
        .header(":authority", "reviews.demo.svc.cluster.local:9080");
    let _ = start(&mesh, "").run(request);
    check_labels(
        &mesh,
        &[
            ("reporter", "destination"),
            ("source_workload", "unknown"),
            ("source_workload_namespace", "shop"),
            ("source_principal", "spiffe://cluster.local/ns/shop/sa/cart"),
            ("destination_workload", "reviews-v1"),
            ("destination_workload_namespace", "demo"),
            (
                "destination_principal",
                "spiffe://cluster.local/ns/demo/sa/reviews",
            ),
            ("destination_app", "reviews"),
            ("destination_version", "v1"),
            ("destination_service", "reviews.demo.svc.cluster.local"),
            ("destination_service_name", "reviews"),
            ("destination_service_namespace", "demo"),
            ("destination_canonical_service", "reviews"),
            ("destination_canonical_revision", "v1"),
            ("destination_cluster", "Kubernetes"),
            ("request_protocol", "http"),
            ("response_code", "503"),
            ("grpc_response_status", ""),
            ("response_flags", "-"),
            ("connection_security_policy", "mutual_tls"),
        ],
    );
    let (labels, requests) = metric(&mesh, "istio_requests_total");
    assert_eq!((labels.len(), requests), (25, 1));
    let samples = |name: &str| {
        let found = mesh
            .metrics()
            .into_iter()
            .find(|metric| metric.ends_with(name))
            .unwrap();
        mesh.samples(&found)
    };
    assert_eq!(samples("istio_request_duration_milliseconds"), [12]);
    assert_eq!(samples("istio_request_bytes"), [300]);
    assert_eq!(samples("istio_response_bytes"), [4_000]);
}

#[test]
fn a_client_reports_the_other_way_round() {
    let mesh = Mesh::new();
    demo_node(&mesh);
    let request = measured(post("/pkg.Service/Method", "x"))
        .header("content-type", "application/grpc+proto")
        .answered(response(200).chunk("x").trailer("grpc-status", "7"))
        .int_property(&["xds", "listener_direction"], 2)
        .property(
            &["xds", "cluster_name"],
            "outbound|80|v1|ratings.shop.svc.cluster.local",
        )
        .int_property(&["response", "flags"], 1 << 5);
    let _ = start(&mesh, "").run(request);
    check_labels(
        &mesh,
        &[
            ("reporter", "source"),
            ("source_workload", "reviews-v1"),
            ("destination_workload", "unknown"),
            ("destination_service", "ratings.shop.svc.cluster.local"),
            ("destination_service_name", "ratings"),
            ("destination_service_namespace", "shop"),
            ("request_protocol", "grpc"),
            ("grpc_response_status", "7"),
            ("response_flags", "UF"),
            ("connection_security_policy", "unknown"),
        ],
    );
}

#[test]
fn labels_can_be_added_changed_and_removed_and_metrics_left_out() {
    let mesh = Mesh::new();
    let config = r#"{"metrics": {
        "reporter": "source",
        "disable": ["REQUEST_SIZE", "RESPONSE_SIZE"],
        "tagOverrides": {
            "request_method": {"value": "%{request.method}"},
            "destination_service": {"value": "all"},
            "source_app": {"remove": true}
        }
    }}"#;
    let filter = start(&mesh, config);
    let _ = filter.run(measured(get("/a")));
    let _ = filter.run(measured(get("/b")));
    check_labels(
        &mesh,
        &[
            ("request_method", "GET"),
            ("destination_service", "all"),
            ("reporter", "source"),
        ],
    );
    assert_eq!(label(&mesh, "source_app"), None);
    assert_eq!(metric(&mesh, "istio_requests_total").1, 2);
    assert_eq!(mesh.metrics().len(), 2);
}

#[test]
fn nothing_is_counted_when_metrics_are_off() {
    let mesh = Mesh::new();
    let _ = start(&mesh, r#"{"metrics": {"disabled": true}}"#).run(get("/"));
    assert!(mesh.metrics().is_empty());
}

#[test]
fn log_lines_show_both_messages_and_can_be_picky() {
    let mesh = Mesh::new();
    let config = r#"{"logs": [
        {"template": "%{request.method} %{request.path} %{response.code} %{response.headers.x-took:--}"},
        {"template": "failed", "minStatus": 500},
        {"template": "never", "sampling": 0},
        {"template": "api", "match": {"paths": [{"prefix": "/api/"}]}}
    ]}"#;
    let filter = start(&mesh, config);
    let lines = |request| {
        mesh.take_logs();
        let _ = filter.run(request);
        mesh.take_logs()
            .into_iter()
            .map(|(_, line)| line)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lines(get("/api/a").answered(response(200).header("x-took", "1"))),
        ["GET /api/a 200 1", "api"]
    );
    assert_eq!(
        lines(get("/b").answered(response(502))),
        ["GET /b 502 -", "failed"]
    );
}

#[test]
fn a_trace_is_continued_with_a_new_span() {
    let mesh = Mesh::new();
    let filter = start(
        &mesh,
        r#"{"tracing": {"propagate": ["w3c", "b3", "b3Multi"], "sampling": 0}}"#,
    );
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = "00f067aa0ba902b7";
    let incoming = get("/")
        .header("traceparent", format!("00-{id}-{parent}-01"))
        .header("tracestate", "vendor=1");
    let outcome = filter.run(incoming);
    let sent = outcome.upstream.header("traceparent").unwrap();
    let parts: Vec<&str> = sent.split('-').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("00", id, "01"));
    assert_ne!(parts[2], parent);
    let span = parts[2];
    outcome.assert_upstream_header("b3", &format!("{id}-{span}-1-{parent}"));
    outcome
        .assert_upstream_header("x-b3-traceid", id)
        .assert_upstream_header("x-b3-spanid", span);
    outcome
        .assert_upstream_header("x-b3-parentspanid", parent)
        .assert_upstream_header("x-b3-sampled", "1");
    outcome.assert_upstream_header("tracestate", "vendor=1");
    assert_eq!(outcome.properties[b"trace_id".as_slice()], id.as_bytes());
}

#[test]
fn a_trace_begins_here_when_there_is_none_to_continue() {
    let mesh = Mesh::new();
    let sent = |config: &str, request: TestRequest| {
        let outcome = start(&mesh, config).run(request);
        outcome.assert_no_upstream_header("tracestate");
        outcome.upstream.header("traceparent").unwrap()
    };
    let all = r#"{"tracing": {"sampling": 100}}"#;
    let (one, two) = (sent(all, get("/")), sent(all, get("/")));
    assert_ne!(one, two);
    assert!(one.ends_with("-01"));
    assert!(sent(r#"{"tracing": {"sampling": 0}}"#, get("/")).ends_with("-00"));
    let broken = get("/")
        .header("traceparent", "00-xyz")
        .header("tracestate", "vendor=1");
    assert_eq!(sent(all, broken).len(), 55);
}

#[test]
fn b3_is_read_and_turned_into_w3c() {
    let mesh = Mesh::new();
    let filter = start(&mesh, r#"{"tracing": {}}"#);
    let multi = get("/")
        .header("x-b3-traceid", "463ac35c9f6413ad")
        .header("x-b3-spanid", "a2fb4a1d1a96d312")
        .header("x-b3-sampled", "0");
    let outcome = filter.run(multi);
    let sent = outcome.upstream.header("traceparent").unwrap();
    assert!(
        sent.starts_with("00-0000000000000000463ac35c9f6413ad-") && sent.ends_with("-00"),
        "{sent}"
    );
    outcome
        .assert_no_upstream_header("x-b3-traceid")
        .assert_no_upstream_header("x-b3-sampled");
}

#[test]
fn refusals_name_the_field() {
    let check = |config: &str, expected: &str| {
        let error = refused(config);
        assert!(error.starts_with(expected), "{error}");
    };
    check(
        r#"{"metrics": {"disable": ["X"]}}"#,
        "metrics.disable[0]: unknown variant `X`",
    );
    check(
        r#"{"metrics": {"reporter": "gateway"}}"#,
        "metrics.reporter: unknown variant",
    );
    check(
        r#"{"metrics": {"tagOverrides": {"a": {}}}}"#,
        "metrics.tagOverrides.a: needs exactly one of",
    );
    check(
        r#"{"metrics": {"tagOverrides": {"a-b": {"remove": true}}}}"#,
        "metrics.tagOverrides.a-b: is not a label",
    );
    check(
        r#"{"metrics": {"tagOverrides": {"a": {"value": "%"}}}}"#,
        "metrics.tagOverrides.a.value: ",
    );
    check(r#"{"logs": [{"template": "%{"}]}"#, "logs[0].template: ");
    check(
        r#"{"logs": [{"template": "a", "sampling": 101}]}"#,
        "logs[0].sampling: 101 is not between 0 and 100",
    );
    check(
        r#"{"tracing": {"propagate": []}}"#,
        "tracing.propagate: needs at least one of",
    );
    check(
        r#"{"tracing": {"samplnig": 1}}"#,
        "tracing.samplnig: unknown field",
    );
}
