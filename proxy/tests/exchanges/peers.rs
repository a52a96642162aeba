//! The other ends: an upstream that counts what it sees, and a client of either version.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// Takes both versions of HTTP.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<BTreeMap<String, usize>>,
}

impl Upstream {
    pub(crate) async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let counted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::Relaxed);
                let counted = Arc::clone(&counted);
                let service = service_fn(move |request| answer(name, Arc::clone(&counted), request));
                tokio::spawn(async move {
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // The proxy may close connections as it likes.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, seen, task }
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self, path: &str) -> usize {
        self.seen.requests.lock().unwrap().get(path).copied().unwrap_or(0)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    name: &'static str,
    seen: Arc<Seen>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Infallible> {
    let path = request.uri().path().to_owned();
    let times = {
        let mut requests = seen.requests.lock().unwrap();
        let times = requests.entry(path.clone()).or_default();
        *times += 1;
        *times
    };
    let full = |text: &'static str| {
        Full::new(Bytes::from_static(text.as_bytes()))
            .map_err(|never| match never {})
            .boxed()
    };
    let response = Response::builder().header("x-from", name);
    let response = match path.as_str() {
        "/hello" => response.body(full("hello")),
        "/echo" if request.headers().contains_key("content-type") => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            response.body(
                request
                    .into_body()
                    .with_trailers(async { Some(Ok(trailers)) })
                    .boxed(),
            )
        }
        "/echo" => response.body(request.into_body().boxed()),
        "/big" => {
            let body = Full::new(Bytes::from(vec![7; 8 << 20]));
            response.body(body.map_err(|never| match never {}).boxed())
        }
        "/fail-twice" if times <= 2 => response.status(503).body(full("not yet")),
        "/fail-twice" => response.body(request.into_body().boxed()),
        "/fail-often" => response.status(503).body(full("never")),
        // What was announced, what came, and how often it was tried.
        "/lengths" => {
            let field = |name: &str| {
                let value = request.headers().get(name);
                value.map_or("none", |value| value.to_str().unwrap()).to_owned()
            };
            let (announced, attempt) = (field("content-length"), field("x-envoy-attempt-count"));
            let body = match request.into_body().collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => Bytes::from_static(b"(cut off)"),
            };
            let text = format!("{announced} {} {attempt}", body.escape_ascii());
            response.body(
                Full::new(Bytes::from(text))
                    .map_err(|never| match never {})
                    .boxed(),
            )
        }
        "/late" if times > 1 => response.body(full("at last")),
        "/never" | "/late" => std::future::pending().await,
        _ => response.body(full("other")),
    };
    Ok(response.unwrap())
}

/// One connection to a proxy.
pub(crate) struct Client {
    sender: Sender,
    connection: JoinHandle<()>,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, version: Version) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        if version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            let connection = tokio::spawn(async move { connection.await.unwrap_or(()) });
            Self {
                sender: Sender::Http2(sender),
                connection,
            }
        } else {
            let (sender, connection) = http1::handshake(stream).await.unwrap();
            let connection = tokio::spawn(async move { connection.await.unwrap_or(()) });
            Self {
                sender: Sender::Http1(sender),
                connection,
            }
        }
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.unwrap();
                let (mut parts, body) = request.into_parts();
                let authority = parts
                    .uri
                    .authority()
                    .map(|authority| authority.to_string())
                    .unwrap_or_default();
                parts.headers.insert("host", authority.parse().unwrap());
                parts.uri = parts.uri.path_and_query().unwrap().to_string().parse().unwrap();
                sender.send_request(Request::from_parts(parts, body)).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await
            }
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response<Incoming> {
        let body = http_body_util::Empty::new().boxed();
        self.send(Request::get(format!("http://test{path}")).body(body).unwrap())
            .await
    }

    pub(crate) async fn post(&mut self, path: &str, bytes: Vec<u8>) -> Response<Incoming> {
        let body = Full::new(Bytes::from(bytes)).boxed();
        self.send(Request::post(format!("http://test{path}")).body(body).unwrap())
            .await
    }

    /// Waits until the proxy has closed the connection.
    pub(crate) async fn ended(&mut self) {
        (&mut self.connection).await.unwrap();
    }
}

/// The whole body as text.
pub(crate) async fn collect(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
