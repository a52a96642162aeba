//! What answers carry: edits of routes, trailers of HTTP/1; and targets that are refused.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty, Full};
use leno_model::access_log::Format;
use leno_model::cluster::{Cluster, UpstreamProtocol};
use leno_model::http::HttpConnectionManager;
use leno_model::route::{AppendAction, HeaderEdit, Route};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::peers::{Client, Upstream};
use super::proxy::{Proxy, Setup, cluster, forward, refused_address};
use super::stage::MEDDLER;

/// A route whose responses tell status, flags and details.
fn telling(prefix: &str, cluster: &str) -> Route {
    let mut route = forward(prefix, cluster);
    route.edits.response.push(HeaderEdit {
        name: "x-told".to_owned(),
        value: Format::parse("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%").unwrap(),
        append: AppendAction::OverwriteOrAdd,
    });
    route
}

/// Envoy 1.40 answers the same; its status is not known yet when it edits an answer of its own.
#[tokio::test]
async fn routes_edit_what_the_upstream_and_what_the_proxy_answers() {
    let upstream = Upstream::start("u").await;
    let clusters = vec![
        cluster("c", UpstreamProtocol::Http1, &[upstream.address]),
        cluster("refused", UpstreamProtocol::Http1, &[refused_address()]),
        cluster("empty", UpstreamProtocol::Http1, &[]),
    ];
    let routes = vec![
        telling("/refused", "refused"),
        telling("/empty", "empty"),
        telling("/gone", "gone"),
        telling("/", "c"),
    ];
    let proxy = Proxy::start(clusters, routes).await;
    let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
    for (path, told) in [
        ("/hello", "200 - via_upstream"),
        (
            "/refused",
            "0 UF upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:\
             _Connection_refused}",
        ),
        ("/empty", "0 UH no_healthy_upstream"),
        ("/gone", "0 NC cluster_not_found"),
    ] {
        let response = client.get(path).await;
        assert_eq!(response.headers()["x-told"], told, "{path}");
        response.into_body().collect().await.unwrap();
    }
}

/// Answers everything that ends in `ping` with `pong` and trailers.
async fn trailing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"ping") {
                request.push(stream.read_u8().await.unwrap());
            }
            let answer =
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npong\r\n0\r\nx-t: end\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Until the proxy closes it.
            let _ = stream.read_to_end(&mut request).await;
        }
    });
    address
}

/// Whether trailers of the upstream reach a client of this version.
async fn trailers_pass(version: Version, listener: bool, upstream: bool, protocol: UpstreamProtocol) -> bool {
    let both_versions = Upstream::start("u").await;
    let address = match protocol {
        UpstreamProtocol::Http2 => both_versions.address,
        UpstreamProtocol::Http1 | UpstreamProtocol::Downstream => trailing().await,
    };
    let cluster = Cluster {
        h1_trailers: upstream,
        ..cluster("c", protocol, &[address])
    };
    let setup = Setup {
        manager: HttpConnectionManager {
            h1_trailers: listener,
            ..Setup::new(Vec::new(), Vec::new()).manager
        },
        ..Setup::new(vec![cluster], vec![forward("/", "c")])
    };
    let proxy = setup.start().await;
    let mut client = Client::connect(proxy.address, version).await;
    let body = Full::new(Bytes::from_static(b"ping")).map_err(|never| match never {});
    let request = Request::post("http://a.test/echo")
        .header("host", "a.test")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body.boxed())
        .unwrap();
    let answer = client.send(request).await.into_body().collect().await.unwrap();
    assert!(answer.trailers().is_none_or(|trailers| trailers.len() == 1));
    answer.trailers().is_some()
}

#[tokio::test]
async fn trailers_of_http_1_pass_where_they_are_enabled() {
    use UpstreamProtocol::{Http1, Http2};
    let (one, two) = (Version::HTTP_11, Version::HTTP_2);
    for (version, listener, upstream, protocol, passed) in [
        (two, false, false, Http2, true),
        (two, false, false, Http1, false),
        (two, false, true, Http1, true),
        (one, false, true, Http1, false),
        (one, true, true, Http1, true),
    ] {
        assert_eq!(
            trailers_pass(version, listener, upstream, protocol).await,
            passed,
            "{version:?} {listener} {upstream} {protocol:?}"
        );
    }
}

#[tokio::test]
async fn an_edge_refuses_https_that_came_without_encryption() {
    let upstream = Upstream::start("u").await;
    for (is_edge, expected) in [(true, "403 Forbidden"), (false, "200 OK")] {
        let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])];
        let setup = Setup {
            manager: HttpConnectionManager {
                use_remote_address: is_edge,
                ..Setup::new(Vec::new(), Vec::new()).manager
            },
            ..Setup::new(clusters, vec![forward("/", "c")])
        };
        let proxy = setup.start().await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream
            .write_all(b"GET https://a.test/hello HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}\r\n")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_route_is_chosen_again_after_a_filter_has_changed_the_request() {
    let upstream = Upstream::start("u").await;
    let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])];
    let routes = vec![forward("/alt", "gone"), forward("/", "c")];
    let proxy = Proxy::with_filter(clusters, routes, MEDDLER).await;
    let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
    for (how, status) in [("", 200), ("request-reroute", 503), ("request-unroute", 404)] {
        let request = Request::get("http://a.test/hello")
            .header("host", "a.test")
            .header("x-meddle", how)
            .body(Empty::new().boxed())
            .unwrap();
        let answer = client.send(request).await;
        assert_eq!(answer.status(), status, "{how}");
        answer.into_body().collect().await.unwrap();
    }
    assert_eq!(upstream.requests("/hello"), 1);
}
