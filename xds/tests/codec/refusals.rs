//! What is refused, with the exact path and the words that help.

use leno_xds::resource::{Kind, Resource};
use leno_xds::{bootstrap, codec};

/// `text` is refused at `path`, and the reason contains `words`.
fn check(kind: Kind, text: &str, path: &str, words: &str) {
    let error = codec::from_yaml(kind, text).expect_err(text);
    assert_eq!(error.path, path, "{error}");
    assert!(error.reason.contains(words), "{error}");
}

fn check_bootstrap(text: &str, path: &str, words: &str) {
    let error = bootstrap::from_yaml(text).expect_err(text);
    assert_eq!(error.path, path, "{error}");
    assert!(error.reason.contains(words), "{error}");
}

const ROUTER: &str = r#"{name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"#;

/// A listener whose connection manager holds `fields`.
fn manager(fields: &str) -> String {
    format!(
        "{{name: l, address: {{socket_address: {{address: 127.0.0.1, port_value: 1}}}}, filter_chains: [{{filters: [\
         {{name: h, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.network.\
         http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, {fields}}}}}]}}]}}"
    )
}

/// A listener with a Wasm filter whose plugin holds `fields`.
fn plugin(fields: &str) -> String {
    let wasm = format!(
        "{{name: w, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, \
         config: {{{fields}}}}}}}"
    );
    manager(&format!("route_config: {{}}, http_filters: [{wasm}, {ROUTER}]"))
}

const MANAGER: &str = "filter_chains[0].filters[0].typed_config";

#[test]
fn fields_that_do_not_exist_are_named_with_their_line() {
    let text = "name: a\nload_assignment:\n  cluster_name: a\n  endpoints:\n    - lb_endpoint: []\n";
    check(
        Kind::Cluster,
        text,
        "load_assignment.endpoints[0].lb_endpoint",
        "no such field (line 5)",
    );
}

#[test]
fn fields_that_are_not_supported_are_named_with_their_line() {
    let text = "name: a\nload_assignment:\n  cluster_name: a\noutlier_detection:\n  interval: 1s\n";
    check(
        Kind::Cluster,
        text,
        "outlier_detection",
        "not supported by this version (line 4)",
    );
}

#[test]
fn values_of_the_wrong_type_are_named() {
    check(
        Kind::Cluster,
        "{name: 3}",
        "name",
        "expected a text (put it in quotes), found the number 3",
    );
    check(
        Kind::Cluster,
        "{name: a, connect_timeout: 5}",
        "connect_timeout",
        "a duration like `1.5s`",
    );
    check(
        Kind::Cluster,
        "{name: a, connect_timeout: 1.0000000001s}",
        "connect_timeout",
        "a duration like `1.5s`",
    );
    check(
        Kind::Cluster,
        "{name: a, lb_policy: BEST}",
        "lb_policy",
        "`BEST` is not one of ROUND_ROBIN",
    );
    check(
        Kind::LoadAssignment,
        "{cluster_name: a, endpoints: [{priority: -1}]}",
        "endpoints[0].priority",
        "-1 is not between 0 and",
    );
    check(
        Kind::Listener,
        "{filter_chains: {}}",
        "filter_chains",
        "expected a list, found an object",
    );
    check(Kind::Listener, "[1]", "", "expected an object, found a list");
}

#[test]
fn text_that_is_no_yaml_is_refused() {
    check(Kind::Listener, "a: [", "", "not well-formed YAML");
    check(Kind::Listener, "name: a\nname: b\n", "", "not well-formed YAML");
    let error = bootstrap::from_json("{\"node\": }").unwrap_err();
    assert!(error.reason.starts_with("not well-formed JSON"), "{error}");
}

/// The transport socket with this context.
fn tls(context: &str, fields: &str) -> String {
    format!(
        "transport_socket: {{name: envoy.transport_sockets.tls, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{context}, {fields}}}}}"
    )
}

