//! What is told in heads: interim responses and counts of attempts.

use std::future::poll_fn;
use std::net::SocketAddr;

use http::{Request, Version};
use leno_model::cluster::UpstreamProtocol;
use leno_model::http::HttpConnectionManager;
use leno_model::route::{RetryOn, TellsAttempts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::peers::{Client, Upstream, collect};
use super::proxy::{Setup, cluster, forward, refused_address, retrying};

/// An upstream that hints at what will come before it answers.
async fn hinting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\nkeep-alive: 1\r\n\r\n\
                              HTTP/1.1 103 Early Hints\r\nlink: </b>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    address
}

#[tokio::test]
async fn hints_reach_clients_that_can_read_them() {
    let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[hinting().await])];
    let setup = Setup {
        manager: HttpConnectionManager {
            stat_prefix: "main".to_owned(),
            accept_http_10: true,
            ..Default::default()
        },
        ..Setup::new(clusters, vec![forward("/", "c")])
    };
    let proxy = setup.start().await;

    let plain = |version: &'static str| async move {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let request = format!("GET / HTTP/{version}\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = plain("1.1").await;
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </b>\r\n\r\nHTTP/1.1 200";
    assert!(
        answer.starts_with(hints) && answer.ends_with("\r\n\r\nok"),
        "{answer}"
    );
    let answer = plain("1.0").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://test/").body(()).unwrap();
    let (mut response, _) = sender.send_request(request, true).unwrap();
    for link in ["</a>", "</b>"] {
        let hint = poll_fn(|cx| response.poll_informational(cx))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (hint.status().as_u16(), &hint.headers()["link"]),
            (103, &link.parse().unwrap())
        );
        assert!(!hint.headers().contains_key("keep-alive"));
    }
    assert_eq!(response.await.unwrap().status(), 200);
    connection.abort();
}

#[tokio::test]
async fn attempts_are_counted_where_the_host_wants_it() {
    let upstream = Upstream::start("u").await;
    let on = RetryOn {
        gateway_error: true,
        ..RetryOn::default()
    };
    for (request, response) in [(true, true), (false, false)] {
        let setup = Setup {
            tells_attempts: TellsAttempts { request, response },
            ..Setup::new(
                vec![
                    cluster("c", UpstreamProtocol::Http1, &[upstream.address]),
                    cluster("refused", UpstreamProtocol::Http1, &[refused_address()]),
                ],
                vec![
                    retrying("/fail-often", "c", on, 2),
                    forward("/refused", "refused"),
                    forward("/", "c"),
                ],
            )
        };
        let proxy = setup.start().await;
        let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
        let told = |count: &'static str| response.then_some(count);
        let answer = client.get("/lengths").await;
        let header = |answer: &http::Response<hyper::body::Incoming>| {
            let value = answer.headers().get("x-envoy-attempt-count");
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header(&answer).as_deref(), told("1"));
        assert_eq!(
            collect(answer).await,
            if request { "none  1" } else { "none  none" }
        );
        let answer = client.get("/fail-often").await;
        assert_eq!(header(&answer).as_deref(), told("3"));
        collect(answer).await;
        // An answer of the proxy itself.
        let answer = client.get("/refused").await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer).as_deref()),
            (503, told("1"))
        );
        collect(answer).await;
    }
}
