//! Attributes by path, with `.` for NUL.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use leno_model::bootstrap::Node;
use leno_model::endpoint::Locality;
use leno_model::listener::Direction as Side;
use leno_sdk::host::{Direction, HostError};

use crate::exchange::ExchangeState;
use crate::exchange::facts::{Connection, Facts, ListenerFacts, Upstream};
use crate::exchange::properties::{of_exchange, of_plugin};
use crate::filters::Identity;
use crate::http::headers::Headers;
use crate::http::message::Protocol;
use crate::tls::certificate::Certificate;
use crate::tls::session::Session;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn node() -> Node {
    Node {
        id: "sidecar~1".into(),
        cluster: "web.prod".into(),
        metadata:
            r#"{"NAMESPACE":"prod","LABELS":{"app":"web"},"N":1.5,"ON":true,"PORTS":["a"],"NONE":null}"#
                .into(),
        locality: Locality {
            region: "r".into(),
            zone: "z".into(),
            sub_zone: "s".into(),
        },
    }
}

/// A request that has just begun.
fn request() -> Rc<ExchangeState> {
    request_over(None)
}

/// The same over TLS.
fn request_over(tls: Option<Arc<Session>>) -> Rc<ExchangeState> {
    let headers: Headers = [
        (":authority", "web"),
        (":path", "/a?b=c"),
        (":method", "GET"),
        (":scheme", "http"),
        ("user-agent", "test"),
        ("x-request-id", "id-1"),
        ("many", "1"),
        ("many", "2"),
    ]
    .into_iter()
    .collect();
    let connection = Connection {
        id: 7,
        source: address("10.0.0.1:4000"),
        destination: address("10.0.0.2:80"),
        server_name: "sni".into(),
        tls,
        listener: Arc::new(ListenerFacts {
            name: "l".into(),
            direction: Side::Outbound,
            filter_chain: "fc".into(),
        }),
        node: Arc::new(node()),
    };
    let facts = Facts::new(
        Protocol::Http2,
        UNIX_EPOCH + Duration::from_nanos(5),
        Instant::now(),
    );
    let state = ExchangeState::new(Rc::new(connection), headers, facts);
    state.set_seats(std::iter::once(Rc::new(identity())));
    state
}

fn identity() -> Identity {
    Identity {
        name: "ns.plugin".into(),
        root_id: "root".into(),
        vm_id: "vm".into(),
    }
}

/// The same exchange with everything known.
fn answered() -> Rc<ExchangeState> {
    let state = request();
    let mut headers: Headers = [(":status", "503"), ("x", "y")].into_iter().collect();
    headers.set(b"server", b"s");
    state.set_headers(Direction::Response, headers);
    let mut facts = state.facts_mut();
    facts.client = Some(address("5.6.7.8:0"));
    facts.route = Some("route".into());
    facts.virtual_host = Some("vh".into());
    facts.cluster = Some("outbound|80||web".into());
    facts.upstream = Some(Upstream {
        address: address("10.1.0.1:8080"),
        local_address: Some(address("10.0.0.2:5000")),
        locality: Arc::default(),
        pool_ready: Some(Duration::from_nanos(9)),
        transport_failure: "refused".into(),
    });
    facts.attempts = 2;
    facts.request_body_bytes = 3;
    facts.response_body_bytes = 4;
    facts.response_code = Some(503);
    facts.response_details = "via_upstream".into();
    facts.response_flags = 2;
    facts.duration = Some(Duration::from_nanos(11));
    facts.backend_latency = Some(Duration::from_nanos(10));
    drop(facts);
    state
}

fn get(state: &ExchangeState, path: &str) -> Result<Vec<u8>, HostError> {
    let mut value = Vec::new();
    of_exchange(state, 0, path.replace('.', "\0").as_bytes(), &mut value).map(|()| value)
}

#[track_caller]
fn check(state: &ExchangeState, table: &[(&str, &[u8])]) {
    for (path, expected) in table {
        let got = get(state, path);
        assert_eq!(got.as_deref(), Ok(*expected), "{path}");
    }
}