#[test]
fn tls_of_clusters_is_refused_where_it_is_wrong() {
    let check = |socket: &str, path: &str, words: &str| {
        let cluster = format!("{{name: a, load_assignment: {{cluster_name: a}}, {socket}}}");
        check(Kind::Cluster, &cluster, path, words);
    };
    let upstream = |fields: &str, path: &str, words: &str| {
        let path = format!("transport_socket.typed_config.{path}");
        check(&tls("UpstreamTlsContext", fields), &path, words);
    };
    let common = |fields: &str, path: &str, words: &str| {
        upstream(
            &format!("common_tls_context: {{{fields}}}"),
            &format!("common_tls_context.{path}"),
            words,
        );
    };
    check(
        &tls("DownstreamTlsContext", ""),
        "transport_socket.typed_config",
        "DownstreamTlsContext` is not supported here",
    );
    check(
        "transport_socket: {name: envoy.transport_sockets.tls}",
        "transport_socket.typed_config",
        "is required",
    );
    check(
        "transport_socket: {name: envoy.transport_sockets.quic}",
        "transport_socket.name",
        "`envoy.transport_sockets.quic` is not supported",
    );
    upstream(
        "auto_sni_san_validation: true",
        "auto_sni_san_validation",
        "without common_tls_context.validation_context.trusted_ca nothing is validated",
    );
    upstream(
        "allow_renegotiation: true",
        "allow_renegotiation",
        "not supported",
    );
    common(
        "tls_params: {cipher_suites: [a]}",
        "tls_params.cipher_suites",
        "not supported",
    );
    common(
        "tls_params: {tls_minimum_protocol_version: TLSv1_1}",
        "tls_params.tls_minimum_protocol_version",
        "TLSv1_1 is not spoken",
    );
    common(
        "tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2}",
        "tls_params.tls_minimum_protocol_version",
        "is above tls_maximum_protocol_version",
    );
    common("alpn_protocols: [h2, \"\"]", "alpn_protocols[1]", "has 0 bytes");
    common(
        "validation_context_sds_secret_config: {name: a, sds_config: {ads: {}}}",
        "validation_context_sds_secret_config",
        "not supported by this version",
    );
    common(
        "validation_context: {crl: {filename: a}}",
        "validation_context.crl",
        "without trusted_ca anybody can make such a certificate",
    );
    let names = "validation_context: {trusted_ca: {filename: a}, match_typed_subject_alt_names: [{";
    let name = "validation_context.match_typed_subject_alt_names[0]";
    common(
        &format!("{names}matcher: {{exact: a}}}}]}}"),
        &format!("{name}.san_type"),
        "is required",
    );
    common(
        &format!("{names}san_type: OTHER_NAME, matcher: {{exact: a}}}}]}}"),
        &format!("{name}.san_type"),
        "OTHER_NAME is not supported",
    );
    common(
        &format!("{names}san_type: URI}}]}}"),
        &format!("{name}.matcher"),
        "is required",
    );
    let pair = "{certificate_chain: {filename: a}, private_key: {filename: a}}";
    common(
        &format!("tls_certificates: [{pair}, {pair}]"),
        "tls_certificates",
        "a client shows at most one, found 2",
    );
    common(
        "tls_certificates: [{certificate_chain: {filename: a}}]",
        "tls_certificates[0].private_key",
        "is required",
    );
    common(
        "tls_certificates: [{certificate_chain: {environment_variable: a}, private_key: {filename: a}}]",
        "tls_certificates[0].certificate_chain.environment_variable",
        "not supported",
    );
}

