//! Gets the bytes of a guest: from the configuration, a file, a cluster, or a registry or web server.
//!
//! Nothing of this touches the request path. What has a digest is kept for a while, so that a push which changes only
//! a filter's configuration downloads nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use leno_model::cluster::{Discovery, UpstreamProtocol};
use leno_model::endpoint::{Host, LoadAssignment};
use leno_model::filter::{RemoteCode, WasmCode};
use leno_oci::client::{Client, Options};
use leno_oci::digest::Digest;
use leno_oci::keychain::Keychain;
use leno_oci::pull::PullOptions;
use leno_oci::reference::Source;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

use crate::config::plan::ClusterPlan;
use crate::http::io::Io;
use crate::http::message::Protocol;

/// The largest module; as the limit of registry downloads.
const MAX_SIZE: usize = 256 << 20;

/// How much is kept of what was downloaded; arbitrary, some dozens of modules.
const KEPT: usize = 64 << 20;

/// Pause before the first retry; Envoy's default for remote data sources.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A fetch without a timeout of its own ends after this.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Finds a cluster that serves now.
pub type FindCluster = dyn Fn(&str) -> Option<Arc<ClusterPlan>> + Send + Sync;

/// Fetches modules. Shared by all that prepare filters.
pub struct Fetcher {
    find_cluster: Box<FindCluster>,
    kept: Mutex<VecDeque<(String, Bytes)>>,
}

impl Fetcher {
    /// Asks `find_cluster` for clusters by name.
    pub fn new(find_cluster: Box<FindCluster>) -> Self {
        Self {
            find_cluster,
            kept: Mutex::default(),
        }
    }

    /// The bytes of `code`, verified where it has a digest.
    ///
    /// # Errors
    /// A sentence that names the source and what is wrong with it.
    pub async fn fetch(&self, code: &WasmCode) -> Result<Bytes, String> {
        match code {
            WasmCode::Inline(bytes) => Ok(Bytes::from_owner(bytes.clone())),
            WasmCode::File(path) => {
                let bytes = tokio::fs::read(path).await;
                bytes
                    .map(Bytes::from)
                    .map_err(|error| format!("cannot read {}: {error}", path.display()))
            }
            WasmCode::Remote(remote) => self.fetch_remote(remote).await,
        }
    }

    async fn fetch_remote(&self, remote: &RemoteCode) -> Result<Bytes, String> {
        if let Some(bytes) = self.kept(&remote.sha256) {
            return Ok(bytes);
        }
        let timeout = if remote.timeout.is_zero() {
            DEFAULT_TIMEOUT
        } else {
            remote.timeout
        };
        let tries = async {
            let mut last = String::new();
            let mut pause = FIRST_PAUSE;
            for attempt in 0..=remote.retries {
                match self.try_remote(remote, timeout).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(Failure::Final(reason)) => return Err(reason),
                    Err(Failure::Again(reason)) => last = reason,
                }
                if attempt < remote.retries {
                    tracing::info!(
                        uri = remote.uri,
                        reason = last,
                        "fetching a module again in {pause:?}"
                    );
                    tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            Err(last)
        };
        // Every try has the whole time of the configuration; all together have it once per try, and the pauses.
        let limit = (timeout + LONGEST_PAUSE) * (remote.retries + 1);
        let result = match tokio::time::timeout(limit, tries).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {timeout:?}")),
        };
        let bytes = result.map_err(|reason| format!("cannot fetch {}: {reason}", remote.uri))?;
        self.keep(&remote.sha256, &bytes);
        Ok(bytes)
    }

    async fn try_remote(&self, remote: &RemoteCode, timeout: Duration) -> Result<Bytes, Failure> {
        let direct = remote.cluster.is_empty() || remote.cluster == "_";
        if direct {
            return from_source(remote, timeout).await;
        }
        let cluster = (self.find_cluster)(&remote.cluster)
            .ok_or_else(|| Failure::Again(format!("there is no cluster {}", remote.cluster)))?;
        let answer = tokio::time::timeout(timeout, from_cluster(&remote.uri, &cluster)).await;
        let bytes = answer.map_err(|_| Failure::Again(format!("no answer within {timeout:?}")))??;
        verify(&bytes, &remote.sha256)?;
        Ok(bytes)
    }

