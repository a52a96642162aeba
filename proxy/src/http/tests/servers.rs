//! Our downstream side against raw bytes and curl.

use std::net::SocketAddr;
use std::process::Output;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use crate::http::error::{Malformed, StreamErrorKind};
use crate::http::io::Io;
use crate::http::message::ResponseHead;
use crate::http::server::{Accepted, ServerConnection};
use crate::http::settings::ServerSettings;
use crate::http::tests::echo::{listen, run, serve, settings, start};

/// Sends bytes, says that no more follow only after the server did, and returns everything it said.
async fn talk(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[track_caller]
fn check(request: &str, expected: &str) {
    let answer = run(async { talk(start(settings()).await, request.as_bytes()).await });
    let without_seen: String = answer
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("x-seen"))
        .collect();
    assert_eq!(without_seen, expected);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    check(
        "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi\
         POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n\
         GET /c HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
         HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
}

#[test]
fn http_10_gets_a_body_without_chunks() {
    check(
        "POST / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi",
    );
    check(
        "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
}

#[test]
fn continue_is_sent_when_the_body_is_wanted() {
    check(
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        // The head was written before anybody wanted the body: nothing is left to wait for.
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    );
    let text = run(async {
        let (listener, address) = listen().await;
        let server = spawn_local(async move {
            let io = Io::Tcp(listener.accept().await.unwrap().0);
            let mut connection = ServerConnection::new(io, Rc::new(settings()));
            let Ok(Some(Accepted::Exchange(mut exchange))) = connection.accept().await else {
                panic!()
            };
            assert!(exchange.body.frame().await.unwrap().is_some());
            assert!(exchange.body.frame().await.unwrap().is_none());
            exchange
                .response
                .head(&ResponseHead::new(204), true)
                .await
                .unwrap();
            drop(exchange);
            assert!(matches!(connection.accept().await, Ok(None)));
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\n").await.unwrap();
        let mut first = [0; 25];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hi").await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        server.await.unwrap();
        rest
    });
    assert_eq!(text, "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
}

#[test]
fn refusals_are_answered_and_end_the_connection() {
    check(
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\nx-reason: http1.invalid_host\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    check(
        &format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(100)),
        "HTTP/1.1 431 Request Header Fields Too Large\r\nx-reason: http1.too_many_headers\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n",
    );
}

#[test]
fn slow_heads_time_out() {
    let limited = ServerSettings {
        head_timeout: Some(Duration::from_millis(20)),
        ..settings()
    };
    let answer = run(async { talk(start(limited).await, b"GET / HTTP/1.1\r\n").await });
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let idle = ServerSettings {
        idle_timeout: Some(Duration::from_millis(20)),
        ..settings()
    };
    assert_eq!(run(async { talk(start(idle).await, b"").await }), "");
}

#[test]
fn a_bad_chunk_fails_the_body_and_the_connection() {
    let kind = run(async {
        let (listener, address) = listen().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let io = Io::Tcp(listener.accept().await.unwrap().0);
        let mut connection = ServerConnection::new(io, Rc::new(settings()));
        let Ok(Some(Accepted::Exchange(mut exchange))) = connection.accept().await else {
            panic!()
        };
        assert!(exchange.body.frame().await.is_ok());
        let error = exchange.body.frame().await.unwrap_err();
        exchange
            .response
            .head(&ResponseHead::new(400), true)
            .await
            .unwrap();
        drop(exchange);
        drop(stream);
        assert!(matches!(connection.accept().await, Ok(None)));
        error.kind
    });
    assert_eq!(kind, StreamErrorKind::Malformed(Malformed::Chunk));
}

#[test]
fn a_client_that_leaves_is_noticed() {
    run(async {
        let (listener, address) = listen().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let io = Io::Tcp(listener.accept().await.unwrap().0);
        let mut connection = ServerConnection::new(io, Rc::new(settings()));
        let Ok(Some(Accepted::Exchange(mut exchange))) = connection.accept().await else {
            panic!()
        };
        drop(stream);
        assert_eq!(exchange.response.gone().await.kind, StreamErrorKind::Closed);
        drop(exchange);
        assert!(connection.accept().await.is_err());
    });
}

#[test]
fn a_dropped_response_is_no_complete_response() {
    run(async {
        let (listener, address) = listen().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let io = Io::Tcp(listener.accept().await.unwrap().0);
        let mut connection = ServerConnection::new(io, Rc::new(settings()));
        let Ok(Some(Accepted::Exchange(mut exchange))) = connection.accept().await else {
            panic!()
        };
        exchange
            .response
            .head(&ResponseHead::new(200), false)
            .await
            .unwrap();
        exchange.response.flush().await.unwrap();
        let mut head = [0; 38];
        stream.read_exact(&mut head).await.unwrap();
        drop(exchange);
        assert!(connection.accept().await.is_err());
        drop(connection);
        // Not a clean end, which would complete a body without length.
        assert!(stream.read(&mut head).await.is_err());
    });
}

#[test]
fn draining_closes_after_the_current_exchange() {
    run(async {
        let (listener, address) = listen().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let io = Io::Tcp(listener.accept().await.unwrap().0);
        let mut connection = ServerConnection::new(io, Rc::new(settings()));
        let Ok(Some(Accepted::Exchange(mut exchange))) = connection.accept().await else {
            panic!()
        };
        connection.drain();
        exchange
            .response
            .head(&ResponseHead::new(200), true)
            .await
            .unwrap();
        drop(exchange);
        let end = spawn_local(async move { connection.accept().await.map(|accepted| accepted.is_none()) });
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        drop(stream);
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(end.await.unwrap(), Ok(true));
        let (listener, address) = listen().await;
        let stream = TcpStream::connect(address).await.unwrap();
        let mut idle =
            ServerConnection::new(Io::Tcp(listener.accept().await.unwrap().0), Rc::new(settings()));
        idle.drain();
        assert!(matches!(idle.accept().await, Ok(None)));
        drop(stream);
    });
}

async fn curl(arguments: &[&str]) -> Output {
    let output = tokio::process::Command::new("curl")
        .arg("-sS")
        .args(arguments)
        .output()
        .await;
    output.expect("curl is installed")
}

fn curl_check(version: &str) {
    run(async {
        let address = start(settings()).await;
        let url = format!("http://{address}/path?query");
        let big = format!("http://{address}/big/3000000");
        let get = curl(&[version, "-i", "-H", "X-Two: 1", "-H", "x-two: 2", &url]).await;
        let text = String::from_utf8(get.stdout).unwrap();
        assert!(
            text.contains(":path=/path?query") && text.contains("x-two=1") && text.contains("x-two=2"),
            "{text}"
        );
        assert!(
            text.contains(":method=GET") && text.contains(":scheme=http"),
            "{text}"
        );
        let echoed = curl(&[version, "--data-binary", "some body", &url]).await;
        assert_eq!(echoed.stdout, b"some body");
        let large = curl(&[version, &big]).await;
        assert_eq!(large.stdout.len(), 3_000_000);
        let head = curl(&[version, "-I", &big]).await;
        assert!(
            String::from_utf8(head.stdout)
                .unwrap()
                .contains("content-length: 3000000")
        );
    });
}

#[test]
fn curl_over_http_11() {
    curl_check("--http1.1");
}

#[test]
fn curl_over_http_2() {
    curl_check("--http2-prior-knowledge");
}

#[test]
fn http_2_refusals_are_stream_errors() {
    run(async {
        let (listener, address) = listen().await;
        let server = spawn_local(async move {
            let io = Io::Tcp(listener.accept().await.unwrap().0);
            serve(ServerConnection::new(io, Rc::new(settings()))).await
        });
        let url = format!("http://{address}/");
        let output = curl(&["--http2-prior-knowledge", "-X", "get", &url]).await;
        assert!(!output.status.success());
        assert_eq!(server.await.unwrap(), [Malformed::Method]);
    });
}