#[test]
fn filter_chains_are_refused_where_they_are_wrong() {
    let manager = "filters: [{name: h, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.\
                   http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, route_config: {}, http_filters: [";
    let filters = format!("{manager}{ROUTER}]}}}}]");
    let pair = "{certificate_chain: {filename: a}, private_key: {filename: a}}";
    let socket = tls(
        "DownstreamTlsContext",
        &format!("common_tls_context: {{tls_certificates: [{pair}]}}"),
    );
    let check = |fields: &str, path: &str, words: &str| {
        let text = format!("{{address: {{socket_address: {{address: 1.2.3.4, port_value: 1}}}}, {fields}}}");
        check(Kind::Listener, &text, path, words);
    };
    let chain = |matches: &str| format!("{{filter_chain_match: {{{matches}}}, {filters}, {socket}}}");
    let one = |matches: &str, path: &str, words: &str| {
        check(
            &format!("filter_chains: [{}]", chain(matches)),
            &format!("filter_chains[0].filter_chain_match.{path}"),
            words,
        );
    };
    check("filter_chains: []", "filter_chains", "at least one is required");
    one(
        "server_names: [\"*\"]",
        "server_names[0]",
        "`*` is neither a name nor `*.` and the end of one",
    );
    one(
        "server_names: [a, \"b.*\"]",
        "server_names[1]",
        "is neither a name",
    );
    one(
        "destination_port: 0",
        "destination_port",
        "0 is not between 1 and 65535",
    );
    one(
        "transport_protocol: quic",
        "transport_protocol",
        "`quic` is not supported",
    );
    one(
        "transport_protocol: raw_buffer",
        "transport_protocol",
        "takes no `raw_buffer` connections",
    );
    one("source_type: EXTERNAL", "source_type", "not supported");
    check(
        &format!(
            "filter_chains: [{}, {}]",
            chain("server_names: [a, b]"),
            chain("server_names: [c, B]")
        ),
        "filter_chains[1].filter_chain_match",
        "takes connections that [0] takes as well",
    );
    check(
        &format!("filter_chains: [{{filter_chain_match: {{server_names: [a]}}, {filters}}}]"),
        "filter_chains[0].filter_chain_match.server_names",
        "only a chain with a TLS transport_socket can take such connections",
    );
    check(
        &format!("default_filter_chain: {}", chain("server_names: [a]")),
        "default_filter_chain.filter_chain_match",
        "has no meaning on the default chain",
    );
    let empty = tls("DownstreamTlsContext", "common_tls_context: {}");
    check(
        &format!("filter_chains: [{{{filters}, {empty}}}]"),
        "filter_chains[0].transport_socket.typed_config.common_tls_context.tls_certificates",
        "a server needs at least one",
    );
    check(
        &format!(
            "filter_chains: [{}], listener_filters: [{{name: p, typed_config: {{\"@type\": type.googleapis.com/\
             envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector, enable_ja3_fingerprinting: true}}}}]",
            chain("")
        ),
        "listener_filters[0].typed_config.enable_ja3_fingerprinting",
        "not supported",
    );
}

#[test]
fn listeners_are_refused_where_they_are_wrong() {
    check(Kind::Listener, "{name: a}", "address", "is required");
    check(
        Kind::Listener,
        "{address: {socket_address: {address: localhost, port_value: 1}}}",
        "address.socket_address.address",
        "`localhost` is not an IP address",
    );
    check(
        Kind::Listener,
        "{address: {socket_address: {address: 1.2.3.4, port_value: 70000}}}",
        "address.socket_address.port_value",
        "above 65535",
    );
    let tcp = "{address: {socket_address: {address: 1.2.3.4, port_value: 1}}, filter_chains: [{filters: [{name: t, \
               typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, cluster: a}}]}]}";
    check(
        Kind::Listener,
        tcp,
        MANAGER,
        "tcp_proxy.v3.TcpProxy` is not supported",
    );
    let unknown =
        "{filter_chains: [{filters: [{name: t, typed_config: {\"@type\": type.googleapis.com/a.B}}]}]}";
    check(Kind::Listener, unknown, MANAGER, "type `a.B` is not supported");
}

#[test]
fn connection_managers_are_refused_where_they_are_wrong() {
    check(
        Kind::Listener,
        &manager("").replace("stat_prefix: s, ", "stat_prefix: ''"),
        &format!("{MANAGER}.stat_prefix"),
        "is required",
    );
    check(
        Kind::Listener,
        &manager("via: a"),
        MANAGER,
        "one of `route_config` and `rds`",
    );
    check(
        Kind::Listener,
        &manager("route_config: {}"),
        &format!("{MANAGER}.http_filters"),
        "at least envoy.filters.http.router",
    );
    let twice = manager(&format!("route_config: {{}}, http_filters: [{ROUTER}, {ROUTER}]"));
    check(
        Kind::Listener,
        &twice,
        &format!("{MANAGER}.http_filters[0]"),
        "must be the last",
    );
    check(
        Kind::Listener,
        &manager("upgrade_configs: [{upgrade_type: websocket}]"),
        &format!("{MANAGER}.upgrade_configs"),
        "not supported",
    );
    check(
        Kind::Listener,
        &manager("rds: {route_config_name: a, config_source: {path: /a}}"),
        &format!("{MANAGER}.rds.config_source.path"),
        "not supported",
    );
    check(
        Kind::Listener,
        &manager(
            "http2_protocol_options: {initial_stream_window_size: 7}, rds: {route_config_name: a, config_source: {ads: {}}}",
        ),
        &format!("{MANAGER}.http_filters"),
        "at least",
    );
}