#[test]
fn texts_of_a_request() {
    check(
        &request(),
        &[
            ("request.path", b"/a?b=c"),
            ("request.url_path", b"/a"),
            ("request.query", b"b=c"),
            ("request.host", b"web"),
            ("request.scheme", b"http"),
            ("request.method", b"GET"),
            ("request.useragent", b"test"),
            ("request.id", b"id-1"),
            ("x_request_id", b"id-1"),
            ("request.protocol", b"HTTP/2"),
            ("request.headers.many", b"1,2"),
            ("request.headers.Many.", b"1,2"),
            ("source.address", b"10.0.0.1:4000"),
            ("destination.address", b"10.0.0.2:80"),
            ("connection.requested_server_name", b"sni"),
            ("xds.filter_chain_name", b"fc"),
            ("plugin_name", b"ns.plugin"),
            ("plugin_root_id", b"root"),
            ("plugin_vm_id", b"vm"),
            ("node.id", b"sidecar~1"),
            ("xds.node.cluster", b"web.prod"),
            ("node.locality.sub_zone", b"s"),
            ("node.metadata.NAMESPACE", b"prod"),
            ("xds.node.metadata.LABELS.app", b"web"),
            ("node.metadata.NONE", b""),
        ],
    );
}

#[test]
fn numbers_are_eight_bytes_and_truths_are_one() {
    check(
        &request(),
        &[
            ("request.time", &5_u64.to_le_bytes()),
            ("request.size", &0_u64.to_le_bytes()),
            ("request.total_size", &85_u64.to_le_bytes()),
            ("source.port", &4000_u64.to_le_bytes()),
            ("connection.id", &7_u64.to_le_bytes()),
            ("connection_id", &7_u64.to_le_bytes()),
            ("xds.listener_direction", &2_u64.to_le_bytes()),
            ("listener_direction", &2_u64.to_le_bytes()),
            ("connection.mtls", &[0]),
            ("node.metadata.N", &1.5_f64.to_le_bytes()),
            ("node.metadata.ON", &[1]),
            ("response.flags", &0_u64.to_le_bytes()),
        ],
    );
}

#[test]
fn certificates_are_told_by_their_first_names() {
    let certificate = |who: &str| {
        Arc::new(Certificate {
            subject: format!("CN={who}"),
            sha256: format!("{who}256"),
            uris: vec![format!("spiffe://{who}"), "spiffe://second".to_owned()],
            dns_names: vec![format!("{who}.test")],
            ..Certificate::default()
        })
    };
    let session = Session {
        version: "TLSv1.3",
        peer: Some(certificate("peer")),
        own: Some(certificate("own")),
        ..Session::default()
    };
    check(
        &request_over(Some(Arc::new(session))),
        &[
            ("connection.mtls", &[1]),
            ("connection.tls_version", b"TLSv1.3"),
            ("connection.subject_peer_certificate", b"CN=peer"),
            ("connection.uri_san_peer_certificate", b"spiffe://peer"),
            ("connection.dns_san_peer_certificate", b"peer.test"),
            ("connection.sha256_peer_certificate_digest", b"peer256"),
            ("connection.subject_local_certificate", b"CN=own"),
            ("connection.uri_san_local_certificate", b"spiffe://own"),
            ("connection.dns_san_local_certificate", b"own.test"),
        ],
    );
    let plain = request();
    let one_sided = request_over(Some(Arc::default()));
    check(&one_sided, &[("connection.mtls", &[0])]);
    for state in [&plain, &one_sided] {
        for name in ["subject_peer_certificate", "uri_san_local_certificate", "x"] {
            let found = get(state, &format!("connection.{name}"));
            assert_eq!(found, Err(HostError::NotFound), "{name}");
        }
    }
}

#[test]
fn maps_are_pairs() {
    let pair = b"\x01\0\0\0\x03\0\0\0\x03\0\0\0app\0web\0";
    let list = b"\x01\0\0\0\x01\0\0\0\0\0\0\0a\0\0";
    check(
        &request(),
        &[
            ("node.metadata.LABELS", pair),
            ("node.metadata.PORTS", list),
            ("response.headers", &[0; 4]),
            ("response.trailers", &[0; 4]),
        ],
    );
    let headers = get(&request(), "request.headers").unwrap();
    assert_eq!(headers[..4], [8, 0, 0, 0]);
    assert!(headers.ends_with(b"many\x002\0"));
}

