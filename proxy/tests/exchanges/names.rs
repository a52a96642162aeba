//! Endpoints by name, and how long connections to them are kept.

use std::time::{Duration, Instant};

use http::Version;
use leno_model::cluster::{Cluster, Discovery, DnsFamily, UpstreamProtocol};
use leno_model::endpoint::{Endpoint, Host, LoadAssignment, LocalityEndpoints};
use leno_model::route::{RetryOn, RouteAction};
use leno_proxy::stats::snapshot::Value;

use super::peers::{Client, Upstream, collect};
use super::proxy::{Proxy, cluster, forward, retrying};

/// A cluster with `localhost` as its endpoint.
fn named(
    port: u16,
    discovery: fn(std::sync::Arc<LoadAssignment>) -> Discovery,
    family: DnsFamily,
) -> Cluster {
    let host = Host::Name {
        name: "localhost".to_owned(),
        port,
    };
    let given = LoadAssignment {
        cluster: "c".to_owned(),
        localities: vec![LocalityEndpoints {
            endpoints: vec![Endpoint::at(host)],
            ..LocalityEndpoints::default()
        }],
    };
    Cluster {
        dns_family: family,
        ..Cluster::new("c", discovery(given.into()))
    }
}

#[tokio::test]
async fn names_are_looked_up_in_the_family_that_is_asked_for() {
    // It listens on IPv4 only.
    let upstream = Upstream::start("u").await;
    for discovery in [Discovery::StrictDns as fn(_) -> _, Discovery::LogicalDns] {
        for (family, status) in [
            (DnsFamily::V4Only, 200),
            (DnsFamily::V4Preferred, 200),
            (DnsFamily::V6Only, 503),
        ] {
            let clusters = vec![named(upstream.address.port(), discovery, family)];
            let proxy = Proxy::start(clusters, vec![forward("/", "c")]).await;
            let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
            let answer = client.get("/hello").await;
            assert_eq!(answer.status(), status, "{family:?}");
            collect(answer).await;
        }
    }
}

#[tokio::test]
async fn a_connection_serves_only_so_many_requests() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let upstream = Upstream::start("u").await;
        let limited = Cluster {
            max_requests_per_connection: Some(2),
            ..cluster("c", protocol, &[upstream.address])
        };
        let proxy = Proxy::start(vec![limited], vec![forward("/", "c")]).await;
        let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
        for _ in 0..5 {
            let answer = client.get("/hello").await;
            assert_eq!(answer.status(), 200);
            collect(answer).await;
        }
        assert_eq!(upstream.connections(), 3, "{protocol:?}");
    }
}

#[tokio::test]
async fn idle_connections_are_closed_after_a_while() {
    let upstream = Upstream::start("u").await;
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let brief = Cluster {
            idle_timeout: Some(Duration::from_millis(200)),
            ..cluster("c", protocol, &[upstream.address])
        };
        let proxy = Proxy::start(vec![brief], vec![forward("/", "c")]).await;
        let active = || {
            let samples = proxy.registry.snapshot(Instant::now());
            let mut values = samples.iter().filter_map(|sample| match sample.value {
                Value::Gauge { value, .. } if sample.name.dotted == "cluster.c.upstream_cx_active" => {
                    Some(value)
                }
                _ => None,
            });
            values.next().unwrap()
        };
        let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
        collect(client.get("/hello").await).await;
        let begun = Instant::now();
        assert_eq!(active(), 1, "{protocol:?}");
        while active() > 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{protocol:?}: it stays"
            );
            tokio::task::yield_now().await;
        }
        assert!(
            begun.elapsed() >= Duration::from_millis(100),
            "{protocol:?}: too early"
        );
        assert_eq!(client.get("/hello").await.status(), 200);
    }
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_followed_by_another() {
    let upstream = Upstream::start("u").await;
    let on = RetryOn {
        gateway_error: true,
        ..RetryOn::default()
    };
    let patient = |path: &str, retries: u32| {
        let mut route = retrying(path, "c", on, retries);
        if let RouteAction::Forward(forward) = &mut route.action {
            let policy = forward.retry.as_mut().unwrap();
            policy.per_try_timeout = Some(Duration::from_millis(100));
        }
        route
    };
    let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])];
    let proxy = Proxy::start(clusters, vec![patient("/late", 3), patient("/never", 1)]).await;
    let mut client = Client::connect(proxy.address, Version::HTTP_2).await;
    let begun = Instant::now();
    let answer = client.get("/late").await;
    assert_eq!(
        (answer.status().as_u16(), collect(answer).await.as_str()),
        (200, "at last")
    );
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert_eq!(upstream.requests("/late"), 2);
    let answer = client.get("/never").await;
    assert_eq!(
        (answer.status().as_u16(), collect(answer).await.as_str()),
        (504, "upstream request timeout")
    );
    assert_eq!(upstream.requests("/never"), 2);
}
