//! Documents as Envoy users write them.

use std::time::Duration;

use leno_model::access_log::{JsonValue, Line, Sink};
use leno_model::bootstrap::AdsVariant;
use leno_model::cluster::{Balance, Discovery, DnsFamily, UpstreamProtocol};
use leno_model::endpoint::Host;
use leno_model::filter::{FailurePolicy, FilterConfig, FilterSource, WasmCode};
use leno_model::http::{Codec, RouteSource};
use leno_model::listener::{Direction, NetworkFilter};
use leno_model::route::{AppendAction, FilterOverride, PathMatch, RetryOn, RouteAction, Target};
use leno_xds::resource::{Kind, Resource};
use leno_xds::{bootstrap, codec};

const GATEWAY: &str = include_str!("gateway.yaml");
const SIDECAR: &str = include_str!("sidecar.yaml");
const WASM: &str = include_str!("wasm.yaml");

#[test]
fn a_static_gateway_is_read() {
    let bootstrap = bootstrap::from_yaml(GATEWAY).unwrap();
    assert_eq!(bootstrap.admin, Some("127.0.0.1:9901".parse().unwrap()));
    assert!(bootstrap.dynamic.ads.is_none());
    let listener = &bootstrap.listeners[0];
    assert_eq!(listener.address, "0.0.0.0:10000".parse().unwrap());
    let NetworkFilter::Http(manager) = &listener.filter_chains[0].network;
    assert_eq!(manager.codec, Codec::Auto);
    assert_eq!(manager.stat_prefix, "ingress_http");
    assert_eq!(manager.stream_idle_timeout, None);
    assert_eq!(manager.max_request_headers_bytes, 96 << 10);
    assert_eq!(manager.access_log[0].sink, Sink::Stdout);
    let Line::Json(fields) = &manager.access_log[1].line else {
        panic!("the second log is JSON")
    };
    assert_eq!(fields[0].0, "method");
    assert!(matches!(fields[1], (ref name, JsonValue::Object(_)) if name == "upstream"));
    let RouteSource::Inline(routes) = &manager.routes else {
        panic!("routes are inline")
    };
    let host = &routes.virtual_hosts[0];
    assert_eq!(host.domains, ["example.com", "*.example.com"]);
    assert_eq!(host.edits.response[0].append, AppendAction::OverwriteOrAdd);
    let RouteAction::Forward(api) = &host.routes[0].action else {
        panic!("the first route forwards")
    };
    assert_eq!(
        host.routes[0].matches.path,
        PathMatch::SeparatedPrefix("/api".into())
    );
    assert_eq!(api.timeout, Some(Duration::from_millis(2500)));
    let retry = api.retry.as_ref().unwrap();
    assert!(retry.on.server_error && retry.on.connect_failure && !retry.on.reset);
    assert_eq!(
        (retry.retries, retry.backoff_max),
        (3, Duration::from_millis(250))
    );
    let RouteAction::Forward(canary) = &host.routes[1].action else {
        panic!("the second route forwards")
    };
    let Target::Weighted(weighted) = &canary.target else {
        panic!("it forwards by weight")
    };
    assert_eq!((weighted[0].weight, weighted[1].weight), (90, 10));
    assert!(matches!(&host.routes[2].action, RouteAction::Redirect(redirect) if redirect.status == 308));
    assert!(matches!(&host.routes[3].action, RouteAction::Direct(direct) if direct.body == b"ok\n"));
    let api = &bootstrap.clusters[0];
    assert_eq!(api.protocol, UpstreamProtocol::Http2);
    assert_eq!(api.dns_family, DnsFamily::V4Only);
    assert_eq!(api.balance, Balance::LeastRequest { choices: 3 });
    assert_eq!(
        (api.limits.max_requests, api.limits.max_connections),
        (4096, 1024)
    );
    let Discovery::StrictDns(assignment) = &api.discovery else {
        panic!("names are resolved")
    };
    let endpoint = &assignment.localities[0].endpoints[0];
    assert_eq!(
        endpoint.address,
        Host::Name {
            name: "api.internal".into(),
            port: 8080
        }
    );
    assert_eq!(endpoint.metadata["envoy.lb"]["version"], "v1");
}

