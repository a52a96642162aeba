//! Our upstream side against our own downstream side and against hyper.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;

use crate::http::client::{H1Client, H2Client, RequestWriter, ResponseReader};
use crate::http::error::{Malformed, StreamErrorKind, Unsendable};
use crate::http::h1::encode;
use crate::http::headers::Headers;
use crate::http::io::Io;
use crate::http::message::{Frame, Protocol, RequestHead, ResponseHead};
use crate::http::server::{Accepted, ServerConnection};
use crate::http::settings::ClientSettings;
use crate::http::tests::echo::{connect, listen, run, settings, start};

fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> RequestHead {
    let mut headers: Headers = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", path),
    ]
    .into_iter()
    .collect();
    for (name, value) in fields {
        headers.append(name.as_bytes(), value.as_bytes());
    }
    RequestHead {
        headers,
        protocol: Protocol::Http11,
    }
}

/// Reads a response to its end: body and trailers.
async fn read(reader: &mut ResponseReader) -> (Vec<u8>, Option<Headers>) {
    let (mut body, mut trailers) = (Vec::new(), None);
    while let Some(frame) = reader.frame().await.unwrap() {
        match frame {
            Frame::Data(bytes) => body.extend_from_slice(&bytes),
            Frame::Trailers(fields) => trailers = Some(fields),
        }
    }
    (body, trailers)
}

/// A hyper server of both versions that echoes body and trailers.
async fn hyper_echo() -> SocketAddr {
    let (listener, address) = listen().await;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: hyper::Request<Incoming>| async move {
                let mut response = hyper::Response::new(request.into_body());
                response.headers_mut().insert("trailer", "x-t".parse().unwrap());
                Ok::<_, Infallible>(response)
            });
            spawn_local(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    address
}

async fn exchange(mut writer: RequestWriter, mut reader: ResponseReader) {
    let send = async {
        writer.data(Bytes::from_static(b"hello "), false).await.unwrap();
        writer.data(Bytes::from_static(b"world"), false).await.unwrap();
        writer
            .trailers(&[("x-t", "end")].into_iter().collect())
            .await
            .unwrap();
    };
    let receive = async {
        assert_eq!(reader.head().await.unwrap().status(), Some(200));
        read(&mut reader).await
    };
    let ((), (body, trailers)) = tokio::join!(send, receive);
    assert_eq!(body, b"hello world");
    assert_eq!(
        trailers.as_ref().and_then(|fields| fields.get(b"x-t")),
        Some(&b"end"[..])
    );
}

#[test]
fn http_1_with_hyper_and_ourselves() {
    run(async {
        for address in [hyper_echo().await, start(settings()).await] {
            let settings = ClientSettings {
                h1_trailers: true,
                ..ClientSettings::default()
            };
            let mut client = H1Client::new(connect(address).await, &settings);
            for _ in 0..3 {
                assert!(client.is_reusable());
                let head = request("POST", "/", &[("te", "trailers"), ("trailer", "x-t")]);
                let (writer, reader) = client.open(&head, false).unwrap();
                assert!(!client.is_reusable());
                exchange(writer, reader).await;
            }
            assert!(client.is_reusable());
        }
    });
}

#[test]
fn http_2_with_hyper_and_ourselves() {
    run(async {
        for address in [hyper_echo().await, start(settings()).await] {
            let client = H2Client::connect(connect(address).await, &ClientSettings::default())
                .await
                .unwrap();
            let head = request("POST", "/", &[("te", "trailers")]);
            let (first, second) = tokio::join!(client.open(&head, false), client.open(&head, false));
            let ((writer1, reader1), (writer2, reader2)) = (first.unwrap(), second.unwrap());
            assert_eq!(client.active_streams(), 2);
            tokio::join!(exchange(writer1, reader1), exchange(writer2, reader2));
            assert_eq!(client.active_streams(), 0);
            assert!(!client.is_closed());
        }
    });
}

#[test]
fn both_directions_of_a_stream_move_in_turns() {
    run(async {
        let address = start(settings()).await;
        let client = H2Client::connect(connect(address).await, &ClientSettings::default())
            .await
            .unwrap();
        let (mut writer, mut reader) = client.open(&request("POST", "/", &[]), false).await.unwrap();
        assert_eq!(reader.head().await.unwrap().status(), Some(200));
        for round in 0..100_u32 {
            let piece = Bytes::from(round.to_string());
            writer.data(piece.clone(), false).await.unwrap();
            assert_eq!(reader.frame().await.unwrap(), Some(Frame::Data(piece)));
        }
        writer.data(Bytes::new(), true).await.unwrap();
        assert_eq!(reader.frame().await.unwrap(), None);
    });
}

