//! Lines for one exchange, by format.

use std::time::{Duration, UNIX_EPOCH};

use leno_model::access_log::{DEFAULT_FORMAT, Format, JsonValue};

use super::{JsonLine, Template};
use crate::access_log::exchange_record::{ExchangeRecord, Timing, UpstreamRecord};
use crate::http::headers::Headers;
use crate::http::message::Protocol;
use crate::reply::Flags;

fn headers(fields: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.append(name.as_bytes(), value.as_bytes());
    }
    headers
}

/// Calls `check` with an exchange of which everything is known.
fn with_record<T>(check: impl FnOnce(&ExchangeRecord<'_>) -> T) -> T {
    let request = headers(&[
        (":method", "POST"),
        (":path", "/a/b?key=v%20&other=1"),
        (":authority", "shop"),
        ("user-agent", "say \"hi\"\u{7f}\u{1}"),
        ("content-type", "application/grpc"),
        ("x-request-id", "id-1"),
    ]);
    let response = headers(&[(":status", "200"), ("x-envoy-upstream-service-time", "9")]);
    let trailers = headers(&[("grpc-status", "5")]);
    let state = |name: &str, out: &mut Vec<u8>| {
        out.extend_from_slice(b"state of ");
        out.extend_from_slice(name.as_bytes());
        true
    };
    let peers = ["10.0.0.9:5000".parse().unwrap(), "[::1]:443".parse().unwrap()];
    let started = UNIX_EPOCH + Duration::from_millis(1_460_751_420_310);
    check(&ExchangeRecord {
        response: Some(&response),
        trailers: Some(&trailers),
        status: 200,
        details: "via_upstream",
        flags: Flags::UPSTREAM_CONNECT.with(Flags::RETRIES_EXHAUSTED),
        bytes_received: 3,
        bytes_sent: 4,
        attempts: 2,
        timing: Timing {
            request_end: Some(Duration::from_millis(2)),
            request_sent: Some(Duration::from_millis(3)),
            response_begin: Some(Duration::from_millis(10)),
            end: Some(Duration::from_micros(25_900)),
        },
        route: "main",
        virtual_host: "all",
        cluster: "web",
        upstream: Some(UpstreamRecord {
            address: "10.0.2.1:80".parse().unwrap(),
            hostname: "web.local",
            local: None,
            protocol: Some(Protocol::Http11),
            transport_failure: "delayed connect error",
        }),
        filter_chain: "main",
        connection_id: 7,
        exchange_id: 255,
        filter_state: Some(&state),
        ..ExchangeRecord::new(&request, Protocol::Http2, started, peers)
    })
}

fn check(format: &str, expected: &str) {
    let template = Template::new(&Format::parse(format).unwrap()).unwrap();
    let mut out = Vec::new();
    with_record(|record| template.write(record, "-", &mut out));
    assert_eq!(String::from_utf8_lossy(&out), expected, "{format}");
}

#[test]
fn every_operator_has_its_value() {
    for (format, expected) in [
        (
            "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% 100%%",
            "200 via_upstream 100%",
        ),
        (
            "%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%",
            "URX,UF UpstreamRetryLimitExceeded,UpstreamConnectionFailure",
        ),
        (
            "%REQ(X-A)% %REQ(X-A?:PATH):4% %RESP(:STATUS)% %TRAILER(grpc-status)%",
            "- /a/b 200 5",
        ),
        (
            "%REQ_WITHOUT_QUERY(:PATH)% %QUERY_PARAM(key)% %QUERY_PARAM(none)%",
            "/a/b v%20 -",
        ),
        ("%DURATION% %REQUEST_DURATION% %REQUEST_TX_DURATION%", "25 2 3"),
        ("%RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "10 15"),
        (
            "%UPSTREAM_HOST% %UPSTREAM_HOST_NAME% %UPSTREAM_LOCAL_ADDRESS%",
            "10.0.2.1:80 web.local -",
        ),
        (
            "%UPSTREAM_REMOTE_PORT% %UPSTREAM_CLUSTER% %UPSTREAM_PROTOCOL%",
            "80 web HTTP/1.1",
        ),
        (
            "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
            "10.0.0.9:5000 ::1",
        ),
        (
            "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%",
            "NotFound NOT_FOUND 5",
        ),
        (
            "%ROUTE_NAME% %VIRTUAL_HOST_NAME% %CONNECTION_ID% %STREAM_ID%",
            "main all 7 id-1",
        ),
        (
            "%ACCESS_LOG_TYPE% %FILTER_CHAIN_NAME% %VIRTUAL_CLUSTER_NAME%",
            "DownstreamEnd main -",
        ),
        (
            "%UPSTREAM_TRANSPORT_FAILURE_REASON% %REQUESTED_SERVER_NAME%",
            "delayed_connect_error -",
        ),
        (
            "%FILTER_STATE(wasm.x:PLAIN)% %ENVIRONMENT(LENO_NOT_SET)%",
            "state of wasm.x -",
        ),
        (
            "%START_TIME(%s.%3f)% %UPSTREAM_REQUEST_ATTEMPT_COUNT%",
            "1460751420.310 2",
        ),
        (
            "%BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_TRAILERS_BYTES%",
            "3 4 12",
        ),
    ] {
        check(format, expected);
    }
}

#[test]
fn the_default_line_is_envoys() {
    check(
        DEFAULT_FORMAT,
        "[2016-04-15T20:17:00.310Z] \"POST /a/b?key=v%20&other=1 HTTP/2\" 200 URX,UF 3 4 25 9 \"-\" \
         \"say \"hi\"\u{7f}\u{1}\" \"id-1\" \"shop\" \"10.0.2.1:80\"\n",
    );
}

#[test]
fn missing_values_vanish_from_header_edits() {
    let template = Template::new(&Format::parse("%REQ(X-A)%%RESP(Y)%").unwrap()).unwrap();
    let mut out = Vec::new();
    with_record(|record| template.write(record, "", &mut out));
    assert!(out.is_empty());
}

#[test]
fn json_lines_keep_types_and_escape() {
    let format = |text: &str| JsonValue::Format(Format::parse(text).unwrap());
    let line = JsonLine::new(&[
        ("code".to_owned(), format("%RESPONSE_CODE%")),
        ("agent \"x\"".to_owned(), format("%REQ(USER-AGENT)%")),
        ("none".to_owned(), format("%REQ(X-A)%")),
        ("mixed".to_owned(), format("%DURATION% ms, %REQ(X-A)%")),
        ("fixed".to_owned(), format("a\\b")),
        ("empty".to_owned(), JsonValue::Object(Vec::new())),
        (
            "list".to_owned(),
            JsonValue::List(vec![
                format("%RESPONSE_CODE%"),
                JsonValue::Number(5.0),
                JsonValue::Number(-1.5),
                JsonValue::Bool(true),
                JsonValue::Null,
                JsonValue::List(Vec::new()),
            ]),
        ),
        (
            "in".to_owned(),
            JsonValue::Object(vec![("port".to_owned(), format("%UPSTREAM_REMOTE_PORT%"))]),
        ),
    ])
    .unwrap();
    let mut out = Vec::new();
    with_record(|record| line.write(record, &mut Vec::new(), &mut out));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"code\":200,\"agent \\\"x\\\"\":\"say \\\"hi\\\"\u{7f}\\u0001\",\"none\":null,\
         \"mixed\":\"25 ms, -\",\"fixed\":\"a\\\\b\",\"empty\":{},\
         \"list\":[200,5,-1.5,true,null,[]],\"in\":{\"port\":80}}\n"
    );
}

#[test]
fn bytes_that_are_not_utf8_do_not_break_json() {
    let mut out = Vec::new();
    super::string(b"a\xffb", &mut out);
    assert_eq!(out, "\"a\u{fffd}b\"".as_bytes());
}

#[test]
fn every_line_has_an_id_of_its_own() {
    let id = || {
        let template = Template::new(&Format::parse("%UNIQUE_ID%").unwrap()).unwrap();
        let mut out = Vec::new();
        with_record(|record| template.write(record, "-", &mut out));
        String::from_utf8(out).unwrap()
    };
    let (one, other) = (id(), id());
    assert_eq!((one.len(), other.len()), (36, 36), "{one} {other}");
    assert_ne!(one, other);
}
