//! Modules through the store: what is there is not downloaded again, by Istio's rules for pull policies.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::{Client, Progress};
use crate::digest::Digest;
use crate::error::Error;
use crate::keychain::{Credential, Keychain};
use crate::layout::Layout;
use crate::pull::{Artifact, Kind, Module, PullOptions};
use crate::reference::Source;
use crate::store::{Record, Store, StoreError};

/// When to ask the registry about something that is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Never.
    IfNotPresent,
    /// Each time; only a changed artifact is downloaded.
    Always,
}

impl PullPolicy {
    /// `Always` for a reference that ends in `:latest`, as written; else `IfNotPresent`. An absent tag is not
    /// `:latest` here (Istio does the same).
    pub fn default_for(source: &Source) -> PullPolicy {
        match source {
            Source::Oci(reference) if reference.tag() == Some("latest") && reference.digest().is_none() => {
                PullPolicy::Always
            }
            _ => PullPolicy::IfNotPresent,
        }
    }
}

/// What to fetch.
#[derive(Clone)]
pub struct Request {
    /// Where the module is.
    pub source: Source,
    /// What must come; see [`PullOptions::sha256`].
    pub sha256: Option<Digest>,
    /// When to ask again; without effect where a digest pins the content.
    pub policy: PullPolicy,
    /// Credentials.
    pub keychain: Keychain,
    /// Is told how far a download is.
    pub progress: Option<Progress>,
}

impl Request {
    /// A request with the default policy, no digest and no credentials.
    pub fn new(source: Source) -> Request {
        let policy = PullPolicy::default_for(&source);
        Request {
            source,
            sha256: None,
            policy,
            keychain: Keychain::anonymous(),
            progress: None,
        }
    }
}

/// A module and the way it came.
#[derive(Debug)]
pub struct Fetched {
    /// The module.
    pub module: Module,
    /// The way it came.
    pub origin: Origin,
}

/// Where a fetched module was.
#[derive(Debug)]
pub enum Origin {
    /// Downloaded just now.
    Remote,
    /// In the store.
    Store,
    /// In the store, and the source could not be asked whether it still is current.
    Stale(Error),
}

/// A client with a store. Clones share both.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    store: Arc<Store>,
}

impl Fetcher {
    /// Joins a client and a store.
    pub fn new(client: Client, store: Arc<Store>) -> Fetcher {
        Fetcher { client, store }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The module for `request`, from the store where the policy allows it.
    ///
    /// A stored module serves only requests with the same credentials as those that fetched it: knowing the name
    /// of a private artifact must not be enough to run it.
    pub async fn fetch(&self, request: &Request) -> Result<Fetched, Error> {
        if let Source::File(_) = &request.source {
            let module = self.download(request).await?;
            self.keep(&module, None).await;
            return Ok(Fetched {
                module,
                origin: Origin::Remote,
            });
        }
        let key = self.key(request).await?;
        let stored = self.stored(&key, request).await?;
        let pinned = request.sha256.is_some()
            || matches!(&request.source, Source::Oci(reference) if reference.digest().is_some());
        let ask = request.policy == PullPolicy::Always && !pinned;
        match (stored, &request.source) {
            (Some(module), _) if !ask => {
                return Ok(Fetched {
                    module,
                    origin: Origin::Store,
                });
            }
            (Some(module), Source::Oci(reference)) => {
                match self.client.resolve(reference, &request.keychain).await {
                    Ok(now)
                        if module
                            .artifact
                            .as_ref()
                            .is_some_and(|artifact| artifact.resolved == now) =>
                    {
                        return Ok(Fetched {
                            module,
                            origin: Origin::Store,
                        });
                    }
                    Ok(_) => {}
                    // A certificate that has expired is trouble of the registry's, as when it is down.
                    Err(error) if error.is_transient() || matches!(error, Error::Untrusted { .. }) => {
                        return Ok(Fetched {
                            module,
                            origin: Origin::Stale(error),
                        });
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => {}
        }
        let module = self.download(request).await?;
        self.keep(&module, Some((key, request.source.to_string()))).await;
        Ok(Fetched {
            module,
            origin: Origin::Remote,
        })
    }

    async fn download(&self, request: &Request) -> Result<Module, Error> {
        let options = PullOptions {
            keychain: request.keychain.clone(),
            sha256: request.sha256,
            progress: request.progress.clone(),
        };
        self.client.pull(&request.source, &options).await
    }

    async fn key(&self, request: &Request) -> Result<String, Error> {
        let Source::Oci(reference) = &request.source else {
            return Ok(request.source.to_string());
        };
        let (reference, keychain) = (reference.clone(), request.keychain.clone());
        blocking(move || {
            let credential = keychain.credential(&reference)?;
            Ok(format!(
                "{reference} {}",
                Credential::fingerprint(credential.as_ref())
            ))
        })
        .await
    }

    /// The stored module, if it is whole and is what `request` wants.
    async fn stored(&self, key: &str, request: &Request) -> Result<Option<Module>, Error> {
        let (store, key) = (self.store.clone(), key.to_owned());
        let module = blocking(move || {
            let Some(record) = store.record(&key) else {
                return Ok(None);
            };
            let Ok(digest) = Digest::parse(&record.module) else {
                return Ok(None);
            };
            let Some(bytes) = store.get(&digest)? else {
                return Ok(None);
            };
            let Ok(kind) = Kind::of(&bytes) else {
                return Ok(None);
            };
            let artifact = artifact(record);
            Ok(Some(Module {
                bytes,
                digest,
                kind,
                artifact,
            }))
        })
        .await?;
        Ok(module.filter(|module| match (request.sha256, &module.artifact) {
            (None, _) => true,
            (Some(wanted), Some(artifact)) => {
                [module.digest, artifact.manifest, artifact.resolved].contains(&wanted)
            }
            (Some(wanted), None) => wanted == module.digest,
        }))
    }

    /// A store that cannot keep the module costs a later download, not this one.
    async fn keep(&self, module: &Module, name: Option<(String, String)>) {
        let (store, module) = (self.store.clone(), module.clone());
        let kept = blocking(move || {
            store.put(&module.bytes)?;
            if let Some((key, name)) = name {
                store.set_record(&key, &record(name, &module))?;
            }
            Ok(())
        });
        if let Err(error) = kept.await {
            tracing::warn!(%error, "module is not kept in the store");
        }
    }
}

fn record(name: String, module: &Module) -> Record {
    let artifact = module.artifact.as_ref();
    Record {
        name,
        module: module.digest.to_string(),
        resolved: artifact.map(|artifact| artifact.resolved.to_string()),
        manifest: artifact.map(|artifact| artifact.manifest.to_string()),
        layout: artifact.map(|artifact| artifact.layout.name().to_owned()),
        annotations: artifact
            .map(|artifact| artifact.annotations.clone())
            .unwrap_or_default(),
        fetched: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    }
}

fn artifact(record: Record) -> Option<Artifact> {
    let layouts = [
        Layout::Cncf,
        Layout::Istio,
        Layout::WasmToOci,
        Layout::OciImage,
        Layout::DockerImage,
    ];
    let name = record.layout?;
    Some(Artifact {
        resolved: Digest::parse(&record.resolved?).ok()?,
        manifest: Digest::parse(&record.manifest?).ok()?,
        layout: layouts.into_iter().find(|layout| layout.name() == name)?,
        annotations: record.annotations,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let stopped = |error: tokio::task::JoinError| {
        Error::Store(StoreError::Io {
            path: "store".to_owned(),
            source: std::io::Error::other(error),
        })
    };
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}
