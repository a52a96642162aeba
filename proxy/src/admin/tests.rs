//! The page over a real connection.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use leno_model::bootstrap::Bootstrap;
use leno_model::cluster::{Cluster, Discovery};
use leno_model::endpoint::{Endpoint, Host, LoadAssignment, LocalityEndpoints};
use leno_xds::resource::{Kind, Resource};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Life, Order, Shared, is_local_name, serve};
use crate::config::store::known::Refusal;
use crate::config::view::{Entry, State, View};
use crate::options::Options;
use crate::stats::Registry;

struct Bench {
    address: std::net::SocketAddr,
    life: watch::Sender<Life>,
    orders: mpsc::Receiver<Order>,
    registry: Arc<Registry>,
    _stop: oneshot::Sender<()>,
}

impl Bench {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (life, seen) = watch::channel(Life::Initializing);
        let (views, mut asked) = mpsc::channel::<oneshot::Sender<View>>(1);
        let (give, orders) = mpsc::channel(4);
        let registry = Registry::new();
        let shared = Shared {
            options: Arc::new(Options::default()),
            started: (Instant::now(), SystemTime::UNIX_EPOCH),
            registry: Arc::clone(&registry),
            life: seen,
            healthy: AtomicBool::new(true),
            views,
            listeners: Mutex::new([("in".to_owned(), "127.0.0.1:81".parse().unwrap())].into()),
            log: None,
            orders: give,
        };
        tokio::spawn(async move {
            while let Some(asked) = asked.recv().await {
                let _ = asked.send(view());
            }
        });
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, Arc::new(shared), async {
            let _ = stopped.await;
        }));
        Self {
            address,
            life,
            orders,
            registry,
            _stop: stop,
        }
    }

    /// Status and body.
    async fn ask(&self, method: &str, path: &str, fields: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let fields = if fields.contains("host:") {
            fields.to_owned()
        } else {
            format!("host: 127.0.0.1\r\n{fields}")
        };
        let request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{fields}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "").await
    }
}

/// A cluster that serves although a later one was refused, and a filter that never was there.
fn view() -> View {
    let endpoint = Endpoint::at(Host::Socket("127.0.0.1:80".parse().unwrap()));
    let endpoints = LoadAssignment {
        cluster: "web".to_owned(),
        localities: vec![LocalityEndpoints {
            endpoints: vec![endpoint],
            ..LocalityEndpoints::default()
        }],
    };
    let cluster = Cluster::new("web", Discovery::Static(Arc::new(endpoints)));
    let refusal = |reason: &str| Refusal {
        reason: reason.to_owned(),
        version: "v2".to_owned(),
        at: SystemTime::UNIX_EPOCH,
    };
    let web = Entry {
        kind: Kind::Cluster,
        name: "web".to_owned(),
        is_static: false,
        active: Some(State {
            resource: Resource::Cluster(Arc::new(cluster)),
            version: "v1".to_owned(),
            at: SystemTime::UNIX_EPOCH,
        }),
        warming: None,
        refusal: Some(refusal("lb_policy: not supported")),
    };
    let filter = Entry {
        kind: Kind::Filter,
        name: "auth".to_owned(),
        is_static: false,
        active: None,
        warming: None,
        refusal: Some(refusal("the guest traps")),
    };
    View {
        bootstrap: Arc::new(Bootstrap::default()),
        bootstrap_at: SystemTime::UNIX_EPOCH,
        entries: vec![web, filter],
        versions: vec![(Kind::Cluster, "v1".to_owned())],
    }
}

#[tokio::test]
async fn ready_follows_the_life_and_the_health_check() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/ready").await, (503, "INITIALIZING\n".to_owned()));
    bench.life.send_replace(Life::Live);
    assert_eq!(bench.get("/ready").await, (200, "LIVE\n".to_owned()));
    assert_eq!(
        bench.ask("POST", "/healthcheck/fail", "").await,
        (200, "OK\n".to_owned())
    );
    assert_eq!(bench.get("/ready").await, (503, "DRAINING\n".to_owned()));
    bench.ask("POST", "/healthcheck/ok", "").await;
    assert_eq!(bench.get("/ready").await.0, 200);
}

