//! Transcripts over HTTP: the test is the client, the upstream, and every cluster that the filter calls.
//!
//! Some of a transcript cannot be played so, and is counted instead: time that passes, attributes that a script sets,
//! and what only the filter's host sees.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use leno_sdk::testing::{Answer, Expected, Script, Transcript};
use leno_tests::bootstrap::{Bootstrap, Speaks, all_to, wasm_filter};
use leno_tests::client::page;
use leno_tests::peers;
use leno_tests::proxy::{Kind, Proxy};
use leno_tests::wait::{PATIENCE, free_address, until};

use super::report::Report;
use super::scripted::{Received, Scripted, first};

/// The host that requests name unless the script says otherwise, as in [`leno_sdk::testing`].
const HOST: &str = "example.test";

/// Plays the transcripts of a filter: those that are refused one by one, the others on one proxy.
pub(crate) async fn play(
    kind: Kind,
    filter: &str,
    transcripts: &[(String, Transcript)],
    report: &mut Report,
) {
    let mut playable = Vec::new();
    for (name, transcript) in transcripts {
        report.begin(filter, name);
        if let Some(part) = &transcript.refused {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let bootstrap = Bootstrap::default().cluster("upstream", free_address(), Speaks::Http1);
            let bootstrap = listening(bootstrap, filter, name, transcript, free_address());
            let said = Proxy::refusal(kind, folder.path(), &bootstrap.text(free_address())).await;
            let line = said.lines().find(|line| line.contains(part.as_str()));
            report.compare(
                None,
                "refused",
                &line.map_or(said.as_str(), |_| part.as_str()),
                &part.as_str(),
            );
        } else if transcript.properties.is_empty() {
            playable.push((name.as_str(), transcript, free_address()));
        } else {
            report.unseen(
                "exchanges with attributes of the proxy",
                transcript.exchanges.len(),
            );
        }
    }
    if playable.is_empty() {
        return;
    }
    let stage = Stage::start(kind, filter, &playable).await;
    for (name, transcript, address) in playable {
        report.begin(filter, name);
        stage.play(transcript, address, report).await;
    }
}

fn listening(
    bootstrap: Bootstrap,
    filter: &str,
    name: &str,
    transcript: &Transcript,
    address: SocketAddr,
) -> Bootstrap {
    let plugin = wasm_filter(
        &format!("{filter}-{name}"),
        &peers::module(filter),
        &transcript.configuration,
    );
    bootstrap.listener(name, address, &[plugin], &all_to("upstream"))
}

