//! A request of a filter itself: one exchange with a cluster, read to its end.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use leno_sdk::host::Call;
use leno_sdk::plugin::CallResponse;

use super::ClusterRuntime;
use super::lease::Opened;
use crate::http::error::StreamError;
use crate::http::headers::Headers;
use crate::http::message::{Frame, Protocol, RequestHead};

/// What a filter can take of an answer: larger ones break off. Arbitrary.
const LARGEST_ANSWER: usize = 16 << 20;

/// Asks, and waits for the whole answer. What goes wrong is an answer too: 504 when it took too long, 503 when there
/// was none, and one without headers when it broke off.
pub async fn call(cluster: Rc<ClusterRuntime>, call: Call) -> CallResponse {
    cluster.stats().requests.inc();
    let timeout = call.timeout;
    let answer = exchange(&cluster, call);
    let answer = if timeout == Duration::ZERO {
        answer.await
    } else {
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                cluster.stats().timeout.inc();
                return local(504, "upstream request timeout");
            }
        }
    };
    answer.unwrap_or_else(|error| local(503, &error))
}

async fn exchange(cluster: &Rc<ClusterRuntime>, call: Call) -> Result<CallResponse, String> {
    let endpoint = cluster
        .choose(fastrand::u64(..), &[])
        .ok_or("no healthy upstream")?;
    let mut head = RequestHead {
        headers: fields(&call.headers),
        protocol: Protocol::Http11,
    };
    if head.headers.get(b":scheme").is_none() {
        head.headers.append(b":scheme", b"http");
    }
    let end = call.body.is_empty() && call.trailers.is_empty();
    let opened = cluster.open(&endpoint, &head, end).await;
    let Opened {
        mut writer,
        mut reader,
        lease,
    } = opened.map_err(|error| {
        format!("upstream connect error or disconnect/reset before headers. reset reason: {error:?}")
    })?;
    let broken = |error: StreamError| {
        format!("upstream connect error or disconnect/reset before headers. reset reason: {error}")
    };
    if !call.body.is_empty() {
        writer
            .data(Bytes::from(call.body), call.trailers.is_empty())
            .await
            .map_err(broken)?;
    }
    if !call.trailers.is_empty() {
        writer.trailers(&fields(&call.trailers)).await.map_err(broken)?;
    }
    let response = loop {
        let head = reader.head().await.map_err(broken)?;
        if !head.is_informational() {
            break head;
        }
    };
    cluster.stats().response(response.status().unwrap_or(0));
    let mut answer = CallResponse {
        headers: pairs(&response.headers),
        ..CallResponse::default()
    };
    loop {
        match reader.frame().await {
            Ok(Some(Frame::Data(data))) if answer.body.len() + data.len() <= LARGEST_ANSWER => {
                answer.body.extend_from_slice(&data);
            }
            Ok(Some(Frame::Data(_))) | Err(_) => return Ok(CallResponse::default()),
            Ok(Some(Frame::Trailers(trailers))) => answer.trailers = pairs(&trailers),
            Ok(None) => break,
        }
    }
    drop((writer, reader));
    drop(lease);
    Ok(answer)
}

fn local(status: u16, body: &str) -> CallResponse {
    CallResponse {
        headers: vec![
            (b":status".to_vec(), status.to_string().into_bytes()),
            (b"content-length".to_vec(), body.len().to_string().into_bytes()),
            (b"content-type".to_vec(), b"text/plain".to_vec()),
        ],
        body: body.as_bytes().to_vec(),
        trailers: Vec::new(),
    }
}

fn fields(pairs: &[(Vec<u8>, Vec<u8>)]) -> Headers {
    pairs
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .collect()
}

fn pairs(headers: &Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}
