//! From a module to an artifact in a registry.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method};

use crate::client::{Client, Progress};
use crate::digest::Digest;
use crate::error::Error;
use crate::keychain::Keychain;
use crate::manifest::{ACCEPT as ACCEPT_MANIFESTS, Descriptor, OCI_MANIFEST};
use crate::pack::pack;
use crate::pull::Kind;
use crate::reference::Reference;
use crate::session::{Action, Session};

/// Annotation: the ABI, such as `proxy-wasm/0.2.1` or `leno:filter@0.1.0`.
pub const ABI: &str = "dev.leno.filter.abi";
/// Annotation: the callbacks that the module exports, separated by commas.
pub const CALLBACKS: &str = "dev.leno.filter.callbacks";
/// Annotation: the host functions that the module asks for, separated by commas.
pub const CAPABILITIES: &str = "dev.leno.filter.capabilities";
/// Annotation: JSON schema of the filter's configuration.
pub const CONFIG_SCHEMA: &str = "dev.leno.filter.config-schema";
pub(crate) const TITLE: &str = "org.opencontainers.image.title";
const CREATED: &str = "org.opencontainers.image.created";

/// Bytes per step of the progress report.
const PIECE: usize = 64 * 1024;

/// The layout to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// CNCF Wasm artifact.
    #[default]
    Cncf,
    /// The two-layer artifact that Istio, Envoy Gateway and Higress read.
    Istio,
}

/// What the manifest tells about a filter, readable without downloading it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The filter's name; the repository's last part when empty.
    pub title: String,
    /// The ABI.
    pub abi: String,
    /// Exported callbacks.
    pub callbacks: Vec<String>,
    /// Host functions asked for.
    pub capabilities: Vec<String>,
    /// JSON schema of the configuration.
    pub config_schema: Option<String>,
    /// For a component: imported interfaces.
    pub imports: Vec<String>,
    /// For a component: exported interfaces.
    pub exports: Vec<String>,
    /// RFC 3339 time of the build. Left out, pushing the same module twice gives the same digest.
    pub created: Option<String>,
    /// Any other annotations, such as `org.opencontainers.image.version`; they win over the above.
    pub annotations: BTreeMap<String, String>,
}

impl Description {
    /// What a pulled manifest told.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Description {
        let text = |key: &str| annotations.get(key).cloned();
        let list = |key: &str| -> Vec<String> {
            let text = annotations.get(key).map(String::as_str).unwrap_or_default();
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let known = [TITLE, ABI, CALLBACKS, CAPABILITIES, CONFIG_SCHEMA, CREATED];
        let others = annotations
            .iter()
            .filter(|(key, _)| !known.contains(&key.as_str()));
        Description {
            title: text(TITLE).unwrap_or_default(),
            abi: text(ABI).unwrap_or_default(),
            callbacks: list(CALLBACKS),
            capabilities: list(CAPABILITIES),
            config_schema: text(CONFIG_SCHEMA),
            created: text(CREATED),
            annotations: others.map(|(key, value)| (key.clone(), value.clone())).collect(),
            ..Description::default()
        }
    }

    pub(crate) fn to_annotations(&self, reference: &Reference) -> BTreeMap<String, String> {
        let title = match self.title.as_str() {
            "" => reference.repository().rsplit('/').next().unwrap_or_default(),
            title => title,
        };
        let entries = [
            (TITLE, title.to_owned()),
            (ABI, self.abi.clone()),
            (CALLBACKS, self.callbacks.join(",")),
            (CAPABILITIES, self.capabilities.join(",")),
            (CONFIG_SCHEMA, self.config_schema.clone().unwrap_or_default()),
            (CREATED, self.created.clone().unwrap_or_default()),
        ];
        let mut annotations: BTreeMap<String, String> = entries
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        annotations.extend(self.annotations.clone());
        annotations
    }
}

/// How to push.
#[derive(Clone, Default)]
pub struct PushOptions {
    /// Credentials.
    pub keychain: Keychain,
    /// The layout to write.
    pub format: Format,
    /// What the manifest tells.
    pub description: Description,
    /// Is told how far the upload is.
    pub progress: Option<Progress>,
}

/// What a push left in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The reference with its tag, pinned to the manifest.
    pub reference: Reference,
    /// The manifest's digest.
    pub manifest: Digest,
    /// The module's digest.
    pub module: Digest,
    /// Bytes that had to be sent; zero when the registry had it all.
    pub uploaded: u64,
}

impl Client {
    /// Uploads `module` and points `reference`'s tag (`latest` without one) to it. What is there is not sent again.
    pub async fn push(
        &self,
        reference: &Reference,
        module: Bytes,
        options: &PushOptions,
    ) -> Result<Pushed, Error> {
        self.in_time(
            &reference.to_string(),
            self.push_artifact(reference, module, options),
        )
        .await
    }