#[test]
fn a_slow_reader_holds_the_writer_back() {
    run(async {
        let address = start(settings()).await;
        let size = 20 << 20;
        let head = request("GET", &format!("/big/{size}"), &[]);
        let mut h1 = H1Client::new(connect(address).await, &ClientSettings::default());
        let h2 = H2Client::connect(connect(address).await, &ClientSettings::default())
            .await
            .unwrap();
        for (_writer, mut reader) in [h1.open(&head, true).unwrap(), h2.open(&head, true).await.unwrap()] {
            assert_eq!(reader.head().await.unwrap().status(), Some(200));
            let mut left = size;
            while let Some(Frame::Data(bytes)) = reader.frame().await.unwrap() {
                assert!(bytes.len() <= 64 << 10, "{}", bytes.len());
                left -= bytes.len();
                // Another exchange gets its turn while this one lags behind.
                tokio::task::yield_now().await;
            }
            assert_eq!(left, 0);
        }
    });
}

#[test]
fn resets_reach_the_other_side() {
    run(async {
        let (listener, address) = listen().await;
        let server = spawn_local(async move {
            let mut connection = h2::server::handshake(listener.accept().await.unwrap().0)
                .await
                .unwrap();
            let (_, mut first) = connection.accept().await.unwrap().unwrap();
            first.send_reset(h2::Reason::ENHANCE_YOUR_CALM);
            let (_, mut second) = connection.accept().await.unwrap().unwrap();
            second.send_reset(h2::Reason::REFUSED_STREAM);
            let (_, mut third) = connection.accept().await.unwrap().unwrap();
            let gone = std::future::poll_fn(|cx| third.poll_reset(cx));
            tokio::select! { reason = gone => reason.unwrap(), _ = connection.accept() => panic!() }
        });
        let client = H2Client::connect(connect(address).await, &ClientSettings::default())
            .await
            .unwrap();
        let head = request("POST", "/", &[]);
        for expected in [
            StreamErrorKind::Reset(crate::http::error::ResetReason(11)),
            StreamErrorKind::Refused,
        ] {
            let (_writer, mut reader) = client.open(&head, false).await.unwrap();
            assert_eq!(reader.head().await.unwrap_err().kind, expected);
        }
        let (writer, reader) = client.open(&head, false).await.unwrap();
        tokio::task::yield_now().await;
        drop((writer, reader));
        assert_eq!(server.await.unwrap(), h2::Reason::CANCEL);
    });
}

/// What our HTTP/1 client makes of a raw response.
async fn raw(response: &'static [u8]) -> (Result<(Vec<u8>, Option<Headers>), StreamErrorKind>, bool) {
    let (listener, address) = listen().await;
    let mut client = H1Client::new(connect(address).await, &ClientSettings::default());
    let (writer, mut reader) = client.open(&request("GET", "/", &[]), true).unwrap();
    let mut peer = listener.accept().await.unwrap().0;
    peer.write_all(response).await.unwrap();
    peer.shutdown().await.unwrap();
    let result = async {
        while reader.head().await?.is_informational() {}
        let mut body = Vec::new();
        while let Some(frame) = reader.frame().await? {
            match frame {
                Frame::Data(bytes) => body.extend_from_slice(&bytes),
                Frame::Trailers(fields) => return Ok((body, Some(fields))),
            }
        }
        Ok((body, None))
    }
    .await;
    drop((writer, reader));
    let mut asked = [0; 16];
    peer.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"GET / HTTP/1.1\r\n");
    (
        result.map_err(|error: crate::http::error::StreamError| error.kind),
        client.is_reusable(),
    )
}

