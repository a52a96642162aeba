//! A small server on our downstream side: answers with what it was asked and streams the body back.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::http::error::{Malformed, StreamError};
use crate::http::io::Io;
use crate::http::message::{Frame, ResponseHead};
use crate::http::server::{Accepted, Exchange, ServerConnection};
use crate::http::settings::ServerSettings;

/// Runs a test on a thread with local tasks, and fails it after ten seconds.
pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async {
        tokio::time::timeout(Duration::from_secs(10), test)
            .await
            .expect("the test is stuck")
    };
    LocalSet::new().block_on(&runtime, limited)
}

pub(super) fn settings() -> ServerSettings {
    ServerSettings {
        accept_http_10: true,
        h1_trailers: true,
        ..ServerSettings::new(&leno_model::http::HttpConnectionManager::default())
    }
}

pub(super) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(super) async fn connect(address: SocketAddr) -> Io {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Io::Tcp(stream)
}

/// Serves every connection with [`answer`].
pub(super) async fn start(settings: ServerSettings) -> SocketAddr {
    let (listener, address) = listen().await;
    let settings = Rc::new(settings);
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let connection = ServerConnection::new(Io::Tcp(stream), Rc::clone(&settings));
            drop(spawn_local(serve(connection)));
        }
    });
    address
}

/// Serves one connection as the proxy does; the refusals it saw.
pub(super) async fn serve(mut connection: ServerConnection) -> Vec<Malformed> {
    let mut refusals = Vec::new();
    let mut streams: Vec<JoinHandle<()>> = Vec::new();
    while let Ok(Some(accepted)) = connection.accept().await {
        match accepted {
            Accepted::Exchange(exchange) if connection.is_multiplexed() => {
                streams.push(spawn_local(async move { drop(answer(exchange).await) }));
            }
            Accepted::Exchange(exchange) => drop(answer(exchange).await),
            Accepted::Refusal(refusal) => {
                refusals.push(refusal.reason);
                if let Some(mut response) = refusal.response {
                    let mut head = ResponseHead::new(refusal.reason.status());
                    head.headers
                        .append(b"x-reason", refusal.reason.details().as_bytes());
                    let _ = response.head(&head, true).await;
                }
            }
        }
    }
    refusals
}

/// `/big/N`: N bytes; everything else: the request's body and trailers, with what the server saw in `x-seen`.
pub(super) async fn answer(exchange: Exchange) -> Result<(), StreamError> {
    let Exchange {
        head,
        end,
        mut body,
        mut response,
    } = exchange;
    let mut out = ResponseHead::new(200);
    let seen = head
        .headers
        .iter()
        .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()));
    out.headers
        .append(b"x-seen", seen.collect::<Vec<_>>().join(";").as_bytes());
    if let Some(size) = head.path().strip_prefix(b"/big/") {
        let mut left: usize = std::str::from_utf8(size).unwrap().parse().unwrap();
        out.headers.append(b"content-length", left.to_string().as_bytes());
        response.head(&out, false).await?;
        while left > 0 {
            let piece = left.min(64 << 10);
            left -= piece;
            response.data(Bytes::from(vec![b'x'; piece]), left == 0).await?;
        }
        return Ok(());
    }
    if end {
        return response.head(&out, true).await;
    }
    response.head(&out, false).await?;
    loop {
        match body.frame().await? {
            Some(Frame::Data(bytes)) => response.data(bytes, false).await?,
            Some(Frame::Trailers(trailers)) => return response.trailers(&trailers).await,
            None => return response.data(Bytes::new(), true).await,
        }
    }
}
