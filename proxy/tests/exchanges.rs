//! Exchanges through a proxy in this process, with hyper as client and as upstream.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod exchanges {
    mod answers;
    mod framing;
    mod heads;
    mod logs;
    mod names;
    mod overrides;
    pub(crate) mod peers;
    pub(crate) mod proxy;
    pub(crate) mod stage;
    mod tls;
}

use std::time::{Duration, Instant};

use bytes::Bytes;
use exchanges::peers::{Client, Upstream, collect};
use exchanges::proxy::{Proxy, cluster, forward, refused_address, retrying};
use exchanges::stage::STAGE;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use leno_model::cluster::{Balance, UpstreamProtocol};
use leno_model::route::{
    DirectResponse, HeaderEdits, PathRewrite, Redirect, RedirectPath, RetryOn, RouteAction, Target,
    WeightedCluster,
};

type Version = http::Version;

/// Asks for `path`, and returns status, body and `x-from`.
async fn ask(client: &mut Client, path: &str) -> (StatusCode, String, String) {
    let response = client.get(path).await;
    let from = response
        .headers()
        .get("x-from")
        .map(|value| value.to_str().unwrap().to_owned());
    let status = response.status();
    (status, collect(response).await, from.unwrap_or_default())
}

#[tokio::test]
async fn every_version_reaches_every_version() {
    let upstream = Upstream::start("u").await;
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let proxy = Proxy::start(
            vec![cluster("c", protocol, &[upstream.address])],
            vec![forward("/", "c")],
        )
        .await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = Client::connect(proxy.address, version).await;
            for round in 0..3 {
                let (status, body, from) = ask(&mut client, "/hello").await;
                let got = (status.as_u16(), body.as_str(), from.as_str());
                assert_eq!(
                    got,
                    (200, "hello", "u"),
                    "{version:?} to {protocol:?}, round {round}"
                );
            }
            let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
            let response = client.post("/echo", sent.clone()).await;
            let echoed = response.into_body().collect().await.unwrap().to_bytes();
            assert!(
                echoed == sent,
                "{version:?} to {protocol:?}: {} bytes",
                echoed.len()
            );
        }
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let upstream = Upstream::start("u").await;
    let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])];
    let proxy = Proxy::start(clusters, vec![forward("/", "c")]).await;
    let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
    for _ in 0..20 {
        assert_eq!(ask(&mut client, "/hello").await.0, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn routes_answer_redirect_and_rewrite() {
    let upstream = Upstream::start("u").await;
    let mut direct = forward("/direct", "");
    direct.action = RouteAction::Direct(DirectResponse {
        status: 418,
        body: b"short and stout".to_vec(),
    });
    let mut redirect = forward("/old", "");
    redirect.action = RouteAction::Redirect(Redirect {
        status: 301,
        scheme: None,
        host: None,
        port: None,
        path: Some(RedirectPath::Prefix("/new".to_owned())),
        strip_query: false,
    });
    let mut rewrite = forward("/prefix/", "c");
    if let RouteAction::Forward(forward) = &mut rewrite.action {
        forward.path_rewrite = Some(PathRewrite::Prefix("/".to_owned()));
    }
    let routes = vec![
        direct,
        redirect,
        rewrite,
        forward("/missing", "nobody"),
        forward("/hello", "c"),
    ];
    let proxy = Proxy::start(
        vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])],
        routes,
    )
    .await;
    let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
    assert_eq!(ask(&mut client, "/direct").await.1, "short and stout");
    let moved = client.get("/old/x?y").await;
    assert_eq!(moved.status(), 301);
    assert_eq!(moved.headers()["location"], "http://test/new/x?y");
    collect(moved).await;
    assert_eq!(ask(&mut client, "/prefix/hello").await.1, "hello");
    assert_eq!(ask(&mut client, "/nowhere").await.0, 404);
    assert_eq!(ask(&mut client, "/missing").await.0, 503);
    let seen = client.get("/hello").await;
    assert_eq!(seen.headers()["server"], "leno");
    assert!(
        seen.headers().contains_key("date") && seen.headers().contains_key("x-envoy-upstream-service-time")
    );
}

#[tokio::test]
async fn weights_split_traffic() {
    let (one, two) = (Upstream::start("one").await, Upstream::start("two").await);
    let weighted = |name: &str, weight| WeightedCluster {
        name: name.to_owned(),
        weight,
        edits: HeaderEdits::default(),
    };
    let mut split = forward("/", "");
    if let RouteAction::Forward(forward) = &mut split.action {
        forward.target = Target::Weighted(vec![weighted("one", 80), weighted("two", 20)]);
    }
    let http1 = UpstreamProtocol::Http1;
    let clusters = vec![
        cluster("one", http1, &[one.address]),
        cluster("two", http1, &[two.address]),
    ];
    let proxy = Proxy::start(clusters, vec![split]).await;
    let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
    let mut second = 0;
    for _ in 0..400 {
        second += u32::from(ask(&mut client, "/hello").await.2 == "two");
    }
    // Five standard deviations around 80.
    assert!((40..=120).contains(&second), "{second} of 400");
}