#[test]
fn a_sidecar_gets_the_rest_over_ads() {
    let bootstrap = bootstrap::from_yaml(SIDECAR).unwrap();
    assert_eq!(
        bootstrap.node.id,
        "sidecar~10.0.0.7~a.default~default.svc.cluster.local"
    );
    assert_eq!(bootstrap.node.metadata, r#"{"LABELS":{"app":"a"},"REPLICAS":3}"#);
    let ads = bootstrap.dynamic.ads.as_ref().unwrap();
    assert_eq!(ads.variant, AdsVariant::Delta);
    assert_eq!(ads.initial_fetch_timeout, Duration::from_secs(5));
    assert!(bootstrap.dynamic.listeners && bootstrap.dynamic.clusters);
}

#[test]
fn the_command_line_is_laid_over_the_file() {
    let mut draft = bootstrap::Draft::from_yaml(SIDECAR).unwrap();
    let over = r#"{"node": {"id": "other"}, "admin": {"address": {"socketAddress": {"address": "::1", "portValue": 1}}}}"#;
    draft.merge(bootstrap::Draft::from_json(over).unwrap()).unwrap();
    let bootstrap = draft.finish().unwrap();
    assert_eq!(bootstrap.node.id, "other");
    assert_eq!(bootstrap.node.cluster, "a");
    assert_eq!(bootstrap.admin, Some("[::1]:1".parse().unwrap()));
}

#[test]
fn a_bootstrap_comes_back_from_its_json() {
    for text in [GATEWAY, SIDECAR] {
        let bootstrap = bootstrap::from_yaml(text).unwrap();
        let json = bootstrap::to_json(&bootstrap).unwrap().to_string();
        assert_eq!(bootstrap::from_json(&json).unwrap(), bootstrap);
    }
}

#[test]
fn wasm_filters_are_read_in_every_form() {
    let Resource::Listener(listener) = codec::from_yaml(Kind::Listener, WASM).unwrap() else {
        panic!("it is a listener")
    };
    assert_eq!(listener.direction, Direction::Inbound);
    let NetworkFilter::Http(manager) = &listener.filter_chains[0].network;
    let plugin = |index: usize| match &manager.filters[index].source {
        FilterSource::Inline(config) => match &**config {
            FilterConfig::Wasm(plugin) => plugin.clone(),
            FilterConfig::Router(_) => panic!("filter {index} is the router"),
        },
        FilterSource::Discovered(_) => panic!("filter {index} is not inline"),
    };
    let auth = plugin(0);
    assert_eq!(auth.failure, FailurePolicy::Reload);
    assert_eq!(auth.reload_backoff, Duration::from_secs(2));
    assert_eq!(auth.configuration, br#"{"issuers":["a","b"],"leeway":30}"#);
    let WasmCode::Remote(remote) = &auth.vm.code else {
        panic!("the code is remote")
    };
    assert_eq!(
        (remote.uri.as_str(), remote.cluster.as_str()),
        ("oci://registry/auth:1", "")
    );
    assert_eq!((remote.sha256.as_str(), remote.retries), ("", 4));
    let rewrite = plugin(1);
    assert_eq!(rewrite.failure, FailurePolicy::Open);
    assert_eq!(rewrite.configuration, b"x: y");
    assert_eq!(rewrite.vm.code, WasmCode::File("/etc/rewrite.wasm".into()));
    let capabilities: Vec<_> = rewrite.capabilities.unwrap().into_iter().collect();
    assert_eq!(capabilities, ["proxy_log", "proxy_on_request_headers"]);
    assert_eq!(plugin(2).root_id, "typed-struct");
    let FilterSource::Discovered(discovered) = &manager.filters[3].source else {
        panic!("it comes by ECDS")
    };
    assert_eq!(discovered.type_urls.len(), 1);
    let RouteSource::Inline(routes) = &manager.routes else {
        panic!("routes are inline")
    };
    let overrides = &routes.virtual_hosts[0].routes[0].filter_overrides;
    assert_eq!(overrides["auth"], FilterOverride::Disabled);
    assert!(matches!(&overrides["rewrite"], FilterOverride::Config(_)));
}

#[test]
fn dumps_name_the_type_and_read_back() {
    let resource = codec::from_yaml(Kind::Listener, WASM).unwrap();
    let json = codec::to_json(&resource).unwrap();
    assert_eq!(json["@type"], Kind::Listener.type_url());
    assert_eq!(json["traffic_direction"], "INBOUND");
    let again = codec::from_yaml(Kind::Listener, &codec::to_yaml(&resource).unwrap()).unwrap();
    assert_eq!(again, resource);
}

#[test]
fn what_envoy_reads_is_read() {
    let wasm = |configuration: &str| {
        let text = format!(
            "{{name: w, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, \
             config: {{configuration: {{\"@type\": type.googleapis.com/google.protobuf.{configuration}}}, vm_config: \
             {{code: {{local: {{inline_string: a}}}}}}}}}}}}"
        );
        match codec::from_yaml(Kind::Filter, &text).unwrap() {
            Resource::Filter { config, .. } => match &*config {
                FilterConfig::Wasm(wasm) => wasm.configuration.clone(),
                FilterConfig::Router(_) => panic!("a guest"),
            },
            other => panic!("a filter, not {}", other.name()),
        }
    };
    // Fields 1 and 2, varints (protobuf's encoding).
    assert_eq!(wasm("Duration, value: 1.000000005s"), [8, 1, 16, 5]);
    assert_eq!(wasm("Empty"), [0; 0]);
    assert_eq!(wasm("Empty, value: {}"), [0; 0]);

    let cluster = |text: &str| match codec::from_yaml(Kind::Cluster, text).unwrap() {
        Resource::Cluster(cluster) => cluster,
        other => panic!("a cluster, not {}", other.name()),
    };
    let nobody = cluster("{name: a}");
    assert!(matches!(&nobody.discovery, Discovery::Static(given) if given.localities.is_empty()));
    assert!(!nobody.h1_trailers);
    let options = "http_protocol_options: {enable_trailers: true}";
    assert!(cluster(&format!("{{name: a, {options}}}")).h1_trailers);
    let extension = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    for version in ["explicit_http_config", "use_downstream_protocol_config"] {
        let text = format!(
            "{{name: a, typed_extension_protocol_options: {{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: \
             {{\"@type\": {extension}, {version}: {{{options}}}}}}}}}"
        );
        assert!(cluster(&text).h1_trailers, "{version}");
    }

    // The sum of the weights counts, whatever `total_weight` says.
    let text = "{name: a, virtual_hosts: [{name: h, domains: [a], routes: [{match: {prefix: /}, route: \
                {weighted_clusters: {total_weight: 7, clusters: [{name: a, weight: 1}]}}}]}]}";
    assert!(codec::from_yaml(Kind::RouteConfiguration, text).is_ok());

    let text = "{name: a, virtual_hosts: [{name: h, domains: [a], routes: [{match: {prefix: /}, route: {cluster: a, \
                retry_policy: {retry_on: '5xx,sometimes'}}}]}]}";
    let Resource::RouteConfiguration(routes) = codec::from_yaml(Kind::RouteConfiguration, text).unwrap()
    else {
        panic!("routes")
    };
    let RouteAction::Forward(forward) = &routes.virtual_hosts[0].routes[0].action else {
        panic!("a route to a cluster")
    };
    let expected = RetryOn {
        server_error: true,
        ..RetryOn::default()
    };
    assert_eq!(forward.retry.as_ref().map(|retry| retry.on), Some(expected));
}