#[test]
fn wasm_plugins_are_refused_where_they_are_wrong() {
    let at = |rest: &str| format!("{MANAGER}.http_filters[0].typed_config.config.{rest}");
    let code = "code: {local: {filename: /a}}";
    check(
        Kind::Listener,
        &plugin("name: a"),
        &at("vm_config"),
        "is required",
    );
    let null = plugin(&format!(
        "vm_config: {{runtime: envoy.wasm.runtime.null, {code}}}"
    ));
    check(
        Kind::Listener,
        &null,
        &at("vm_config.runtime"),
        "`envoy.wasm.runtime.null` is not one of",
    );
    let both = plugin(&format!(
        "fail_open: true, failure_policy: FAIL_CLOSED, vm_config: {{{code}}}"
    ));
    check(Kind::Listener, &both, &at("fail_open"), "only one of");
    let digest = plugin(
        "vm_config: {code: {remote: {sha256: abc, http_uri: {uri: 'http://a', cluster: a, timeout: 1s}}}}",
    );
    check(
        Kind::Listener,
        &digest,
        &at("vm_config.code.remote.sha256"),
        "64 hexadecimal digits",
    );
    let scheme = plugin("vm_config: {code: {remote: {http_uri: {uri: 'ftp://a', cluster: a, timeout: 1s}}}}");
    check(
        Kind::Listener,
        &scheme,
        &at("vm_config.code.remote.http_uri.uri"),
        "`ftp://a` does not begin with",
    );
    let nil = plugin("vm_config: {code: {remote: {http_uri: {uri: 'http://a', cluster: a, timeout: 1s}}}}");
    check(
        Kind::Listener,
        &nil,
        &at("vm_config.code.remote.sha256"),
        "is required",
    );
}

#[test]
fn routes_are_refused_where_they_are_wrong() {
    let route = |route: &str| {
        format!("{{name: a, virtual_hosts: [{{name: h, domains: [a], routes: [{{}}, {route}]}}]}}")
            .replace("[{}, ", "[{match: {prefix: /}, route: {cluster: a}}, ")
    };
    let at = |rest: &str| format!("virtual_hosts[0].routes[1].{rest}");
    let check =
        |text: String, path: String, words: &str| check(Kind::RouteConfiguration, &text, &path, words);
    check(
        route("{match: {safe_regex: {regex: '(a'}}, route: {cluster: a}}"),
        at("match.safe_regex.regex"),
        "unclosed group",
    );
    check(
        route("{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: a, weight: 0}]}}}"),
        at("route.weighted_clusters.clusters"),
        "the sum of weights is 0",
    );
    check(
        route(
            "{match: {prefix: /}, route: {cluster: a}, request_headers_to_add: [{header: {key: a, value: '%NO%'}}]}",
        ),
        at("request_headers_to_add[0].header.value"),
        "NO",
    );
    check(
        route(
            r#"{match: {prefix: /}, route: {cluster: a}, request_headers_to_add: [{header: {key: a, value: "b\r\nc: d"}}]}"#,
        ),
        at("request_headers_to_add[0].header.value"),
        r"holds '\r', which a field value may not hold",
    );
    check(
        route("{match: {prefix: /}, route: {cluster: a}, request_headers_to_remove: [':path']}"),
        at("request_headers_to_remove[0]"),
        "may not be edited",
    );
    check(
        route("{match: {prefix: /}, direct_response: {status: 99}}"),
        at("direct_response.status"),
        "99 is not",
    );
    check(
        route("{match: {prefix: /}}"),
        at("").trim_end_matches('.').to_owned(),
        "one of `route`, `redirect`",
    );
    check(
        "{name: a, virtual_hosts: [{name: h, domains: [a]}, {name: i, domains: [b, A]}]}".to_owned(),
        "virtual_hosts[1].domains[1]".to_owned(),
        "`A` stands twice",
    );
    check("{virtual_hosts: []}".to_owned(), "name".to_owned(), "is required");
}

#[test]
fn clusters_and_endpoints_are_refused_where_they_are_wrong() {
    check(
        Kind::Cluster,
        "{name: a, type: STRICT_DNS}",
        "load_assignment",
        "is required",
    );
    let port = |port: &str| {
        format!(
            "{{name: a, load_assignment: {{cluster_name: a, endpoints: [{{lb_endpoints: [{{endpoint: {{address: \
             {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}}}"
        )
    };
    codec::from_yaml(Kind::Cluster, &port("80.0")).unwrap();
    check(
        Kind::Cluster,
        &port("'80.0'"),
        "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value",
        "expected a whole number",
    );
    check(
        Kind::Cluster,
        "{name: a, type: EDS}",
        "eds_cluster_config",
        "is required",
    );
    check(
        Kind::Cluster,
        "{name: a, type: ORIGINAL_DST}",
        "type",
        "ORIGINAL_DST is not supported",
    );
    check(
        Kind::Cluster,
        "{name: a, load_assignment: {cluster_name: a}, lb_policy: MAGLEV}",
        "lb_policy",
        "MAGLEV",
    );
    let name = "{lb_endpoints: [{endpoint: {address: {socket_address: {address: a.b, port_value: 1}}}}]}";
    check(
        Kind::Cluster,
        &format!("{{name: a, load_assignment: {{cluster_name: a, endpoints: [{name}]}}}}"),
        "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address",
        "`a.b` is not an IP address",
    );
    check(
        Kind::LoadAssignment,
        "{cluster_name: a, policy: {drop_overloads: [{category: a}]}}",
        "policy",
        "not supported",
    );
}