#[tokio::test]
async fn failures_are_tried_again_as_the_policy_says() {
    let upstream = Upstream::start("u").await;
    let mut dead_first = cluster(
        "dead-first",
        UpstreamProtocol::Http1,
        &[refused_address(), upstream.address],
    );
    dead_first.balance = Balance::RoundRobin;
    let clusters = vec![
        cluster("c", UpstreamProtocol::Http1, &[upstream.address]),
        dead_first,
    ];
    let on_status = RetryOn {
        gateway_error: true,
        ..RetryOn::default()
    };
    let on_connect = RetryOn {
        connect_failure: true,
        ..RetryOn::default()
    };
    let routes = vec![
        retrying("/fail-twice", "c", on_status, 3),
        retrying("/fail-often", "c", on_status, 1),
        retrying("/hello", "dead-first", on_connect, 4),
    ];
    let proxy = Proxy::start(clusters, routes).await;
    let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
    let response = client.post("/fail-twice", b"again".to_vec()).await;
    assert_eq!(
        (response.status().as_u16(), collect(response).await.as_str()),
        (200, "again")
    );
    assert_eq!(upstream.requests("/fail-twice"), 3);
    assert_eq!(ask(&mut client, "/fail-often").await.0, 503);
    assert_eq!(upstream.requests("/fail-often"), 2);
    for _ in 0..6 {
        assert_eq!(ask(&mut client, "/hello").await.0, 200);
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_a_503_that_says_why() {
    let clusters = vec![
        cluster("refused", UpstreamProtocol::Http1, &[refused_address()]),
        cluster("empty", UpstreamProtocol::Http1, &[]),
    ];
    let proxy = Proxy::start(
        clusters,
        vec![forward("/empty", "empty"), forward("/", "refused")],
    )
    .await;
    let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
    let (status, body, _) = ask(&mut client, "/").await;
    let expected = "upstream connect error or disconnect/reset before headers. reset reason: remote connection \
                    failure";
    assert_eq!((status.as_u16(), body.as_str()), (503, expected));
    let (status, body, _) = ask(&mut client, "/empty").await;
    assert_eq!((status.as_u16(), body.as_str()), (503, "no healthy upstream"));
    let counted = |cluster: &str, what: &str| {
        let tags = [("envoy.cluster_name", cluster)];
        let name = format!("cluster.{cluster}.{what}");
        proxy.registry.counter(&name, &tags).total()
    };
    for name in ["refused", "empty"] {
        assert_eq!(counted(name, "upstream_rq_5xx"), 1, "{name}");
        assert_eq!(
            counted(name, "upstream_rq_total"),
            0,
            "nothing was sent to {name}"
        );
    }
}

#[tokio::test]
async fn a_route_that_takes_too_long_is_a_504() {
    let upstream = Upstream::start("u").await;
    let mut slow = forward("/never", "c");
    if let RouteAction::Forward(forward) = &mut slow.action {
        forward.timeout = Some(Duration::from_millis(100));
    }
    let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])];
    let proxy = Proxy::start(clusters, vec![slow]).await;
    let mut client = Client::connect(proxy.address, Version::HTTP_2).await;
    let begun = Instant::now();
    let (status, body, _) = ask(&mut client, "/never").await;
    assert_eq!(
        (status.as_u16(), body.as_str()),
        (504, "upstream request timeout")
    );
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn both_directions_of_a_stream_move_at_the_same_time() {
    let upstream = Upstream::start("u").await;
    let clusters = vec![cluster("c", UpstreamProtocol::Http2, &[upstream.address])];
    let proxy = Proxy::start(clusters, vec![forward("/", "c")]).await;
    let mut client = Client::connect(proxy.address, Version::HTTP_2).await;
    let (send, receive) = tokio::sync::mpsc::channel::<Frame<Bytes>>(1);
    let frames = tokio_stream_of(receive);
    let request = Request::post("http://test/echo").header("content-type", "application/grpc");
    let request = request.body(StreamBody::new(frames).boxed()).unwrap();
    let mut response = client.send(request).await;
    assert_eq!(response.status(), 200);
    for round in 0..5_u8 {
        send.send(Frame::data(Bytes::from(vec![round; 10])))
            .await
            .unwrap();
        // The answer to this message comes before the next one is sent.
        let echoed = response
            .body_mut()
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap();
        assert_eq!(echoed, vec![round; 10]);
    }
    drop(send);
    let last = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap()["grpc-status"], "0");
    assert!(response.body_mut().frame().await.is_none());
}