#[test]
fn what_is_learnt_later() {
    let late = [
        "request.duration",
        "response.code",
        "response.code_details",
        "response.grpc_status",
        "response.backend_latency",
        "response.headers.x",
        "upstream.address",
        "upstream.request_attempt_count",
        "xds.cluster_name",
        "route_name",
    ];
    for path in late {
        assert_eq!(get(&request(), path), Err(HostError::NotFound), "{path}");
    }
    check(
        &answered(),
        &[
            ("request.method", b"GET"),
            ("source.address", b"5.6.7.8:0"),
            ("request.duration", &11_u64.to_le_bytes()),
            ("request.size", &3_u64.to_le_bytes()),
            ("response.code", &503_u64.to_le_bytes()),
            ("response.code_details", b"via_upstream"),
            ("response.grpc_status", &14_u64.to_le_bytes()),
            ("response.flags", &2_u64.to_le_bytes()),
            ("response.size", &4_u64.to_le_bytes()),
            ("response.total_size", &23_u64.to_le_bytes()),
            ("response.backend_latency", &10_u64.to_le_bytes()),
            ("response.headers.x", b"y"),
            ("upstream.address", b"10.1.0.1:8080"),
            ("upstream.port", &8080_u64.to_le_bytes()),
            ("upstream.local_address", b"10.0.0.2:5000"),
            ("upstream.cx_pool_ready_duration", &9_u64.to_le_bytes()),
            ("upstream.transport_failure_reason", b"refused"),
            ("upstream.request_attempt_count", &2_u64.to_le_bytes()),
            ("xds.cluster_name", b"outbound|80||web"),
            ("cluster_name", b"outbound|80||web"),
            ("xds.route_name", b"route"),
            ("route_name", b"route"),
            ("xds.virtual_host_name", b"vh"),
        ],
    );
}

#[test]
fn the_grpc_status_of_the_peer_counts_first() {
    let state = answered();
    state.set_trailers(
        Direction::Response,
        Some([("grpc-status", "5")].into_iter().collect()),
    );
    check(
        &state,
        &[
            ("response.grpc_status", &5_u64.to_le_bytes()),
            ("response.trailers.grpc-status", b"5"),
        ],
    );
}

#[test]
fn groups_are_invalid_and_nonsense_is_not_found() {
    let state = answered();
    for group in [
        "request",
        "response",
        "source",
        "destination",
        "connection",
        "upstream",
        "filter_state",
    ] {
        assert_eq!(get(&state, group), Err(HostError::Invalid), "{group}");
    }
    for path in [
        "",
        "nonsense",
        "request.nonsense",
        "request.headers.none",
        "node.metadata.X",
        "node.nonsense",
        "plugin_name.x",
    ] {
        assert_eq!(get(&state, path), Err(HostError::NotFound), "{path}");
    }
}

#[test]
fn values_that_filters_set_can_be_read_and_hide_nothing() {
    let state = request();
    state.set_filter_state(b"foo", b"1");
    state.set_filter_state(b"plugin_name", b"other");
    check(
        &state,
        &[
            ("foo", b"1"),
            ("filter_state.foo", b"1"),
            ("plugin_name", b"ns.plugin"),
        ],
    );
    let mut value = Vec::new();
    of_exchange(&state, 0, b"filter_state\0wasm.foo", &mut value).unwrap();
    assert_eq!(value, b"1");
}

#[test]
fn plugins_can_ask_about_themselves_and_the_proxy() {
    let get = |path: &[u8]| {
        let mut value = Vec::new();
        of_plugin(&identity(), &node(), path, &mut value).map(|()| value)
    };
    assert_eq!(get(b"plugin_root_id").unwrap(), b"root");
    assert_eq!(get(b"xds\0node\0id").unwrap(), b"sidecar~1");
    assert_eq!(get(b"node\0metadata\0NAMESPACE\0").unwrap(), b"prod");
    assert_eq!(get(b"request\0path"), Err(HostError::NotFound));
}
