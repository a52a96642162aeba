//! An upstream that says what it saw, over HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

/// Bodies up to this size are repeated in the answer.
const REPEATED: usize = 4096;

/// What is answered with.
pub type Body = BoxBody<Bytes, hyper::Error>;

/// Serves on a free loopback port until the runtime ends. The answer is a JSON object with `upstream` (the name given
/// here), `method`, `path`, `headers` (an object; values of one name are joined by `, `), `length`, `sha256` and
/// `body` of what was received.
///
/// `/status/NUMBER` answers with that status; `/echo` sends the body back as it arrives.
///
/// # Panics
/// No port is free.
pub async fn serve(name: &'static str) -> SocketAddr {
    serve_with(move |request| answer(name, request)).await
}

/// Serves on a free loopback port until the runtime ends, with what `answer` says.
///
/// # Panics
/// No port is free.
pub async fn serve_with<A, F>(answer: A) -> SocketAddr
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Nagle's delay would be measured instead of the proxy.
            let _without = stream.set_nodelay(true);
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async { Ok::<_, Infallible>(answered.await) }
                });
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http2().max_concurrent_streams(4096);
                // A client that goes away is none of the upstream's business.
                let _gone = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A text as a body.
pub fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

async fn answer(name: &str, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    if path == "/echo" {
        return Response::new(body.boxed());
    }
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return text(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let seen = json!({
        "upstream": name,
        "method": head.method.as_str(),
        "path": path,
        "headers": headers(&head.headers),
        "length": body.len(),
        "sha256": hex::encode(Sha256::digest(&body)),
        "body": if body.len() <= REPEATED { String::from_utf8_lossy(&body).into_owned() } else { String::new() },
    });
    let status = path
        .strip_prefix("/status/")
        .and_then(|number| number.parse().ok())
        .unwrap_or(StatusCode::OK);
    let mut response = text(status, seen.to_string());
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert("x-powered-by", HeaderValue::from_static("leno-tests"));
    response
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    response
}

/// Fields as an object: values of one name are joined.
pub fn headers(fields: &HeaderMap) -> Value {
    let join = |name| {
        let values: Vec<_> = fields
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        values.join(", ")
    };
    fields
        .keys()
        .map(|name| (name.to_string(), Value::from(join(name))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
