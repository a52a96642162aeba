//! A server that answers as a script says, and keeps what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use leno_sdk::testing::Answer;
use leno_tests::upstream::{Body, serve_with, whole};

/// A request as it arrived.
pub(crate) struct Received {
    method: String,
    path: String,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Received {
    /// The first value of a field, or a pseudo header.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        match name {
            ":method" => Some(self.method.clone()),
            ":path" => Some(self.path.clone()),
            ":authority" => first(&self.headers, "host"),
            name => first(&self.headers, name),
        }
    }
}

/// The first value of a field.
pub(crate) fn first(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// A running server.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    received: Vec<Received>,
}

impl Scripted {
    /// Answers with an empty 200 until it is told something else.
    pub(crate) async fn serve() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let address = serve_with(move |request| answer(Arc::clone(&shared), request)).await;
        Self { address, state }
    }

    /// From now on gives these answers, one after the other; the last one as often as it is asked.
    pub(crate) fn will_answer(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.state).answers = answers.into_iter().collect();
    }

    /// What it was asked since the last time.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut lock(&self.state).received)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nobody panics with the lock")
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => format!("the request broke off: {error}"),
    };
    let mut state = lock(&state);
    state.received.push(Received {
        method: head.method.to_string(),
        path: head
            .uri
            .path_and_query()
            .map_or("", |path| path.as_str())
            .to_owned(),
        headers: head.headers,
        body,
    });
    let next = match state.answers.len() {
        0 | 1 => state.answers.front().cloned().unwrap_or_default(),
        _ => state.answers.pop_front().unwrap_or_default(),
    };
    let mut response = Response::new(whole(next.body));
    *response.status_mut() = StatusCode::from_u16(next.status).expect("a script has statuses");
    for (name, values) in &next.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a script has names of fields");
        for value in values.all() {
            let value = HeaderValue::from_str(value).expect("a script has values of fields");
            response.headers_mut().append(name.clone(), value);
        }
    }
    response
}