fn tokio_stream_of(
    receive: tokio::sync::mpsc::Receiver<Frame<Bytes>>,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, std::convert::Infallible>> + Send + Sync {
    futures_util::stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|frame| (Ok(frame), receive))
    })
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let upstream = Upstream::start("u").await;
    let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])];
    let proxy = Proxy::start(clusters, vec![forward("/", "c")]).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut client = Client::connect(proxy.address, version).await;
        let mut response = client.get("/big").await;
        let mut length = 0;
        while let Some(frame) = response.body_mut().frame().await {
            length += frame.unwrap().into_data().map_or(0, |data| data.len());
            tokio::task::yield_now().await;
        }
        assert_eq!(length, 8 << 20, "{version:?}");
    }
}

#[tokio::test]
async fn a_drain_ends_connections_after_their_exchanges() {
    let upstream = Upstream::start("u").await;
    let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])];
    let proxy = Proxy::start(clusters, vec![forward("/", "c")]).await;
    let mut client = Client::connect(proxy.address, Version::HTTP_2).await;
    let mut idle = Client::connect(proxy.address, Version::HTTP_11).await;
    assert_eq!(ask(&mut idle, "/hello").await.0, 200);
    let (send, receive) = tokio::sync::mpsc::channel::<Frame<Bytes>>(1);
    let request = Request::post("http://test/echo").body(StreamBody::new(tokio_stream_of(receive)).boxed());
    let mut response = client.send(request.unwrap()).await;
    let drained = proxy.workers.drain();
    let exchange = async {
        // The idle connection ends at once, the busy one goes on.
        idle.ended().await;
        send.send(Frame::data(Bytes::from_static(b"late"))).await.unwrap();
        let echoed = response
            .body_mut()
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap();
        assert_eq!(echoed, "late");
        drop(send);
        while response.body_mut().frame().await.is_some() {}
        client.ended().await;
    };
    let both = async { tokio::join!(drained, exchange) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("the drain ends");
    assert!(tokio::net::TcpStream::connect(proxy.address).await.is_err());
}

#[tokio::test]
async fn an_update_changes_open_connections_and_keeps_pools() {
    let upstream = Upstream::start("u").await;
    let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])];
    let mut proxy = Proxy::start(clusters.clone(), vec![forward("/hello", "c")]).await;
    let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
    assert_eq!(ask(&mut client, "/hello").await.0, 200);
    assert_eq!(ask(&mut client, "/count").await.0, 404);
    proxy.update(clusters, vec![forward("/", "c")]).await;
    assert_eq!(ask(&mut client, "/count").await.0, 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_listener_that_cannot_move_serves_where_it_was() {
    let upstream = Upstream::start("u").await;
    let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])];
    let mut proxy = Proxy::start(clusters.clone(), vec![forward("/", "c")]).await;
    let old = proxy.address;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = taken.local_addr().unwrap();
    let routes = || vec![forward("/hello", "c")];
    let refusal = proxy.move_to(wanted, clusters.clone(), routes()).await;
    assert_eq!(
        refusal,
        Err(format!(
            "main.address: cannot listen on {wanted}: Address already in use (os error 98)"
        ))
    );
    assert_eq!(proxy.address, old);
    let mut client = Client::connect(old, Version::HTTP_11).await;
    assert_eq!(ask(&mut client, "/count").await.0, 200, "with its old routes too");
    drop(taken);
    assert_eq!(proxy.move_to(wanted, clusters, routes()).await, Ok(()));
    assert_eq!(proxy.address, wanted);
    let mut client = Client::connect(wanted, Version::HTTP_11).await;
    assert_eq!(ask(&mut client, "/count").await.0, 404);
    assert_eq!(ask(&mut client, "/hello").await.0, 200);
}

#[tokio::test]
async fn a_filter_sees_changes_and_answers() {
    let upstream = Upstream::start("u").await;
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let clusters = vec![cluster("c", protocol, &[upstream.address])];
        let proxy = Proxy::with_filter(clusters, vec![forward("/", "c")], STAGE).await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = Client::connect(proxy.address, version).await;
            let denied = client.get("/denied").await;
            assert_eq!(
                (denied.status().as_u16(), &denied.headers()["x-stage"]),
                (401, &"seen".parse().unwrap())
            );
            assert_eq!(collect(denied).await, "no token");
            let response = client.post("/echo", b"small".to_vec()).await;
            assert_eq!(response.headers()["x-stage"], "seen");
            assert_eq!(collect(response).await, "SMALL, REWRITTEN");
        }
    }
    assert_eq!(upstream.requests("/denied"), 0);
}
