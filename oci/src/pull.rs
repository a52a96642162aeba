//! From a source to a verified module.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::ACCEPT;

use crate::archive::Above;
use crate::client::{Client, Progress};
use crate::digest::Digest;
use crate::error::Error;
use crate::keychain::Keychain;
use crate::layout::{self, Content, Layout};
use crate::manifest::ACCEPT as ACCEPT_MANIFESTS;
use crate::reference::{Reference, Source, is_loopback_host};
use crate::session::Action;
use crate::transfer::{fetch_blob, fetch_manifest, resolve_manifest};
use crate::transport::read_body;
use crate::unpack::{self, UnpackError};

/// An image with its module further down than this was not made for a mesh.
const MAX_ARCHIVES: usize = 4;

/// A module whose every digest was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The module itself.
    pub bytes: Bytes,
    /// Its digest: what proxies ask for.
    pub digest: Digest,
    /// Core module or component.
    pub kind: Kind,
    /// Where it came from; `None` for files and web servers.
    pub artifact: Option<Artifact>,
}

/// The artifact around a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What the tag pointed to: a manifest or an index.
    pub resolved: Digest,
    /// The manifest that was used; differs from `resolved` only under an index.
    pub manifest: Digest,
    /// How the artifact is laid out.
    pub layout: Layout,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The two families of Wasm binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A core module; Proxy-Wasm filters are such.
    Module,
    /// A component.
    Component,
}

impl Kind {
    /// Reads the preamble; the error says what the bytes look like instead.
    pub fn of(bytes: &[u8]) -> Result<Kind, String> {
        unpack::check_magic(bytes).map(|component| if component { Kind::Component } else { Kind::Module })
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Module => "module",
            Kind::Component => "component",
        })
    }
}

/// How to pull.
#[derive(Clone, Default)]
pub struct PullOptions {
    /// Credentials.
    pub keychain: Keychain,
    /// What must come: the digest of the module, of the manifest, of the index, or of the downloaded file.
    pub sha256: Option<Digest>,
    /// Is told how far the download is.
    pub progress: Option<Progress>,
}

impl Client {
    /// The manifest (or index) digest behind a reference: one small request.
    pub async fn resolve(&self, reference: &Reference, keychain: &Keychain) -> Result<Digest, Error> {
        let call = async {
            let session = self.transport.session(reference, keychain, Action::Pull).await?;
            let url = session.url(&format!("manifests/{}", reference.target()));
            let answer = session
                .send(Method::HEAD, &url, |request| {
                    request.header(ACCEPT, ACCEPT_MANIFESTS)
                })
                .await;
            let header = answer
                .as_ref()
                .ok()
                .and_then(|answer| answer.headers().get("docker-content-digest"));
            match header.and_then(|value| Digest::parse(value.to_str().ok()?).ok()) {
                Some(digest) if reference.digest().is_none_or(|wanted| wanted == digest) => Ok(digest),
                // HEAD has no body to say why it failed, and not every registry gives the digest: ask fully.
                _ => Ok(fetch_manifest(&session, &reference.target()).await?.digest),
            }
        };
        self.in_time(&reference.to_string(), call).await
    }

    /// Downloads and verifies a module.
    pub async fn pull(&self, source: &Source, options: &PullOptions) -> Result<Module, Error> {
        match source {
            Source::Oci(reference) => {
                self.in_time(&source.to_string(), self.pull_artifact(reference, options))
                    .await
            }
            Source::Http(url) => self.in_time(url, self.pull_http(url, options)).await,
            Source::File(path) => {
                let read = || Error::File {
                    path: path.display().to_string(),
                    source: std::io::ErrorKind::Other.into(),
                };
                let limit = self.options().max_module_size;
                let path = path.clone();
                let bytes = tokio::task::spawn_blocking(move || read_file(&path, limit)).await;
                let bytes = bytes.map_err(|_| read())??;
                let file = Digest::of(&bytes);
                let module = self.alone(&source.to_string(), bytes).await?;
                check_sha256(&source.to_string(), options.sha256, &[module.digest, file])?;
                Ok(module)
            }
        }
    }

