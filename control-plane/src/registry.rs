//! An OCI registry on a folder, as an axum router: enough for any client to push and pull, and no more.
//!
//! It speaks the distribution specification v1.1 without deletion of content, and has no accounts: whoever mounts
//! it decides who may reach it. Blobs become visible by rename after their digest was checked, so a reader never
//! sees half of one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leno_oci::digest::Digest;

use self::blobs::serve_blob;
use self::error::{Code, Refusal};
use self::folder::Folder;
use self::lists::{serve_catalog, serve_referrers, serve_tags};
use self::manifests::{put_manifest, serve_manifest};
use self::path::{Target, parse_path};

mod blobs;
mod error;
mod folder;
mod lists;
mod manifests;
mod path;
mod uploads;

/// How the registry behaves.
#[derive(Clone)]
pub struct Options {
    /// The largest blob.
    pub max_blob: u64,
    /// The largest manifest.
    pub max_manifest: u64,
    /// Whether anybody may push.
    pub access: Access,
    /// Unfinished uploads are forgotten after this time without a byte.
    pub upload_expiry: Duration,
    /// Is called after a manifest was stored, from an async thread: it must not block.
    pub on_push: Option<Arc<dyn Fn(Pushed) + Send + Sync>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_blob: 256 * 1024 * 1024,
            max_manifest: 4 * 1024 * 1024,
            access: Access::ReadWrite,
            upload_expiry: Duration::from_secs(3600),
            on_push: None,
        }
    }
}

/// What clients may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Push and pull.
    ReadWrite,
    /// Pull.
    ReadOnly,
}

/// A manifest that is now in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The repository.
    pub repository: String,
    /// The tag that points to it now; `None` when it was pushed by digest.
    pub tag: Option<String>,
    /// The manifest's digest.
    pub digest: Digest,
}

/// A router that serves `/v2/` from `folder`, which is created if need be.
pub fn router(folder: impl Into<PathBuf>, options: Options) -> std::io::Result<Router> {
    let registry = Arc::new(Registry {
        folder: Folder::open(folder.into())?,
        options,
    });
    // Repository names hold slashes, so one handler reads the path itself.
    let routes = Router::new()
        .route("/v2", axum::routing::any(root))
        .route("/v2/", axum::routing::any(root));
    Ok(routes
        .route("/v2/{*path}", axum::routing::any(serve))
        .with_state(registry))
}

/// What all requests share.
struct Registry {
    folder: Folder,
    options: Options,
}

impl Registry {
    /// Runs disk work where it may block.
    async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Registry) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let registry = self.clone();
        tokio::task::spawn_blocking(move || work(&registry))
            .await
            .map_err(|error| Refusal::internal(&std::io::Error::other(error)))?
    }
}

/// The parts of a request that handlers look at; its body, which cannot be shared, goes beside it.
struct Call {
    method: Method,
    headers: HeaderMap,
    query: String,
}

impl Call {
    /// The first value of a query parameter, decoded.
    fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then(|| percent_decode(value))
        })
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

async fn root(method: Method) -> Response {
    match method {
        Method::GET | Method::HEAD => finish(
            (
                [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
                "{}",
            )
                .into_response(),
        ),
        _ => finish(Refusal::method("GET, HEAD").into_response()),
    }
}

async fn serve(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts
        .uri
        .path()
        .strip_prefix("/v2/")
        .unwrap_or_default()
        .to_owned();
    let call = Call {
        method: parts.method,
        headers: parts.headers,
        query: parts.uri.query().unwrap_or_default().to_owned(),
    };
    let method = call.method.clone();
    let answer = answer(&registry, &path, &call, body).await;
    if let Err(refusal) = &answer {
        tracing::debug!(%method, path, code = refusal.code.name(), message = refusal.message, "registry refused");
    }
    finish(answer.unwrap_or_else(IntoResponse::into_response))
}

/// The table of the specification's end points.
async fn answer(registry: &Arc<Registry>, path: &str, call: &Call, body: Body) -> Result<Response, Refusal> {
    let target = parse_path(path)?;
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    if !reads && registry.options.access == Access::ReadOnly {
        return Err(Refusal::new(Code::Denied, "this registry is read-only"));
    }
    match (target, call.method.as_str()) {
        (Target::Blob { repository, digest }, "GET" | "HEAD") => {
            serve_blob(registry, call, repository, digest).await
        }
        (Target::Blob { .. } | Target::Manifest { .. }, "DELETE") => {
            Err(Refusal::method("GET, HEAD").with_message("this registry does not delete content"))
        }
        (Target::Blob { .. }, _) => Err(Refusal::method("GET, HEAD")),
        (Target::Uploads { repository }, "POST") => uploads::begin(registry, call, body, repository).await,
        (Target::Uploads { .. }, _) => Err(Refusal::method("POST")),
        (Target::Upload { repository, id }, "GET") => uploads::status(registry, repository, id).await,
        (Target::Upload { repository, id }, "PATCH") => {
            uploads::append(registry, call, body, repository, id).await
        }
        (Target::Upload { repository, id }, "PUT") => {
            uploads::complete(registry, call, body, repository, id).await
        }
        (Target::Upload { repository, id }, "DELETE") => uploads::cancel(registry, repository, id).await,
        (Target::Upload { .. }, _) => Err(Refusal::method("GET, PATCH, PUT, DELETE")),
        (
            Target::Manifest {
                repository,
                reference,
            },
            "GET" | "HEAD",
        ) => serve_manifest(registry, call, repository, reference).await,
        (
            Target::Manifest {
                repository,
                reference,
            },
            "PUT",
        ) => put_manifest(registry, call, body, repository, reference).await,
        (Target::Manifest { .. }, _) => Err(Refusal::method("GET, HEAD, PUT")),
        (Target::Tags { repository }, "GET" | "HEAD") => serve_tags(registry, call, repository).await,
        (Target::Referrers { repository, digest }, "GET" | "HEAD") => {
            serve_referrers(registry, call, repository, digest).await
        }
        (Target::Catalog, "GET" | "HEAD") => serve_catalog(registry, call).await,
        (Target::Tags { .. } | Target::Referrers { .. } | Target::Catalog, _) => {
            Err(Refusal::method("GET, HEAD"))
        }
    }
}

fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        "docker-distribution-api-version",
        HeaderValue::from_static("registry/2.0"),
    );
    // Content is whatever somebody pushed; no browser shall make a page of it.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// An answer without content; `Location` and the digest go along where given.
fn empty(status: StatusCode, location: &str, digest: Option<&Digest>) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Ok(location) = HeaderValue::from_str(location) {
        headers.insert(header::LOCATION, location);
    }
    if let Some(digest) = digest {
        headers.insert("docker-content-digest", digest_value(digest));
    }
    response
}

fn digest_value(digest: &Digest) -> HeaderValue {
    // A digest is plain ASCII by construction.
    HeaderValue::from_str(&digest.to_string()).unwrap_or(HeaderValue::from_static(""))
}

/// Decodes `%XX`; anything that is not UTF-8 afterwards is replaced and then fails its own grammar.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            (b'+', _, _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
