//! Manifests and blobs, fetched and verified.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use crate::client::Progress;
use crate::digest::{Digest, Hasher};
use crate::error::Error;
use crate::manifest::{ACCEPT as ACCEPT_MANIFESTS, Descriptor, Document, MAX_MANIFEST, Manifest};
use crate::session::Session;

/// A manifest or index as it came, with the digest of its bytes.
pub(crate) struct Fetched {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    pub(crate) document: Document,
}

/// Fetches a manifest or index by tag or digest and verifies it.
pub(crate) async fn fetch_manifest(session: &Session<'_>, target: &str) -> Result<Fetched, Error> {
    let url = session.url(&format!("manifests/{target}"));
    let what = format!("manifest of {}", session.reference);
    let mut retry = session.retry();
    let (bytes, content_type, claimed) = loop {
        let answer = session
            .attempt(&Method::GET, &url, |request| {
                request.header(ACCEPT, ACCEPT_MANIFESTS)
            })
            .await;
        let failure = match answer {
            Err(failure) => failure,
            Ok(response) => {
                let header = |name: &str| {
                    response
                        .headers()
                        .get(name)
                        .and_then(|value| value.to_str().ok())
                        .map(str::to_owned)
                };
                let (content_type, claimed) =
                    (header(CONTENT_TYPE.as_str()), header("docker-content-digest"));
                match session.body(response, MAX_MANIFEST, &what).await {
                    Ok(bytes) => break (bytes, content_type, claimed),
                    Err(failure) => failure,
                }
            }
        };
        retry.pause(failure).await?;
    };
    let digest = Digest::of(&bytes);
    let claimed = claimed.and_then(|text| Digest::parse(&text).ok());
    // By digest, only our own arithmetic counts; by tag, the registry's claim must at least be consistent.
    let expected = Digest::parse(target)
        .ok()
        .filter(|_| target.contains(':'))
        .or(claimed);
    if let Some(expected) = expected
        && expected != digest
    {
        return Err(Error::Digest {
            what,
            expected,
            actual: digest,
        });
    }
    let document =
        Document::parse(&bytes, content_type.as_deref()).map_err(|reason| Error::Protocol { url, reason })?;
    Ok(Fetched {
        digest,
        bytes,
        document,
    })
}

/// The manifest to use, its digest, and the digest that the reference resolved to.
pub(crate) async fn resolve_manifest(session: &Session<'_>) -> Result<(Digest, Manifest, Digest), Error> {
    let top = fetch_manifest(session, &session.reference.target()).await?;
    let index = match top.document {
        Document::Manifest(manifest) => return Ok((top.digest, *manifest, top.digest)),
        Document::Index(index) => index,
    };
    let layout = |reason: String| Error::Layout {
        what: session.reference.to_string(),
        reason,
    };
    let entry = index.select().map_err(layout)?;
    let digest = entry.digest().map_err(|error| layout(error.to_string()))?;
    let fetched = fetch_manifest(session, &digest.to_string()).await?;
    match fetched.document {
        Document::Manifest(manifest) => Ok((fetched.digest, *manifest, top.digest)),
        Document::Index(_) => Err(layout("an index inside an index".to_owned())),
    }
}

/// Fetches a blob of exactly the described size and digest.
pub(crate) async fn fetch_blob(
    session: &Session<'_>,
    blob: &Descriptor,
    progress: Option<&Progress>,
) -> Result<Bytes, Error> {
    let what = format!("layer {} of {}", blob.digest, session.reference);
    let expected = blob.digest().map_err(|error| Error::Layout {
        what: session.reference.to_string(),
        reason: error.to_string(),
    })?;
    let limit = session.options().max_module_size;
    if blob.size > limit {
        return Err(Error::TooLarge { what, limit });
    }
    let url = session.url(&format!("blobs/{expected}"));
    let mut retry = session.retry();
    loop {
        let failure = match session.attempt(&Method::GET, &url, |request| request).await {
            Err(failure) => failure,
            Ok(response) => {
                let mut hasher = Hasher::default();
                let mut done = 0;
                let body = session
                    .body_with(response, blob.size, &what, &mut |piece| {
                        hasher.update(piece);
                        done += piece.len() as u64;
                        if let Some(progress) = progress {
                            progress(done, blob.size);
                        }
                    })
                    .await;
                match body {
                    Ok(bytes) => return check_blob(what, blob.size, expected, bytes, hasher.finish()),
                    // The limit was the descriptor's size, so this is a lie about the size.
                    Err(Error::TooLarge { .. }) => {
                        return Err(Error::Size {
                            what,
                            expected: blob.size,
                            actual: blob.size + 1,
                        });
                    }
                    Err(failure) => failure,
                }
            }
        };
        retry.pause(failure).await?;
    }
}

fn check_blob(
    what: String,
    size: u64,
    expected: Digest,
    bytes: Bytes,
    actual: Digest,
) -> Result<Bytes, Error> {
    if bytes.len() as u64 != size {
        return Err(Error::Size {
            what,
            expected: size,
            actual: bytes.len() as u64,
        });
    }
    if actual != expected {
        return Err(Error::Digest {
            what,
            expected,
            actual,
        });
    }
    Ok(bytes)
}
