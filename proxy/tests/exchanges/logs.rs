//! What the access log says of exchanges, and what is counted of those that were none.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use leno_model::access_log::{AccessLog, Format, Line, Sink};
use leno_model::cluster::UpstreamProtocol;
use leno_model::http::HttpConnectionManager;
use leno_model::route::{DirectResponse, RouteAction};
use leno_proxy::stats::snapshot::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::peers::{Client, Upstream};
use super::proxy::{Proxy, Setup, cluster, forward, refused_address};
use super::stage::MEDDLER;

const FORMAT: &str = "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% \
                      %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER% %UPSTREAM_HOST% \
                      %UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_TRANSPORT_FAILURE_REASON%\n";

fn logging_to(file: &Path) -> HttpConnectionManager {
    let log = AccessLog {
        sink: Sink::File(file.to_owned()),
        line: Line::Text(Format::parse(FORMAT).unwrap()),
    };
    HttpConnectionManager {
        stat_prefix: "main".to_owned(),
        access_log: vec![log],
        request_headers_timeout: Some(Duration::from_millis(200)),
        ..Default::default()
    }
}

/// The only line there is by now; the log is empty afterwards.
async fn line(proxy: &Proxy, file: &Path) -> String {
    let begun = Instant::now();
    loop {
        let sinks = Arc::clone(&proxy.sinks);
        tokio::task::spawn_blocking(move || sinks.flush()).await.unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        if let Some(line) = text.strip_suffix('\n') {
            // Appended to: what comes next begins at the start.
            std::fs::write(file, "").unwrap();
            return line.to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no line: {text}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn exchanges_are_logged_as_they_went() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let (upstream, refused) = (Upstream::start("u").await, refused_address());
    let mut direct = forward("/direct", "");
    direct.action = RouteAction::Direct(DirectResponse {
        status: 418,
        body: b"short and stout".to_vec(),
    });
    let clusters = vec![
        cluster("c", UpstreamProtocol::Http1, &[upstream.address]),
        cluster("refused", UpstreamProtocol::Http1, &[refused]),
        cluster("empty", UpstreamProtocol::Http1, &[]),
    ];
    let routes = vec![
        direct,
        forward("/refused", "refused"),
        forward("/empty", "empty"),
        forward("/lost", "lost"),
        forward("/lengths", "c"),
    ];
    let setup = Setup {
        native: Some(MEDDLER),
        manager: logging_to(&file),
        ..Setup::new(clusters, routes)
    };
    let proxy = setup.start().await;
    let mut client = Client::connect(proxy.address, Version::HTTP_2).await;
    let up = upstream.address;
    let refusal = "delayed_connect_error:_Connection_refused";
    let reset = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
    for (how, path, expected) in [
        ("", "/lengths", format!("200 - via_upstream 5 12 c {up} 1 -")),
        ("", "/direct", "418 - direct_response 0 15 - - 0 -".to_owned()),
        ("", "/nowhere", "404 NR route_not_found 0 0 - - 0 -".to_owned()),
        ("", "/lost", "503 NC cluster_not_found 0 0 - - 0 -".to_owned()),
        (
            "",
            "/empty",
            "503 UH no_healthy_upstream 0 19 empty - 0 -".to_owned(),
        ),
        (
            "",
            "/refused",
            format!("503 UF {reset} 0 98 refused {refused} 1 {refusal}"),
        ),
        (
            "request-belie",
            "/lengths",
            format!("500 - filter_changed_request_length 5 41 c {up} 1 -"),
        ),
        (
            "response-belie",
            "/lengths",
            format!("200 LR filter_changed_response_length 5 11 c {up} 1 -"),
        ),
    ] {
        let request = Request::builder()
            .uri(format!("http://test{path}"))
            .header("x-meddle", how);
        // Whether the body has come in when the proxy answers by itself is chance.
        let (method, body) = match path {
            "/lengths" => ("POST", "hello"),
            _ => ("GET", ""),
        };
        let body = Full::new(body.into()).boxed();
        let answer = client.try_send(request.method(method).body(body).unwrap()).await;
        if let Ok(answer) = answer {
            // One of them is cut off.
            let _ = answer.into_body().collect().await;
        }
        assert_eq!(
            line(&proxy, &file).await,
            format!("{method} {path} HTTP/2 {expected}")
        );
    }
}

#[tokio::test]
async fn what_is_no_request_is_logged_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let setup = Setup {
        manager: logging_to(&file),
        ..Setup::new(Vec::new(), vec![forward("/", "lost")])
    };
    let proxy = setup.start().await;
    // The lines are those of Envoy 1.40 for the same bytes, but that it shows the head of the last one.
    for (sent, status, expected) in [
        (
            "GET /x y HTTP/1.1\r\nhost: a\r\n\r\n",
            400,
            "400 DPE http1.codec_error 0 11",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nbad name: x\r\n\r\n",
            400,
            "400 DPE http1.codec_error 0 11",
        ),
        (
            "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
            426,
            "426 DPE low_version 0 16",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
            400,
            "400 DPE http1.content_length_and_chunked_not_allowed 0 11",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\n",
            408,
            "408 - request_header_timeout 0 22",
        ),
        ("GET / HTTP/1.1\r\n\r\n", 400, "400 - missing_host_header 0 0"),
    ] {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{sent}: {answer}"
        );
        assert!(
            answer.contains("\r\nserver: leno\r\n") && answer.contains("\r\ndate: "),
            "{answer}"
        );
        let logged = line(&proxy, &file).await;
        assert_eq!(logged, format!("- - HTTP/1.1 {expected} - - 0 -"), "{sent}");
    }
    let samples = proxy.registry.snapshot(Instant::now());
    let count = |name: &str| {
        let full = format!("http.main.{name}");
        let sample = samples.iter().find(|sample| sample.name.dotted == full);
        match sample.map(|sample| &sample.value) {
            Some(Value::Counter(count)) => *count,
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(count("downstream_cx_protocol_error"), 4);
    assert_eq!(count("downstream_rq_header_timeout"), 1);
    assert_eq!((count("downstream_rq_total"), count("downstream_rq_4xx")), (6, 6));
}