#[test]
fn bootstraps_are_refused_where_they_are_wrong() {
    check_bootstrap(
        "overload_manager: {}",
        "overload_manager",
        "not supported by this version (line 1)",
    );
    check_bootstrap(
        "dynamic_resources: {lds_config: {ads: {}}}",
        "dynamic_resources.ads_config",
        "is required by `ads: {}`",
    );
    check_bootstrap(
        "dynamic_resources: {ads_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: x}}]}}",
        "dynamic_resources.ads_config.grpc_services[0].envoy_grpc.cluster_name",
        "there is no static cluster `x`",
    );
    check_bootstrap(
        "dynamic_resources: {lds_config: {api_config_source: {api_type: GRPC}}}",
        "dynamic_resources.lds_config.api_config_source",
        "write `ads: {}` here, and the server once into the bootstrap's dynamic_resources.ads_config",
    );
    check_bootstrap(
        "admin: {access_log_path: /tmp/a}",
        "admin.access_log_path",
        "only `/dev/null`",
    );
}

#[test]
fn bytes_of_the_wire_are_refused_as_strictly() {
    let decode = |kind: Kind, bytes: &[u8]| codec::decode(kind, kind.type_url(), bytes);
    let error = codec::decode(Kind::Cluster, Kind::Listener.type_url(), b"").unwrap_err();
    assert!(
        error
            .reason
            .contains("is not `type.googleapis.com/envoy.config.cluster.v3.Cluster`"),
        "{error}"
    );
    let error = decode(Kind::Cluster, b"\xff").unwrap_err();
    assert!(error.reason.contains("not a well-formed message"), "{error}");
    // Field 4095 of type varint: no version of the API has it.
    let error = decode(Kind::Cluster, b"\xf8\xff\x01\x01").unwrap_err();
    assert_eq!(
        error.reason,
        "field number 4095 of envoy.config.cluster.v3.Cluster is not known to this version"
    );
}

#[test]
fn a_refused_resource_still_has_a_name() {
    let good = codec::from_yaml(Kind::Cluster, "{name: a, load_assignment: {cluster_name: a}}").unwrap();
    let (_, bytes) = codec::encode(&good);
    let mut bad = bytes.to_vec();
    bad.extend_from_slice(b"\xf8\xff\x01\x01");
    assert!(codec::decode(Kind::Cluster, Kind::Cluster.type_url(), &bad).is_err());
    assert_eq!(codec::name(Kind::Cluster, &bad).as_deref(), Some("a"));
    assert!(matches!(good, Resource::Cluster(_)));
}

#[test]
fn messages_that_stand_in_each_other_without_end_are_refused() {
    let mut inner =
        "{\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}".to_owned();
    for _ in 0..20 {
        inner =
            format!("{{\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, config: {inner}}}");
    }
    let text = format!(
        "{{name: a, virtual_hosts: [{{name: h, domains: [a], typed_per_filter_config: {{f: {inner}}}}}]}}"
    );
    let error = codec::from_yaml(Kind::RouteConfiguration, &text).unwrap_err();
    assert!(
        error
            .path
            .starts_with("virtual_hosts[0].typed_per_filter_config[\"f\"].config.config"),
        "{error}"
    );
    assert!(
        error.reason.contains("more than 16 messages stand in each other"),
        "{error}"
    );
}

#[test]
fn fields_without_effect_come_with_a_reason() {
    let mut fields = codec::without_effect();
    let found =
        fields.find(|(message, field, _)| message.ends_with(".Listener") && *field == "enable_reuse_port");
    assert!(
        found.is_some_and(|(_, _, reason)| reason.contains("socket")),
        "{found:?}"
    );
}