    fn kept(&self, sha256: &str) -> Option<Bytes> {
        if sha256.is_empty() {
            return None;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|(digest, _)| digest == sha256)
            .map(|(_, bytes)| bytes.clone())
    }

    fn keep(&self, sha256: &str, bytes: &Bytes) {
        if sha256.is_empty() {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(digest, _)| digest != sha256);
        kept.push_back((sha256.to_owned(), bytes.clone()));
        while kept.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > KEPT {
            kept.pop_front();
        }
    }
}

/// Whether another try may help.
enum Failure {
    Again(String),
    Final(String),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Again(reason)
    }
}

async fn from_source(remote: &RemoteCode, timeout: Duration) -> Result<Bytes, Failure> {
    let source = Source::parse(&remote.uri).map_err(|error| Failure::Final(error.to_string()))?;
    let sha256 = match remote.sha256.as_str() {
        "" => None,
        digits => {
            let digest = Digest::parse(&format!("sha256:{digits}"));
            Some(digest.map_err(|error| Failure::Final(error.to_string()))?)
        }
    };
    // Retries are counted by our caller, as the configuration says.
    let options = Options {
        deadline: timeout,
        retries: 0,
        ..Options::default()
    };
    let client = Client::new(options).map_err(|error| Failure::Final(error.to_string()))?;
    let pull = PullOptions {
        keychain: Keychain::docker(),
        sha256,
        progress: None,
    };
    let module = client
        .pull(&source, &pull)
        .await
        .map_err(|error| Failure::Again(error.to_string()))?;
    Ok(module.bytes)
}

/// Asks one endpoint of the cluster, picked at random.
async fn from_cluster(uri: &str, cluster: &ClusterPlan) -> Result<Bytes, Failure> {
    let uri: Uri = uri
        .parse()
        .map_err(|error| Failure::Final(format!("not a URI: {error}")))?;
    let hosts = hosts(cluster);
    let host = fastrand::choice(&hosts).ok_or_else(|| "its cluster has no endpoints".to_owned())?;
    let stream = match host {
        Host::Socket(address) => TcpStream::connect(address).await,
        Host::Name { name, port } => TcpStream::connect((name.as_str(), *port)).await,
    };
    let failed = |error: std::io::Error| format!("cannot connect to its cluster: {error}");
    let stream = stream.map_err(failed)?;
    let is_http2 = cluster.cluster.protocol == UpstreamProtocol::Http2;
    let request = request(&uri, is_http2).map_err(Failure::Final)?;
    let protocol = if is_http2 {
        Protocol::Http2
    } else {
        Protocol::Http11
    };
    let io = TokioIo::new(match &cluster.tls {
        None => Io::Tcp(stream),
        Some(tls) => {
            let secured = tls.connect(stream, host_name(host), protocol).await;
            Io::Tls(Box::new(secured.map_err(failed)?.into()))
        }
    });
    let broken = |error: hyper::Error| Failure::Again(format!("the connection broke: {error}"));
    let response = if is_http2 {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .map_err(broken)?;
        let connection = AbortOnDrop(tokio::spawn(async move { drop(connection.await) }));
        (sender.send_request(request).await, connection)
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
        let connection = AbortOnDrop(tokio::spawn(async move { drop(connection.await) }));
        (sender.send_request(request).await, connection)
    };
    let (response, _connection) = response;
    let response = response.map_err(broken)?;
    if response.status() != StatusCode::OK {
        return Err(Failure::Again(format!(
            "the server answered {}",
            response.status()
        )));
    }
    let body = Limited::new(response.into_body(), MAX_SIZE).collect().await;
    let body = body.map_err(|error| Failure::Again(format!("the answer broke off: {error}")))?;
    Ok(body.to_bytes())
}

fn request(uri: &Uri, is_http2: bool) -> Result<Request<Empty<Bytes>>, String> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let builder = match is_http2 {
        true => Request::get(format!("http://{authority}{path}")),
        false => Request::get(path).header("host", authority),
    };
    let request = builder.header("user-agent", concat!("leno-proxy/", env!("CARGO_PKG_VERSION")));
    request
        .body(Empty::new())
        .map_err(|error| format!("not a URI that can be asked for: {error}"))
}

fn host_name(host: &Host) -> &str {
    match host {
        Host::Name { name, .. } => name,
        Host::Socket(_) => "",
    }
}