#[test]
fn http_1_responses() {
    let body = |text: &str| Ok((text.as_bytes().to_vec(), None));
    let cases: [(&'static [u8], Result<_, StreamErrorKind>); 8] = [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil close", body("until close")),
        (
            b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\nHTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi",
            body("hi"),
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi",
            Err(StreamErrorKind::Malformed(Malformed::BodyLength)),
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
            Err(StreamErrorKind::Malformed(Malformed::BodyLength)),
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", body("")),
        (b"", Err(StreamErrorKind::Closed)),
        (
            b"SSH-2.0-x\r\n",
            Err(StreamErrorKind::Malformed(Malformed::StatusLine)),
        ),
        (
            b"HTTP/1.1 101 Up\r\n\r\n",
            Err(StreamErrorKind::Malformed(Malformed::Informational)),
        ),
    ];
    for (response, expected) in cases {
        let (result, reusable) = run(raw(response));
        assert_eq!(result, expected, "{}", response.escape_ascii());
        assert!(!reusable, "the peer has closed: {}", response.escape_ascii());
    }
}

#[test]
fn what_http_does_not_allow_is_not_sent() {
    run(async {
        let (_listener, address) = listen().await;
        let mut client = H1Client::new(connect(address).await, &ClientSettings::default());
        let name = |name: &str| name.as_bytes().into();
        let mut check = |head: RequestHead, expected: Unsendable| {
            let error = client.open(&head, true).map(|_| ()).unwrap_err();
            assert_eq!(error.kind, StreamErrorKind::Unsendable(expected));
            assert!(client.is_reusable());
        };
        check(
            request("GET", "/", &[("x-b", "a\r\nb: c")]),
            Unsendable::FieldValue(name("x-b")),
        );
        check(
            request("GET", "/", &[("bad name", "a")]),
            Unsendable::FieldName(name("bad name")),
        );
        check(request("GET", "/a b", &[]), Unsendable::Invalid(":path"));
        check(request("GE T", "/", &[]), Unsendable::Invalid(":method"));
        let mut head = request("GET", "/", &[]);
        head.headers.remove(b":authority");
        check(head, Unsendable::Missing(":authority"));
    });
}

#[test]
fn a_body_never_exceeds_its_length() {
    run(async {
        let address = start(settings()).await;
        let head = request("POST", "/", &[("content-length", "3")]);
        let mut h1 = H1Client::new(connect(address).await, &ClientSettings::default());
        let h2 = H2Client::connect(connect(address).await, &ClientSettings::default())
            .await
            .unwrap();
        for (mut writer, _reader) in [
            h1.open(&head, false).unwrap(),
            h2.open(&head, false).await.unwrap(),
        ] {
            let error = writer.data(Bytes::from_static(b"four"), true).await.unwrap_err();
            let expected = Unsendable::Length {
                announced: 3,
                written: 4,
            };
            assert_eq!(error.kind, StreamErrorKind::Unsendable(expected));
        }
        assert!(!h1.is_reusable());
    });
}

/// The peer would wait for the final head, and take the body for it.
#[test]
fn an_informational_status_is_no_final_head() {
    run(async {
        let (listener, address) = listen().await;
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut connection = ServerConnection::new(Io::Tcp(stream), Rc::new(settings()));
                spawn_local(async move {
                    while let Ok(Some(accepted)) = connection.accept().await {
                        let Accepted::Exchange(mut exchange) = accepted else {
                            panic!("a refusal")
                        };
                        let refused = exchange.response.head(&ResponseHead::new(100), false).await;
                        let expected = StreamErrorKind::Unsendable(Unsendable::Invalid(":status"));
                        assert_eq!(refused.unwrap_err().kind, expected);
                        exchange
                            .response
                            .head(&ResponseHead::new(500), true)
                            .await
                            .unwrap();
                    }
                });
            }
        });
        let head = request("GET", "/", &[]);
        let mut h1 = H1Client::new(connect(address).await, &ClientSettings::default());
        let h2 = H2Client::connect(connect(address).await, &ClientSettings::default())
            .await
            .unwrap();
        for (_writer, mut reader) in [h1.open(&head, true).unwrap(), h2.open(&head, true).await.unwrap()] {
            assert_eq!(reader.head().await.unwrap().status(), Some(500));
        }
    });
}

#[test]
fn te_belongs_to_the_connection_on_the_wire() {
    let mut out = Vec::new();
    let head = request(
        "GET",
        "/",
        &[("te", "gzip, trailers"), ("te", "trailers"), ("a", "b")],
    );
    encode::request(&mut out, &head, true).unwrap();
    assert_eq!(
        out.escape_ascii().to_string(),
        b"GET / HTTP/1.1\r\nhost: a.test\r\na: b\r\nte: trailers\r\nconnection: te\r\n\r\n"
            .escape_ascii()
            .to_string()
    );
}