/// A proxy with a listener for each transcript, and all that is around it.
struct Stage {
    proxy: Proxy,
    upstream: Scripted,
    /// By the name of the cluster that the filter calls.
    called: BTreeMap<String, Scripted>,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn start(kind: Kind, filter: &str, transcripts: &[(&str, &Transcript, SocketAddr)]) -> Self {
        let upstream = Scripted::serve().await;
        let mut called = BTreeMap::new();
        let mut bootstrap = Bootstrap::default().cluster("upstream", upstream.address, Speaks::Http1);
        for (name, transcript, address) in transcripts {
            bootstrap = listening(bootstrap, filter, name, transcript, *address);
            for (cluster, answers) in by_cluster(all_calls(transcript)) {
                let server = Scripted::serve().await;
                // A filter may call as soon as it is configured, once for each of the proxy's threads.
                server.will_answer(answers.first().cloned());
                bootstrap = bootstrap.cluster(&cluster, server.address, Speaks::Http1);
                let other = called.insert(cluster.clone(), server);
                assert!(
                    other.is_none(),
                    "{filter}: another transcript than {name} answers for {cluster} too; use another name"
                );
            }
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let admin = free_address();
        let mut proxy = Proxy::start(kind, folder.path(), &bootstrap.text(admin), admin);
        proxy.ready().await;
        Self {
            proxy,
            upstream,
            called,
            _folder: folder,
        }
    }

    async fn play(&self, transcript: &Transcript, at: SocketAddr, report: &mut Report) {
        let (metrics, log) = (self.metrics().await, self.proxy.process.log().len());
        let mut whole = true;
        for (index, script) in transcript.exchanges.iter().enumerate() {
            if script.after_ms > 0 {
                report.unseen("exchanges after a wait", transcript.exchanges[index..].len());
                whole = false;
                break;
            }
            if !script.properties.is_empty() {
                report.unseen("exchanges with attributes", 1);
                whole = false;
                continue;
            }
            self.exchange(index, script, at, report).await;
        }
        if !whole {
            report.unseen("metrics of a part", transcript.metrics.len());
            report.unseen("log lines of a part", transcript.logs.len());
            return;
        }
        for (name, expected) in &transcript.metrics {
            let before = metrics.get(name).copied().unwrap_or_default();
            until(&format!("metric {name} has grown to {expected}"), || async {
                let now = self.metrics().await;
                let grown = now.get(name).map(|now| now - before);
                if grown >= Some(*expected) {
                    Ok(())
                } else {
                    Err(now)
                }
            })
            .await;
            let now = self.metrics().await.get(name).map(|now| now - before);
            report.compare(None, &format!("metric {name}"), &now, &Some(*expected));
        }
        for part in &transcript.logs {
            until(&format!("a line of the log holds {part:?}"), || async {
                let written = self.proxy.process.log().split_off(log);
                if written.contains(part.as_str()) {
                    Ok(())
                } else {
                    Err(written)
                }
            })
            .await;
            report.compare(None, "logs", part, part);
        }
    }

    async fn exchange(&self, index: usize, script: &Script, at: SocketAddr, report: &mut Report) {
        self.upstream.will_answer([script.upstream.clone()]);
        let calls = by_cluster(&script.calls);
        for (cluster, answers) in &calls {
            self.called[cluster].will_answer(answers.clone());
        }
        let answer = ask(at, script).await;
        let answer = answer.unwrap_or_else(|error| panic!("exchanges[{index}] at {at}: {error:#}"));
        for cluster in calls.keys() {
            // How often is up to the number of threads.
            let asked = !self.called[cluster].take().is_empty();
            report.compare(Some(index), &format!("a call to {cluster}"), &asked, &true);
        }
        compare(index, &script.expect, &answer, &self.upstream.take(), report);
    }

    /// What guests have counted, by name.
    async fn metrics(&self) -> BTreeMap<String, u64> {
        let text = page(self.proxy.admin, "/stats?filter=wasmcustom").await;
        let text = text.unwrap_or_else(|error| panic!("the statistics: {error:#}"));
        let one = |line: &str| {
            let (name, value) = line.strip_prefix("wasmcustom.")?.rsplit_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        text.lines().filter_map(one).collect()
    }
}

fn all_calls(transcript: &Transcript) -> impl Iterator<Item = &Answer> {
    let of_exchanges = transcript.exchanges.iter().flat_map(|script| &script.calls);
    transcript.calls.iter().chain(of_exchanges)
}

fn by_cluster<'a>(calls: impl IntoIterator<Item = &'a Answer>) -> BTreeMap<String, Vec<Answer>> {
    let mut found = BTreeMap::<_, Vec<Answer>>::new();
    for call in calls {
        let cluster = call
            .cluster
            .clone()
            .expect("a call's answer says which cluster it is of");
        found.entry(cluster).or_default().push(call.clone());
    }
    found
}

/// What the client received.
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: String,
}

fn compare(index: usize, expect: &Expected, seen: &Seen, received: &[Received], report: &mut Report) {
    let at = Some(index);
    if let Some(status) = expect.status {
        report.compare(at, "status", &seen.status, &status);
    }
    if let Some(replied) = expect.replied {
        report.compare(at, "replied", &received.is_empty(), &replied);
    }
    if let Some(body) = &expect.body {
        report.compare(at, "body", &seen.body, body);
    }
    for (name, value) in &expect.headers {
        report.compare(at, &format!("headers.{name}"), &first(&seen.headers, name), value);
    }
    let asked = received.first();
    for (name, value) in &expect.upstream_headers {
        let found = asked.map(|received| received.header(name));
        report.compare(
            at,
            &format!("upstreamHeaders.{name}"),
            &found,
            &Some(value.clone()),
        );
    }
    if let Some(body) = &expect.upstream_body {
        let found = asked.map(|received| &received.body);
        report.compare(at, "upstreamBody", &found, &Some(body));
    }
    report.unseen("details", usize::from(expect.details.is_some()));
    report.unseen("clearedRoute", usize::from(expect.cleared_route.is_some()));
}

/// Sends the request of a script on a connection of its own.
async fn ask(at: SocketAddr, script: &Script) -> anyhow::Result<Seen> {
    let asking = async {
        let stream = tokio::net::TcpStream::connect(at).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request(script)?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        Ok(Seen {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .context("no answer in time")?
}

fn request(script: &Script) -> anyhow::Result<Request<Full<Bytes>>> {
    let mut host = HOST;
    let mut request = Request::builder()
        .method(script.method.as_str())
        .uri(&script.path);
    for (name, values) in &script.headers {
        for value in values.all() {
            match name.as_str() {
                ":authority" | "host" => host = value,
                ":path" => request = request.uri(value),
                _ => request = request.header(name, value),
            }
        }
    }
    let body = script.body.clone().unwrap_or_default();
    Ok(request.header("host", host).body(Full::new(body.into()))?)
}