fn hosts(cluster: &ClusterPlan) -> Vec<Host> {
    let endpoints: Option<&Arc<LoadAssignment>> = match &cluster.cluster.discovery {
        Discovery::Static(endpoints) | Discovery::StrictDns(endpoints) | Discovery::LogicalDns(endpoints) => {
            Some(endpoints)
        }
        Discovery::Eds(_) => cluster.endpoints.as_ref(),
    };
    let localities = endpoints.into_iter().flat_map(|endpoints| &endpoints.localities);
    localities
        .flat_map(|locality| &locality.endpoints)
        .map(|endpoint| endpoint.address.clone())
        .collect()
}

fn verify(bytes: &[u8], sha256: &str) -> Result<(), Failure> {
    let found: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if sha256.is_empty() || sha256 == found {
        return Ok(());
    }
    Err(Failure::Final(format!(
        "its sha256 is {found}, but the configuration wants {sha256}"
    )))
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use leno_model::cluster::{Cluster, Discovery};
    use leno_model::endpoint::{Endpoint, Host, LoadAssignment, LocalityEndpoints};
    use leno_model::filter::{RemoteCode, WasmCode};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::Fetcher;
    use crate::config::plan::ClusterPlan;

    /// sha256 of `module`.
    const DIGEST: &str = "120a93f36c6e6d12e7cf5ddb95c47c4e7e9f5ac4a7f9b1a0c6ac20c1b7bd2c4e";

    /// A server that gives these answers, one per connection, and a cluster that points to it.
    async fn server(answers: Vec<&'static str>) -> Arc<ClusterPlan> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Host::Socket(listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = socket.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /m.wasm?v=1 HTTP/1.1\r\nhost: store\r\n"));
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let endpoints = LoadAssignment {
            cluster: "c".to_owned(),
            localities: vec![LocalityEndpoints {
                endpoints: vec![Endpoint::at(address)],
                ..LocalityEndpoints::default()
            }],
        };
        Arc::new(ClusterPlan {
            cluster: Arc::new(Cluster::new("c", Discovery::Static(Arc::new(endpoints)))),
            tls: None,
            endpoints: None,
        })
    }

    fn remote(sha256: &str, retries: u32) -> WasmCode {
        WasmCode::Remote(RemoteCode {
            uri: "http://store/m.wasm?v=1".to_owned(),
            cluster: "c".to_owned(),
            timeout: Duration::from_secs(5),
            sha256: sha256.to_owned(),
            retries,
        })
    }

    fn digest(bytes: &[u8]) -> String {
        use sha2::{Digest as _, Sha256};
        Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nmodule";

    #[tokio::test]
    async fn a_cluster_is_asked_again_and_the_result_is_kept() {
        let cluster = server(vec!["HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", GOOD]).await;
        let fetcher = Fetcher::new(Box::new(move |name| (name == "c").then(|| Arc::clone(&cluster))));
        let code = remote(&digest(b"module"), 1);
        assert_eq!(fetcher.fetch(&code).await.unwrap(), "module");
        assert_eq!(
            fetcher.fetch(&code).await.unwrap(),
            "module",
            "the server is gone: it was kept"
        );
    }

    #[tokio::test]
    async fn a_wrong_digest_is_refused_at_once() {
        let cluster = server(vec![GOOD]).await;
        let fetcher = Fetcher::new(Box::new(move |_| Some(Arc::clone(&cluster))));
        let reason = fetcher.fetch(&remote(DIGEST, 3)).await.unwrap_err();
        assert!(
            reason.starts_with("cannot fetch http://store/m.wasm?v=1: its sha256 is "),
            "{reason}"
        );
        assert!(reason.ends_with(DIGEST), "{reason}");
    }

    #[tokio::test]
    async fn sources_that_are_not_there_are_named() {
        let fetcher = Fetcher::new(Box::new(|_| None));
        let reason = fetcher.fetch(&remote("", 0)).await.unwrap_err();
        assert!(reason.ends_with("there is no cluster c"), "{reason}");
        let reason = fetcher
            .fetch(&WasmCode::File("/nonexistent.wasm".into()))
            .await
            .unwrap_err();
        assert!(reason.starts_with("cannot read /nonexistent.wasm: "), "{reason}");
    }
}