    async fn push_artifact(
        &self,
        reference: &Reference,
        module: Bytes,
        options: &PushOptions,
    ) -> Result<Pushed, Error> {
        if reference.digest().is_some() {
            return Err(Error::Options(format!(
                "{reference}: push to a tag; the digest follows from the content"
            )));
        }
        let limit = self.options().max_module_size;
        if module.len() as u64 > limit {
            return Err(Error::TooLarge {
                what: "the module".to_owned(),
                limit,
            });
        }
        let kind = Kind::of(&module).map_err(|reason| Error::NotWasm {
            what: "the content to push".to_owned(),
            reason,
        })?;
        let artifact = pack(reference, module, kind, options)?;
        let manifest = serde_json::to_vec(&artifact.manifest)
            .map_err(|error| Error::Options(format!("manifest: {error}")))?;
        let digest = Digest::of(&manifest);
        let session = self
            .transport
            .session(reference, &options.keychain, Action::Push)
            .await?;
        let mut uploaded = 0;
        for (descriptor, content) in artifact.blobs {
            uploaded += upload(&session, &descriptor, content, options.progress.as_ref()).await?;
        }
        if current(&session).await? != Some(digest) {
            put_manifest(&session, manifest.into(), digest).await?;
        }
        let tag = reference.tag().unwrap_or("latest");
        Ok(Pushed {
            reference: reference.tagged(tag)?.pinned(digest),
            manifest: digest,
            module: artifact.module,
            uploaded,
        })
    }
}

/// Sends a blob unless the registry has it; returns the bytes sent.
async fn upload(
    session: &Session<'_>,
    blob: &Descriptor,
    content: Bytes,
    progress: Option<&Progress>,
) -> Result<u64, Error> {
    let exists = session.url(&format!("blobs/{}", blob.digest));
    match session.send(Method::HEAD, &exists, |request| request).await {
        Ok(_) => {
            if let Some(progress) = progress {
                progress(blob.size, blob.size);
            }
            return Ok(0);
        }
        Err(Error::NotFound { .. }) => {}
        Err(failure) => return Err(failure),
    }
    let mut retry = session.retry();
    loop {
        // A broken upload leaves a session of unknown state: begin a new one.
        match upload_once(session, blob, &content, progress).await {
            Ok(()) => return Ok(blob.size),
            Err(failure) => retry.pause(failure).await?,
        }
    }
}

async fn upload_once(
    session: &Session<'_>,
    blob: &Descriptor,
    content: &Bytes,
    progress: Option<&Progress>,
) -> Result<(), Error> {
    let start = session.url("blobs/uploads/");
    let begun = session
        .attempt(&Method::POST, &start, |request| request.header(CONTENT_LENGTH, 0))
        .await?;
    let mut location = session.location(begun.headers(), &start)?;
    location.query_pairs_mut().append_pair("digest", &blob.digest);
    session
        .attempt(&Method::PUT, location.as_str(), |request| {
            request
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_LENGTH, content.len())
                .body(pieces(content.clone(), progress.cloned()))
        })
        .await?;
    Ok(())
}

/// A body that reports its progress as it is taken.
fn pieces(content: Bytes, progress: Option<Progress>) -> Body {
    let Some(progress) = progress else {
        return Body::from(content);
    };
    let total = content.len();
    let starts = (0..total).step_by(PIECE);
    Body::wrap_stream(futures_util::stream::iter(starts.map(move |start| {
        let end = (start + PIECE).min(total);
        progress(end as u64, total as u64);
        Ok::<_, std::convert::Infallible>(content.slice(start..end))
    })))
}

/// What the tag points to now.
async fn current(session: &Session<'_>) -> Result<Option<Digest>, Error> {
    let url = session.url(&format!("manifests/{}", session.reference.target()));
    match session
        .send(Method::HEAD, &url, |request| {
            request.header(ACCEPT, ACCEPT_MANIFESTS)
        })
        .await
    {
        Ok(answer) => {
            let header = answer
                .headers()
                .get("docker-content-digest")
                .and_then(|value| value.to_str().ok());
            Ok(header.and_then(|text| Digest::parse(text).ok()))
        }
        Err(Error::NotFound { .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn put_manifest(session: &Session<'_>, manifest: Bytes, digest: Digest) -> Result<(), Error> {
    let url = session.url(&format!("manifests/{}", session.reference.target()));
    let answer = session
        .send(Method::PUT, &url, |request| {
            request.header(CONTENT_TYPE, OCI_MANIFEST).body(manifest.clone())
        })
        .await?;
    let stored = answer
        .headers()
        .get("docker-content-digest")
        .and_then(|value| value.to_str().ok());
    match stored.and_then(|text| Digest::parse(text).ok()) {
        Some(stored) if stored != digest => Err(Error::Digest {
            what: format!("manifest of {}", session.reference),
            expected: digest,
            actual: stored,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_survive_the_way_through_annotations() {
        let reference = Reference::parse("r.example/a").unwrap();
        let description = Description {
            title: "t".into(),
            abi: "proxy-wasm/0.2.1".into(),
            callbacks: vec!["on_request_headers".into(), "on_log".into()],
            capabilities: vec!["proxy_log".into()],
            config_schema: Some("{\"type\":\"object\"}".into()),
            created: Some("2026-01-01T00:00:00Z".into()),
            annotations: [("org.opencontainers.image.version".to_owned(), "1".to_owned())].into(),
            ..Description::default()
        };
        assert_eq!(
            Description::from_annotations(&description.to_annotations(&reference)),
            description
        );
    }
}
