//! Filters are swapped again and again in a running proxy, under constant load and with a thousand open streams:
//! no request fails, no stream is closed, and memory does not grow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use leno_tests::client::{Ask, client};
use leno_tests::mesh::{ControlPlane, replace};
use leno_tests::proxy::{Kind, Proxy};
use leno_tests::registry::{another_version, push};
use leno_tests::wait::{PATIENCE, free_address, until};
use leno_tests::{peers, upstream};

/// How often the filter is replaced, unless `LENO_TEST_SWAPS` says otherwise.
const SWAPS: usize = 200;

/// Over so many connections.
const CONNECTIONS: usize = 10;

/// That stay open through all swaps.
const STREAMS: usize = 1000;

/// Swaps after which memory is looked at for the first time: pools and code caches have their size by then.
const WARM: usize = 40;

/// Growth of resident memory that is taken for noise: of what is there when warm. The streams alone hold more.
const NOISE_PERCENT: u64 = 15;

const BOOTSTRAP: &str = include_str!("../../examples/gateway/bootstrap.yaml");

const DOCUMENT: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: front, namespace: demo }
spec:
  selector: { app: front }
  servers:
  - port: { number: 18080, name: http, protocol: HTTP }
    bind: 127.0.0.1
    hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: demo }
spec:
  hosts: ["*"]
  gateways: [front]
  http:
  - route:
    - destination: { host: shop.demo }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: shop, namespace: demo }
spec:
  hosts: [shop.demo]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - { number: 80, name: http2, protocol: HTTP2 }
  endpoints:
  - { address: 127.0.0.1, ports: { http2: 18081 } }
"#;

/// The filter as it is after `swap` swaps: every swap is another configuration, every second one another module.
fn plugin(registry: SocketAddr, swap: usize) -> String {
    let tag = if swap.is_multiple_of(2) { "even" } else { "odd" };
    format!(
        "apiVersion: extensions.istio.io/v1alpha1\n\
         kind: WasmPlugin\n\
         metadata: {{ name: header-rewrite, namespace: demo }}\n\
         spec:\n  url: oci://{registry}/filters/header-rewrite:{tag}\n  \
           pluginConfig:\n    response:\n    - set: {{ name: x-swap, value: \"{swap}\" }}\n"
    )
}

