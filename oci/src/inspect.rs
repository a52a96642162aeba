//! What a registry holds under a reference, without or with downloading all of it.

use bytes::Bytes;
use reqwest::Method;

use crate::client::Client;
use crate::digest::Digest;
use crate::error::Error;
use crate::keychain::Keychain;
use crate::layout::{self, Content, Layout};
use crate::manifest::{Descriptor, Document, Index, Manifest};
use crate::pull::PullOptions;
use crate::push::Description;
use crate::reference::{Reference, Source};
use crate::session::Action;
use crate::transfer::{fetch_blob, fetch_manifest};

/// Configurations larger than this are not shown.
const MAX_CONFIG: u64 = 1024 * 1024;

/// An artifact as its manifest tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the reference resolved to: a manifest or an index.
    pub resolved: Digest,
    /// The index, when there is one.
    pub index: Option<Index>,
    /// The digest of `manifest`.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest as stored, byte for byte.
    pub raw: Bytes,
    /// The layout and the layer to look at first, or why there is none.
    pub layout: Result<(Layout, Descriptor), String>,
    /// The configuration, when it is JSON of reasonable size.
    pub config: Option<serde_json::Value>,
    /// What the annotations tell about the filter.
    pub description: Description,
}

/// One piece of an artifact, fetched and checked again.
#[derive(Debug)]
pub struct Check {
    /// `index`, `manifest`, `config`, `layer` or `module`.
    pub what: &'static str,
    /// Digest as written in the artifact.
    pub digest: String,
    /// Its size.
    pub size: u64,
    /// Whether it holds.
    pub result: Result<(), Error>,
}

impl Client {
    /// Reads the manifest and the configuration; layers are not downloaded.
    pub async fn inspect(&self, reference: &Reference, keychain: &Keychain) -> Result<Inspection, Error> {
        self.in_time(&reference.to_string(), self.inspect_artifact(reference, keychain))
            .await
    }

    /// Downloads every piece of the artifact and checks sizes and digests, and that it holds a module. Fails only
    /// when there is nothing to check.
    pub async fn verify(&self, reference: &Reference, keychain: &Keychain) -> Result<Vec<Check>, Error> {
        let found = self.inspect(reference, keychain).await?;
        let mut checks = Vec::new();
        if let Some(index) = &found.index {
            let entries = index.manifests.len() as u64;
            checks.push(Check {
                what: "index",
                digest: found.resolved.to_string(),
                size: entries,
                result: Ok(()),
            });
        }
        let size = found.raw.len() as u64;
        checks.push(Check {
            what: "manifest",
            digest: found.digest.to_string(),
            size,
            result: Ok(()),
        });
        let session = self.transport.session(reference, keychain, Action::Pull).await?;
        let config = std::iter::once(("config", &found.manifest.config));
        for (what, blob) in config.chain(found.manifest.layers.iter().map(|layer| ("layer", layer))) {
            let fetched = self
                .in_time(&reference.to_string(), fetch_blob(&session, blob, None))
                .await;
            let result = fetched.map(|_| ());
            checks.push(Check {
                what,
                digest: blob.digest.clone(),
                size: blob.size,
                result,
            });
        }
        let options = PullOptions {
            keychain: keychain.clone(),
            ..PullOptions::default()
        };
        let source = Source::Oci(reference.pinned(found.resolved));
        checks.push(match self.pull(&source, &options).await {
            Ok(module) => Check {
                what: "module",
                digest: module.digest.to_string(),
                size: module.bytes.len() as u64,
                result: Ok(()),
            },
            Err(error) => Check {
                what: "module",
                digest: String::new(),
                size: 0,
                result: Err(error),
            },
        });
        Ok(checks)
    }

    /// The tags of a repository, in the registry's order.
    pub async fn tags(&self, reference: &Reference, keychain: &Keychain) -> Result<Vec<String>, Error> {
        #[derive(serde::Deserialize)]
        struct Answer {
            tags: Option<Vec<String>>,
        }
        let call = async {
            let session = self.transport.session(reference, keychain, Action::Pull).await?;
            let url = session.url("tags/list");
            let answer = session.send(Method::GET, &url, |request| request).await?;
            let body = session.body(answer, 4 * MAX_CONFIG, "the list of tags").await?;
            let answer: Answer = serde_json::from_slice(&body).map_err(|error| Error::Protocol {
                url,
                reason: format!("not a list of tags: {error}"),
            })?;
            Ok(answer.tags.unwrap_or_default())
        };
        self.in_time(&reference.to_string(), call).await
    }

    async fn inspect_artifact(
        &self,
        reference: &Reference,
        keychain: &Keychain,
    ) -> Result<Inspection, Error> {
        let session = self.transport.session(reference, keychain, Action::Pull).await?;
        let what = || reference.to_string();
        let top = fetch_manifest(&session, &reference.target()).await?;
        let resolved = top.digest;
        let (fetched, index) = match &top.document {
            Document::Manifest(_) => (top, None),
            Document::Index(index) => {
                let entry = index
                    .select()
                    .map_err(|reason| Error::Layout { what: what(), reason })?;
                let fetched = fetch_manifest(&session, &entry.digest).await?;
                (fetched, Some(index.clone()))
            }
        };
        let Document::Manifest(manifest) = fetched.document else {
            return Err(Error::Layout {
                what: what(),
                reason: "an index inside an index".to_owned(),
            });
        };
        let layout = layout::choose(&manifest).and_then(|(layout, content)| match content {
            Content::Layer(layer) => Ok((layout, layer.clone())),
            Content::Archives(layers) => match layers.first() {
                Some(layer) => Ok((layout, (*layer).clone())),
                None => Err("no layer".to_owned()),
            },
        });
        let config = match manifest.config.size <= MAX_CONFIG {
            true => serde_json::from_slice(&fetch_blob(&session, &manifest.config, None).await?).ok(),
            false => None,
        };
        Ok(Inspection {
            resolved,
            index,
            digest: fetched.digest,
            raw: fetched.bytes,
            layout,
            config,
            description: Description::from_annotations(&manifest.annotations),
            manifest: *manifest,
        })
    }
}
