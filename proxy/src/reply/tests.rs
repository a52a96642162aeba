//! The table, checked line by line against Envoy's words.

use bytes::Bytes;

use super::{Attempt, Dialect, Reason, Reply, UpstreamFailure};
use crate::http::headers::Headers;

#[track_caller]
fn check(reason: Reason, status: u16, flags: &str, details: &str, body: &str) {
    let reply = Reply::to(&reason);
    let got = (
        reply.status,
        reply.flags.to_string(),
        reply.details.as_ref(),
        std::str::from_utf8(&reply.body).unwrap(),
    );
    assert_eq!(got, (status, flags.to_owned(), details, body), "{reason:?}");
}

#[test]
fn reasons_have_the_words_of_envoy() {
    check(Reason::NoRoute, 404, "NR", "route_not_found", "");
    check(Reason::NoCluster, 503, "NC", "cluster_not_found", "");
    check(
        Reason::NoHealthyUpstream,
        503,
        "UH",
        "no_healthy_upstream",
        "no healthy upstream",
    );
    check(
        Reason::RouteTimeout,
        504,
        "UT",
        "response_timeout",
        "upstream request timeout",
    );
    check(
        Reason::StreamIdle,
        408,
        "SI",
        "stream_idle_timeout",
        "stream timeout",
    );
    check(
        Reason::ResponseIdle,
        504,
        "SI",
        "stream_idle_timeout",
        "stream timeout",
    );
    let broke_off = Reply::to(&Reason::UpstreamBrokeOff(UpstreamFailure::Protocol));
    assert_eq!(broke_off.flags.to_string(), "UPE");
    assert_eq!(
        broke_off.details,
        "upstream_reset_after_response_started{protocol_error}"
    );
    check(
        Reason::RequestTooLarge,
        413,
        "-",
        "request_payload_too_large",
        "Payload Too Large",
    );
    check(Reason::FilterFailed, 503, "-", "wasm_fail_stream", "");
    check(
        Reason::Upstream(
            UpstreamFailure::Connect("Connection refused".to_owned()),
            Attempt::First,
        ),
        503,
        "UF",
        "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
        "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
    );
    check(
        Reason::Upstream(UpstreamFailure::Closed, Attempt::Exhausted),
        503,
        "URX,UC",
        "upstream_reset_before_response_started{connection_termination}",
        "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: \
         connection termination",
    );
    check(
        Reason::Upstream(UpstreamFailure::Overflow, Attempt::First),
        503,
        "UO",
        "upstream_reset_before_response_started{overflow}",
        "upstream connect error or disconnect/reset before headers. reset reason: overflow",
    );
}

#[track_caller]
fn written(reply: &Reply, dialect: Dialect, head: &str, body: &str) {
    let mut headers = Headers::new();
    let sent = reply.write(dialect, &mut headers);
    let got: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()))
        .collect();
    assert_eq!((got.join("\n").as_str(), &sent[..]), (head, body.as_bytes()));
}

#[test]
fn a_plain_answer_has_length_and_type_after_its_own_fields() {
    let mut reply = Reply::text(401, "no token");
    reply.headers.push((
        Bytes::from_static(b"www-authenticate"),
        Bytes::from_static(b"Bearer"),
    ));
    reply
        .headers
        .push((Bytes::from_static(b":status"), Bytes::from_static(b"200")));
    let head = ":status: 401\nwww-authenticate: Bearer\ncontent-length: 8\ncontent-type: text/plain";
    written(&reply, Dialect::Plain, head, "no token");
    written(&reply, Dialect::Head, head, "");
}

#[test]
fn an_answer_without_body_has_no_type() {
    written(
        &Reply::text(404, ""),
        Dialect::Plain,
        ":status: 404\ncontent-length: 0",
        "",
    );
    written(&Reply::text(204, "lost"), Dialect::Plain, ":status: 204", "");
    written(
        &Reply::text(99, ""),
        Dialect::Plain,
        ":status: 500\ncontent-length: 0",
        "",
    );
}

#[test]
fn a_grpc_answer_is_trailers_only() {
    written(
        &Reply::text(503, "50% \u{e9}"),
        Dialect::Grpc,
        ":status: 200\ncontent-type: application/grpc\ngrpc-status: 14\ngrpc-message: 50%25 %C3%A9",
        "",
    );
}

#[test]
fn only_grpc_itself_is_grpc() {
    for (text, is) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        assert_eq!(super::is_grpc(text.as_bytes()), is, "{text}");
    }
}