/// Requests one after another, until told to stop. Every one must succeed.
async fn load(gateway: SocketAddr, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Result<(), String> {
    let client = client().map_err(|error| error.to_string())?;
    let ask = Ask::post("/load", vec![b'x'; 500]);
    while !stop.load(Ordering::Relaxed) {
        let answer = ask
            .send_with(&client, gateway)
            .await
            .map_err(|error| format!("{error:#}"))?;
        if answer.status != 200 || answer.upstream()["length"] != 500 || answer.header("x-swap").is_empty() {
            return Err(format!("{answer:?}"));
        }
        count.fetch_add(1, Ordering::Relaxed);
        // Constant load, not all that the machine can do: the swaps need it too.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// A stream whose request has begun and does not end yet.
struct Open {
    send: SendStream<Bytes>,
    receive: RecvStream,
}

impl Open {
    async fn start(connection: &mut SendRequest<Bytes>) -> Self {
        let mut ready = connection.clone().ready().await.expect("room for a stream");
        let request = http::Request::post("http://shop.demo/echo")
            .body(())
            .expect("a request");
        let (response, send): (ResponseFuture, _) = ready.send_request(request, false).expect("a stream");
        let mut open = Self::say_first(send, response).await;
        open.hears(b"first").await;
        open
    }

    async fn say_first(mut send: SendStream<Bytes>, response: ResponseFuture) -> Self {
        send.send_data(Bytes::from_static(b"first"), false)
            .expect("the stream is open");
        let response = response.await.expect("a response");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-swap"], "0");
        Self {
            send,
            receive: response.into_body(),
        }
    }

    async fn hears(&mut self, want: &[u8]) {
        let mut heard = Vec::new();
        while heard.len() < want.len() {
            let data = self
                .receive
                .data()
                .await
                .expect("the stream is open")
                .expect("the stream is open");
            self.receive
                .flow_control()
                .release_capacity(data.len())
                .expect("what was received");
            heard.extend_from_slice(&data);
        }
        assert_eq!(heard, want);
    }

    async fn says(&mut self, word: &'static [u8], end: bool) {
        self.send
            .send_data(Bytes::from_static(word), end)
            .expect("the stream is open");
        self.hears(word).await;
    }

    async fn ends(mut self) {
        self.says(b"last", true).await;
        while let Some(data) = self.receive.data().await {
            assert!(data.expect("a clean end").is_empty(), "more than was sent");
        }
        assert!(self.receive.trailers().await.expect("a clean end").is_none());
    }
}

async fn open_streams(gateway: SocketAddr) -> Vec<Open> {
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..CONNECTIONS {
        let socket = tokio::net::TcpStream::connect(gateway)
            .await
            .expect("a connection");
        let (mut connection, driver) = h2::client::handshake(socket).await.expect("HTTP/2");
        // Its end shows at the streams.
        tokio::spawn(async move { drop(driver.await) });
        for _ in 0..STREAMS / CONNECTIONS {
            streams.push(Open::start(&mut connection).await);
        }
    }
    streams
}

/// Waits until a new connection is served by version `swap`.
async fn served(gateway: SocketAddr, swap: usize) {
    let want = swap.to_string();
    until(&format!("swap {swap} serves"), || async {
        let seen = Ask::get("/swapped")
            .send(gateway)
            .await
            .map_err(|error| format!("{error:#}"))?;
        let version = seen.header("x-swap");
        if version == want {
            Ok(())
        } else {
            Err(version.to_owned())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_over_many_swaps() {
    let swaps = std::env::var("LENO_TEST_SWAPS")
        .ok()
        .map_or(SWAPS, |text| text.parse().expect("LENO_TEST_SWAPS is a number"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shop = upstream::serve("shop").await;
    let control = ControlPlane::start(folder.path()).await;
    let (gateway, admin) = (free_address(), free_address());
    let ports = [
        ("18080", gateway),
        ("18081", shop),
        ("15010", control.xds),
        ("15000", admin),
    ];
    let module = peers::module_bytes("header-rewrite");
    for tag in ["even", "odd"] {
        let pushed = push(
            control.http,
            "filters/header-rewrite",
            tag,
            another_version(&module, tag),
            None,
        );
        pushed.await.expect("a push");
    }
    control.write("mesh.yaml", &replace(DOCUMENT, &ports));
    control.write("plugin.yaml", &plugin(control.http, 0));
    let mut proxy = Proxy::start(Kind::Leno, folder.path(), &replace(BOOTSTRAP, &ports), admin);
    proxy.ready().await;
    control.programmed(&["header-rewrite"]).await;
    served(gateway, 0).await;

    let streams = tokio::time::timeout(PATIENCE, open_streams(gateway))
        .await
        .expect("streams open in time");
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let loads: Vec<_> = (0..4)
        .map(|_| tokio::spawn(load(gateway, Arc::clone(&stop), Arc::clone(&count))))
        .collect();

    let (began, mut warm) = (Instant::now(), 0);
    for swap in 1..=swaps {
        control.write("plugin.yaml", &plugin(control.http, swap));
        served(gateway, swap).await;
        if swap == WARM.min(swaps / 2) {
            warm = proxy.process.resident_kib();
        }
    }
    let (took, end) = (began.elapsed(), proxy.process.resident_kib());
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        assert_eq!(load.await.expect("no panic"), Ok(()));
    }
    let requests = count.load(Ordering::Relaxed);
    eprintln!(
        "{swaps} swaps in {took:?}, {requests} requests beside them, {warm} KiB when warm, {end} KiB at the end"
    );
    assert!(requests > swaps as u64, "{requests} requests are no load");
    for stream in streams {
        tokio::time::timeout(PATIENCE, stream.ends())
            .await
            .expect("a stream ends in time");
    }
    assert!(
        end * 100 <= warm * (100 + NOISE_PERCENT),
        "memory grew from {warm} KiB to {end} KiB"
    );
}
