//! The admin page: what Envoy answers under the same paths, in the same words.
//!
//! `GET` never changes anything. What changes something wants `POST`, and not from a browser's page of another
//! origin. Answers are complete before they are sent, connections are few and short: a slow reader costs one of
//! them, not the proxy.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::config::view::View;
use crate::logging;
use crate::options::Options;
use crate::stats::Registry;

mod query;

mod config_dump;

mod clusters;

mod pages;

pub use query::Query;

/// Connections at once; arbitrary.
const MAX_CONNECTIONS: usize = 64;

/// A connection is closed after this, whatever it does; arbitrary, longer than any scrape.
const LONGEST_CONNECTION: Duration = Duration::from_secs(120);

/// How far the proxy is. Envoy's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Waiting for configuration.
    Initializing,
    /// Serving.
    Live,
    /// Finishing what it has.
    Draining,
}

/// What the admin page asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End now.
    Quit,
    /// Close listeners; connections that are open may finish what they do.
    Drain {
        /// Leave those that do not stand before the workload.
        inbound_only: bool,
    },
    /// Open log files again.
    ReopenLogs,
}

/// What the pages show.
pub struct Shared {
    /// The command line.
    pub options: Arc<Options>,
    /// When the process began.
    pub started: (Instant, SystemTime),
    /// All metrics.
    pub registry: Arc<Registry>,
    /// How far the proxy is.
    pub life: watch::Receiver<Life>,
    /// `false` after `/healthcheck/fail`.
    pub healthy: AtomicBool,
    /// Asks for a copy of the configuration.
    pub views: mpsc::Sender<oneshot::Sender<View>>,
    /// The addresses that are bound, by listener.
    pub listeners: Mutex<BTreeMap<String, SocketAddr>>,
    /// The log, when this process has one of ours.
    pub log: Option<logging::Control>,
    /// Where orders go.
    pub orders: mpsc::Sender<Order>,
}

impl Shared {
    /// How far the proxy is, as far as others should know: failing health checks count as draining.
    pub fn visible_life(&self) -> Life {
        match *self.life.borrow() {
            Life::Live if !self.healthy.load(Ordering::Relaxed) => Life::Draining,
            life => life,
        }
    }

    /// The addresses that are bound, by listener.
    pub fn bound(&self) -> BTreeMap<String, SocketAddr> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn view(&self) -> Option<View> {
        let (ask, answer) = oneshot::channel();
        self.views.send(ask).await.ok()?;
        answer.await.ok()
    }
}

/// An answer.
pub(crate) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Reply {
    pub(crate) fn text(body: impl Into<String>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "text/plain; charset=UTF-8",
            body: body.into(),
        }
    }

    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self {
            content_type: "application/json",
            ..Self::text(format!("{body:#}\n"))
        }
    }

    pub(crate) fn refuse(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            ..Self::text(body)
        }
    }

    pub(crate) fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }
}

/// Serves until `stop` resolves.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit,
            () = &mut stop => return,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => return,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((socket, _)) => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    // A client that breaks off or is too slow is not our problem.
                    let _ = tokio::time::timeout(LONGEST_CONNECTION, connection(socket, shared)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(code = "admin_accept", %error, "the admin page cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(socket: tokio::net::TcpStream, shared: Arc<Shared>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(respond(&request, &shared).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(socket), service)
        .await
}

async fn respond(request: &Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let reply = match refusal(request) {
        Some(reply) => reply,
        None => {
            let query = Query::parse(request.uri().query().unwrap_or_default());
            pages::answer(request.uri().path(), &query, shared).await
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Why a request is not answered at all.
fn refusal(request: &Request<Incoming>) -> Option<Reply> {
    let path = request.uri().path();
    if request.method() != Method::GET && request.method() != Method::POST && request.method() != Method::HEAD
    {
        return Some(Reply::refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method Not Allowed\n",
        ));
    }
    if !pages::changes(path) {
        return None;
    }
    if request.method() != Method::POST {
        let text = format!("Method {} not allowed, POST required.\n", request.method());
        return Some(Reply::refuse(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    let headers = request.headers();
    let foreign =
        headers.contains_key(ORIGIN) || headers.get("sec-fetch-site").is_some_and(|site| site != "none");
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    (foreign || !is_local_name(host)).then(|| {
        let text =
            "changes are not taken from web pages: ask by IP address or as localhost, without an Origin\n";
        Reply::refuse(StatusCode::FORBIDDEN, text)
    })
}

/// An IP address or `localhost`: a name could have been pointed here by somebody else (DNS rebinding).
fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