    async fn pull_artifact(&self, reference: &Reference, options: &PullOptions) -> Result<Module, Error> {
        let session = self
            .transport
            .session(reference, &options.keychain, Action::Pull)
            .await?;
        let (fetched, manifest, resolved) = resolve_manifest(&session).await?;
        let what = reference.to_string();
        let (layout, content) = layout::choose(&manifest).map_err(|reason| Error::Layout {
            what: what.clone(),
            reason,
        })?;
        let artifact = Artifact {
            resolved,
            manifest: fetched,
            layout,
            annotations: manifest.annotations.clone(),
        };
        let layers = match content {
            Content::Layer(layer) => vec![layer],
            Content::Archives(layers) => layers,
        };
        let mut above = Above::default();
        for layer in layers.into_iter().take(MAX_ARCHIVES) {
            let bytes = fetch_blob(&session, layer, options.progress.as_ref()).await?;
            let (hidden, module) = self.unpacked(&what, bytes, Some(artifact.clone()), above).await;
            above = hidden;
            if let Some(module) = module? {
                check_sha256(&what, options.sha256, &[fetched, module.digest, resolved])?;
                return Ok(module);
            }
        }
        Err(absent(&what))
    }

    async fn pull_http(&self, url: &str, options: &PullOptions) -> Result<Module, Error> {
        let plain = url
            .strip_prefix("http://")
            .map(|rest| rest.split(['/', '?']).next().unwrap_or(rest));
        if let Some(host) = plain
            && options.sha256.is_none()
            && !is_loopback_host(crate::reference::host_of(host))
        {
            return Err(Error::Unpinned { url: url.to_owned() });
        }
        let response = self.transport.get(url).await?;
        let limit = self.options().max_module_size;
        let total = response.content_length().unwrap_or(0);
        let mut done = 0;
        let bytes = read_body(&self.transport, response, limit, url, &mut |piece| {
            done += piece.len() as u64;
            if let Some(progress) = &options.progress {
                progress(done, total.max(done));
            }
        })
        .await?;
        let file = Digest::of(&bytes);
        // Checked before anything is made of the bytes, unless the digest may be that of the packed module.
        let packed = Kind::of(&bytes).is_err();
        if !packed {
            check_sha256(url, options.sha256, &[file])?;
        }
        let module = self.alone(url, bytes).await;
        match (module, options.sha256) {
            (Err(_), Some(expected)) if expected != file => Err(Error::Digest {
                what: url.to_owned(),
                expected,
                actual: file,
            }),
            (module, sha256) => {
                let module = module?;
                check_sha256(url, sha256, &[file, module.digest])?;
                Ok(module)
            }
        }
    }

    /// The module in bytes that are no layer of anything.
    async fn alone(&self, what: &str, bytes: Bytes) -> Result<Module, Error> {
        let (_, module) = self.unpacked(what, bytes, None, Above::default()).await;
        module?.ok_or_else(|| absent(what))
    }

    /// The module in one layer, if it has one that the layers `above` let show; and what is hidden from the next one.
    async fn unpacked(
        &self,
        what: &str,
        bytes: Bytes,
        artifact: Option<Artifact>,
        mut above: Above,
    ) -> (Above, Result<Option<Module>, Error>) {
        let limit = self.options().max_module_size;
        let what = what.to_owned();
        let work = move || {
            let module = match unpack::unpack(&bytes, limit, &mut above) {
                Err(UnpackError::Absent) => Ok(None),
                Err(UnpackError::TooLarge { limit }) => Err(Error::TooLarge { what, limit }),
                Err(UnpackError::NotWasm(reason)) => Err(Error::NotWasm { what, reason }),
                Err(error @ UnpackError::Damaged(_)) => Err(Error::Layout {
                    what,
                    reason: error.to_string(),
                }),
                Ok(bytes) => match Kind::of(&bytes) {
                    Err(reason) => Err(Error::NotWasm { what, reason }),
                    Ok(kind) => Ok(Some(Module {
                        digest: Digest::of(&bytes),
                        kind,
                        bytes,
                        artifact,
                    })),
                },
            };
            (above, module)
        };
        let stopped = |error| Error::Options(format!("unpacking stopped: {error}"));
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => (Above::default(), Err(stopped(error))),
        }
    }
}

fn absent(what: &str) -> Error {
    Error::Layout {
        what: what.to_owned(),
        reason: UnpackError::Absent.to_string(),
    }
}

/// `sha256` may name the module or what surrounds it; `found` has the one to show in the error first.
fn check_sha256(what: &str, sha256: Option<Digest>, found: &[Digest]) -> Result<(), Error> {
    match (sha256, found.first()) {
        (Some(expected), Some(actual)) if !found.contains(&expected) => Err(Error::Digest {
            what: what.to_owned(),
            expected,
            actual: *actual,
        }),
        _ => Ok(()),
    }
}

fn read_file(path: &std::path::Path, limit: u64) -> Result<Bytes, Error> {
    use std::io::Read as _;
    let failed = |source| Error::File {
        path: path.display().to_string(),
        source,
    };
    // Asked before opening: opening a named pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match bytes.len() as u64 > limit {
        true => Err(Error::TooLarge {
            what: path.display().to_string(),
            limit,
        }),
        false => Ok(bytes.into()),
    }
}