#[tokio::test]
async fn changes_want_post_and_not_from_a_web_page() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.get("/quitquitquit").await.0, 405);
    assert_eq!(
        bench
            .ask("POST", "/quitquitquit", "origin: http://evil.example\r\n")
            .await
            .0,
        403
    );
    assert_eq!(
        bench
            .ask("POST", "/quitquitquit", "host: evil.example\r\n")
            .await
            .0,
        403
    );
    assert_eq!(bench.ask("DELETE", "/quitquitquit", "").await.0, 405);
    assert!(bench.orders.try_recv().is_err());
    assert_eq!(bench.ask("POST", "/drain_listeners?inboundonly", "").await.0, 200);
    assert_eq!(
        bench.orders.recv().await,
        Some(Order::Drain { inbound_only: true })
    );
}

#[tokio::test]
async fn stats_come_in_three_formats() {
    let bench = Bench::new().await;
    let counter = bench.registry.counter("cluster.web.upstream_rq_total", &[]);
    counter.add(3);
    let filtered = bench.get("/stats?filter=upstream_rq_total$&usedonly").await;
    assert_eq!(filtered, (200, "cluster.web.upstream_rq_total: 3\n".to_owned()));
    let page = bench.get("/stats/prometheus").await.1;
    assert!(
        page.contains("envoy_cluster_upstream_rq_total{envoy_cluster_name=\"web\"} 3\n"),
        "{page}"
    );
    assert!(page.contains("envoy_server_state{} 3\n"), "{page}");
    assert_eq!(
        bench
            .get("/stats?format=prometheus")
            .await
            .1
            .matches("# TYPE")
            .count(),
        page.matches("# TYPE").count()
    );
    let json: serde_json::Value = serde_json::from_str(&bench.get("/stats?format=json").await.1).unwrap();
    assert!(
        json["stats"]
            .as_array()
            .unwrap()
            .iter()
            .any(|stat| stat["value"] == 3)
    );
    assert_eq!(bench.get("/stats?filter=%5B").await.0, 400);
    assert_eq!(bench.get("/stats?format=xml").await.0, 400);
}

#[tokio::test]
async fn the_dump_shows_what_serves_and_what_was_refused() {
    let bench = Bench::new().await;
    let (status, body) = bench.get("/config_dump").await;
    let dump: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    let of = |kind: &str| {
        let configs = dump["configs"].as_array().unwrap();
        configs
            .iter()
            .find(|config| config["@type"].as_str().unwrap().ends_with(kind))
            .unwrap()
    };
    let cluster = &of("ClustersConfigDump")["dynamic_active_clusters"][0];
    assert_eq!(cluster["version_info"], "v1");
    assert_eq!(cluster["cluster"]["name"], "web");
    assert_eq!(cluster["last_updated"], "1970-01-01T00:00:00.000Z");
    assert_eq!(cluster["error_state"]["details"], "lb_policy: not supported");
    assert_eq!(
        of("EcdsConfigDump")["ecds_filters"][0]["error_state"]["details"],
        "the guest traps"
    );
    let one = bench
        .get("/config_dump?resource=ecds_filters&name_regex=^a")
        .await
        .1;
    assert!(
        one.contains("the guest traps") && !one.contains("ClustersConfigDump"),
        "{one}"
    );
    assert_eq!(bench.get("/config_dump?resource=nothing").await.0, 404);
    assert_eq!(bench.get("/config_dump?mask=x").await.0, 400);
}

#[tokio::test]
async fn other_pages_have_envoys_shapes() {
    let bench = Bench::new().await;
    let clusters = bench.get("/clusters").await.1;
    for line in [
        "web::default_priority::max_requests::1024\n",
        "web::127.0.0.1:80::health_flags::healthy\n",
    ] {
        assert!(clusters.contains(line), "{clusters}");
    }
    assert!(
        bench
            .get("/clusters?format=json")
            .await
            .1
            .contains("\"port_value\": 80")
    );
    assert_eq!(bench.get("/listeners").await.1, "in::127.0.0.1:81\n");
    assert!(
        bench
            .get("/server_info")
            .await
            .1
            .contains("\"state\": \"INITIALIZING\"")
    );
    let (status, body) = bench.get("/nothing").await;
    assert_eq!(status, 404);
    assert!(body.starts_with("invalid path. admin commands are:\n") && body.contains("/quitquitquit (POST)"));
}

#[test]
fn names_that_anybody_can_point_here_are_not_local() {
    for host in ["127.0.0.1:15000", "localhost:1", "[::1]:15000", "10.0.0.1", ""] {
        assert!(is_local_name(host), "{host}");
    }
    for host in ["evil.example:15000", "127.0.0.1.nip.io", "localhost.evil.example"] {
        assert!(!is_local_name(host), "{host}");
    }
}
