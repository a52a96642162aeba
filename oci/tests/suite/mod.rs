//! What every registry must do for us; run against Debian's docker-registry and against our own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use leno_oci::client::{Client, Options};
use leno_oci::digest::Digest;
use leno_oci::error::Error;
use leno_oci::fetch::{Fetcher, Origin, PullPolicy, Request};
use leno_oci::keychain::Keychain;
use leno_oci::layout::Layout;
use leno_oci::manifest::{
    DOCKER_MANIFEST, Descriptor, Index, Manifest, OCI_INDEX, OCI_MANIFEST, Platform, WASM_TO_OCI_LAYER,
};
use leno_oci::pull::{Kind, PullOptions};
use leno_oci::push::{Description, Format, PushOptions};
use leno_oci::reference::{Reference, Source};
use leno_oci::store::Store;

use crate::fixtures::{gzip, module, tar_with};

/// A registry and the way to talk to it.
pub(crate) struct Peer {
    /// `host:port`.
    pub(crate) host: String,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// PEM file of its authority.
    pub(crate) ca_file: Option<std::path::PathBuf>,
    /// Credentials for [`Client`].
    pub(crate) keychain: Keychain,
    /// The same for raw requests.
    pub(crate) login: Option<(&'static str, &'static str)>,
}

impl Peer {
    pub(crate) fn client(&self) -> Client {
        Client::new(Options {
            ca_file: self.ca_file.clone(),
            retries: 1,
            backoff: Duration::from_millis(1),
            ..Options::default()
        })
        .unwrap()
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        Reference::parse(&format!("{}/{name}", self.host)).unwrap()
    }

    fn push_options(&self) -> PushOptions {
        PushOptions {
            keychain: self.keychain.clone(),
            ..PushOptions::default()
        }
    }

    fn pull_options(&self) -> PullOptions {
        PullOptions {
            keychain: self.keychain.clone(),
            ..PullOptions::default()
        }
    }

    async fn raw(
        &self,
        method: reqwest::Method,
        url: &str,
        media_type: &str,
        body: Bytes,
    ) -> reqwest::Response {
        let mut builder = reqwest::Client::builder();
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).unwrap();
            builder = builder.tls_certs_merge([reqwest::Certificate::from_pem(&pem).unwrap()]);
        }
        let mut request = builder
            .build()
            .unwrap()
            .request(method, url)
            .header("content-type", media_type)
            .body(body);
        if let Some((user, password)) = self.login {
            request = request.basic_auth(user, Some(password));
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        if !status.is_success() {
            panic!("{url}: {status}: {}", response.text().await.unwrap());
        }
        response
    }

    /// Uploads by hand, as a tool of somebody else would.
    async fn put_blob(&self, repository: &str, content: &Bytes) {
        let base = format!("{}://{}", self.scheme, self.host);
        let begun = self
            .raw(
                reqwest::Method::POST,
                &format!("{base}/v2/{repository}/blobs/uploads/"),
                "text/plain",
                Bytes::new(),
            )
            .await;
        let location = begun.headers()["location"].to_str().unwrap();
        let mut url = reqwest::Url::parse(&base).unwrap().join(location).unwrap();
        url.query_pairs_mut()
            .append_pair("digest", &Digest::of(content).to_string());
        self.raw(
            reqwest::Method::PUT,
            url.as_str(),
            "application/octet-stream",
            content.clone(),
        )
        .await;
    }

    async fn put_manifest(&self, repository: &str, name: &str, media_type: &str, manifest: &Bytes) {
        let url = format!("{}://{}/v2/{repository}/manifests/{name}", self.scheme, self.host);
        self.raw(reqwest::Method::PUT, &url, media_type, manifest.clone())
            .await;
    }

    /// Uploads an image by hand and returns its manifest's digest.
    async fn put_image(
        &self,
        repository: &str,
        tag: &str,
        manifest_type: &str,
        config: (&str, &str),
        layers: &[(&str, Bytes)],
    ) -> Digest {
        let config_content = Bytes::copy_from_slice(config.1.as_bytes());
        self.put_blob(repository, &config_content).await;
        for (_, content) in layers {
            self.put_blob(repository, content).await;
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(manifest_type.to_owned()),
            config: Descriptor::of(config.0, &config_content),
            layers: layers
                .iter()
                .map(|(media_type, content)| Descriptor::of(media_type, content))
                .collect(),
            ..Manifest::default()
        };
        let manifest = Bytes::from(serde_json::to_vec(&manifest).unwrap());
        let digest = Digest::of(&manifest);
        let name = if tag.is_empty() {
            digest.to_string()
        } else {
            tag.to_owned()
        };
        self.put_manifest(repository, &name, manifest_type, &manifest)
            .await;
        digest
    }
}

/// Everything, on a fresh registry.
pub(crate) async fn run(peer: &Peer) {
    pushes_and_pulls(peer).await;
    pushes_what_istio_reads(peer).await;
    pulls_images_of_other_tools(peer).await;
    chooses_from_an_index(peer).await;
    inspects_and_verifies(peer).await;
    fetches_through_the_store(peer).await;
    refuses_clearly(peer).await;
}

async fn pushes_and_pulls(peer: &Peer) {
    let client = peer.client();
    let reference = peer.reference("filters/auth:v1");
    let bytes = module(1, 300_000);
    let seen = Arc::new(AtomicU64::new(0));
    let counter = seen.clone();
    let options = PushOptions {
        progress: Some(Arc::new(move |done, _| {
            counter.fetch_max(done, Ordering::Relaxed);
        })),
        ..peer.push_options()
    };
    let pushed = client.push(&reference, bytes.clone(), &options).await.unwrap();
    assert!(pushed.uploaded > bytes.len() as u64);
    assert_eq!(seen.load(Ordering::Relaxed), bytes.len() as u64);
    let again = client.push(&reference, bytes.clone(), &options).await.unwrap();
    assert_eq!((again.uploaded, again.manifest), (0, pushed.manifest));
    assert_eq!(
        client.resolve(&reference, &peer.keychain).await.unwrap(),
        pushed.manifest
    );

    for source in [reference.clone(), pushed.reference.clone()] {
        let pulled = client
            .pull(&Source::Oci(source), &peer.pull_options())
            .await
            .unwrap();
        assert_eq!(pulled.bytes, bytes);
        assert_eq!((pulled.digest, pulled.kind), (pushed.module, Kind::Module));
        let artifact = pulled.artifact.unwrap();
        assert_eq!(
            (artifact.layout, artifact.manifest),
            (Layout::Cncf, pushed.manifest)
        );
    }
    // Either digest may be given as the sha256 of a plugin.
    for sha256 in [pushed.manifest, pushed.module] {
        let options = PullOptions {
            sha256: Some(sha256),
            ..peer.pull_options()
        };
        client
            .pull(&Source::Oci(reference.clone()), &options)
            .await
            .unwrap();
    }
    let options = PullOptions {
        sha256: Some(Digest::of(b"other")),
        ..peer.pull_options()
    };
    let error = client
        .pull(&Source::Oci(reference.clone()), &options)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");

    let other = client
        .push(&reference, module(2, 10), &peer.push_options())
        .await
        .unwrap();
    assert_eq!(
        client.resolve(&reference, &peer.keychain).await.unwrap(),
        other.manifest
    );
    let old = client
        .pull(&Source::Oci(pushed.reference), &peer.pull_options())
        .await
        .unwrap();
    assert_eq!(old.bytes, bytes);
    assert_eq!(client.tags(&reference, &peer.keychain).await.unwrap(), ["v1"]);
}

async fn pushes_what_istio_reads(peer: &Peer) {
    let client = peer.client();
    let reference = peer.reference("filters/istio:v1");
    let options = PushOptions {
        format: Format::Istio,
        ..peer.push_options()
    };
    client.push(&reference, module(3, 100), &options).await.unwrap();
    let pulled = client
        .pull(&Source::Oci(reference), &peer.pull_options())
        .await
        .unwrap();
    assert_eq!(pulled.bytes, module(3, 100));
    assert_eq!(pulled.artifact.unwrap().layout, Layout::Istio);
}

async fn pulls_images_of_other_tools(peer: &Peer) {
    let oci_config = ("application/vnd.oci.image.config.v1+json", "{}");
    let docker_config = ("application/vnd.docker.container.image.v1+json", "{}");
    let wasm_to_oci = ("application/vnd.wasm.config.v1+json", "{}");
    let bytes = module(4, 70_000);
    let archive = tar_with("plugin.wasm", &bytes);
    let zstd: Bytes = zstd::encode_all(archive.as_slice(), 1).unwrap().into();
    let docker_layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let oci_layer = "application/vnd.oci.image.layer.v1.tar";
    let cases = [
        (
            "docker",
            DOCKER_MANIFEST,
            docker_config,
            docker_layer.to_owned(),
            gzip(&archive),
            Layout::DockerImage,
        ),
        (
            "oci",
            OCI_MANIFEST,
            oci_config,
            format!("{oci_layer}+gzip"),
            gzip(&archive),
            Layout::OciImage,
        ),
        (
            "zstd",
            OCI_MANIFEST,
            oci_config,
            format!("{oci_layer}+zstd"),
            zstd,
            Layout::OciImage,
        ),
        (
            "tar",
            OCI_MANIFEST,
            oci_config,
            oci_layer.to_owned(),
            archive.into(),
            Layout::OciImage,
        ),
        (
            "oras",
            OCI_MANIFEST,
            oci_config,
            oci_layer.to_owned(),
            bytes.clone(),
            Layout::OciImage,
        ),
        (
            "krustlet",
            OCI_MANIFEST,
            wasm_to_oci,
            WASM_TO_OCI_LAYER.to_owned(),
            bytes.clone(),
            Layout::WasmToOci,
        ),
    ];
    let client = peer.client();
    for (tag, manifest_type, config, layer_type, layer, layout) in cases {
        let base = gzip(&tar_with("etc/base", b"x"));
        let layers = match layout {
            Layout::DockerImage => vec![(docker_layer, base), (layer_type.as_str(), layer)],
            _ => vec![(layer_type.as_str(), layer)],
        };
        let digest = peer
            .put_image("images/filter", tag, manifest_type, config, &layers)
            .await;
        let source = Source::Oci(peer.reference(&format!("images/filter:{tag}")));
        let pulled = client.pull(&source, &peer.pull_options()).await.unwrap();
        assert_eq!(pulled.bytes, bytes, "{tag}");
        let artifact = pulled.artifact.unwrap();
        assert_eq!((artifact.layout, artifact.manifest), (layout, digest), "{tag}");
    }
}

async fn chooses_from_an_index(peer: &Peer) {
    let config = ("application/vnd.oci.image.config.v1+json", "{}");
    let layer = (
        "application/vnd.oci.image.layer.v1.tar+gzip",
        gzip(&tar_with("plugin.wasm", &module(5, 10))),
    );
    let image = peer
        .put_image("images/index", "", OCI_MANIFEST, config, &[layer])
        .await;
    let proof = ("application/vnd.in-toto+json", Bytes::from_static(b"{}"));
    let attestation = peer
        .put_image("images/index", "", OCI_MANIFEST, config, &[proof])
        .await;
    let client = peer.client();
    let mut manifests = Vec::new();
    for (digest, os, architecture) in [(attestation, "unknown", "unknown"), (image, "linux", "amd64")] {
        let pinned = peer.reference("images/index").pinned(digest);
        let raw = client.inspect(&pinned, &peer.keychain).await.unwrap().raw;
        let platform = Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        };
        manifests.push(Descriptor {
            platform: Some(platform),
            ..Descriptor::of(OCI_MANIFEST, &raw)
        });
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(OCI_INDEX.to_owned()),
        manifests,
        ..Index::default()
    };
    let index = Bytes::from(serde_json::to_vec(&index).unwrap());
    peer.put_manifest("images/index", "v1", OCI_INDEX, &index).await;

    let reference = peer.reference("images/index:v1");
    let pulled = client
        .pull(&Source::Oci(reference.clone()), &peer.pull_options())
        .await
        .unwrap();
    let artifact = pulled.artifact.unwrap();
    assert_eq!(pulled.bytes, module(5, 10));
    assert_eq!(
        (artifact.resolved, artifact.manifest),
        (Digest::of(&index), image)
    );
    assert_eq!(
        client.resolve(&reference, &peer.keychain).await.unwrap(),
        artifact.resolved
    );
}

async fn inspects_and_verifies(peer: &Peer) {
    let client = peer.client();
    let reference = peer.reference("filters/described:v1");
    let description = Description {
        abi: "proxy-wasm/0.2.1".to_owned(),
        callbacks: vec!["on_request_headers".to_owned()],
        config_schema: Some(r#"{"type":"object"}"#.to_owned()),
        ..Description::default()
    };
    let options = PushOptions {
        description,
        ..peer.push_options()
    };
    let pushed = client.push(&reference, module(6, 1000), &options).await.unwrap();
    let found = client.inspect(&reference, &peer.keychain).await.unwrap();
    assert_eq!((found.digest, found.resolved), (pushed.manifest, pushed.manifest));
    assert_eq!(found.layout.unwrap().0, Layout::Cncf);
    assert_eq!(found.config.unwrap()["os"], "wasip1");
    assert_eq!(found.description.abi, "proxy-wasm/0.2.1");
    assert_eq!(found.description.title, "described");
    let checks = client.verify(&reference, &peer.keychain).await.unwrap();
    let names: Vec<&str> = checks.iter().map(|check| check.what).collect();
    assert_eq!(names, ["manifest", "config", "layer", "module"]);
    assert!(checks.iter().all(|check| check.result.is_ok()), "{checks:?}");
}

async fn fetches_through_the_store(peer: &Peer) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), 1 << 20).unwrap());
    let fetcher = Fetcher::new(peer.client(), store);
    let reference = peer.reference("filters/fetched:v1");
    let client = peer.client();
    client
        .push(&reference, module(7, 1000), &peer.push_options())
        .await
        .unwrap();
    let mut request = Request {
        keychain: peer.keychain.clone(),
        ..Request::new(Source::Oci(reference.clone()))
    };
    assert_eq!(request.policy, PullPolicy::IfNotPresent);
    assert!(matches!(
        fetcher.fetch(&request).await.unwrap().origin,
        Origin::Remote
    ));
    let stored = fetcher.fetch(&request).await.unwrap();
    assert!(matches!(stored.origin, Origin::Store));
    assert_eq!(stored.module.bytes, module(7, 1000));

    client
        .push(&reference, module(8, 1000), &peer.push_options())
        .await
        .unwrap();
    assert_eq!(
        fetcher.fetch(&request).await.unwrap().module.bytes,
        module(7, 1000)
    );
    request.policy = PullPolicy::Always;
    let changed = fetcher.fetch(&request).await.unwrap();
    assert!(matches!(changed.origin, Origin::Remote));
    assert_eq!(changed.module.bytes, module(8, 1000));
    assert!(matches!(
        fetcher.fetch(&request).await.unwrap().origin,
        Origin::Store
    ));

    // Damage on the disk is noticed, and heals.
    let path = fetcher.store().path(&changed.module.digest).unwrap();
    std::fs::write(&path, b"rubbish").unwrap();
    let healed = fetcher.fetch(&request).await.unwrap();
    assert!(matches!(healed.origin, Origin::Remote));
    assert_eq!(std::fs::read(&path).unwrap(), module(8, 1000));
}

async fn refuses_clearly(peer: &Peer) {
    let client = peer.client();
    let missing = peer.reference("no/such:thing");
    for error in [
        client
            .pull(&Source::Oci(missing.clone()), &peer.pull_options())
            .await
            .unwrap_err(),
        client.resolve(&missing, &peer.keychain).await.unwrap_err(),
        client.inspect(&missing, &peer.keychain).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
        assert!(error.to_string().contains("no/such:thing"), "{error}");
    }
    let html = Bytes::from_static(b"<!DOCTYPE html><html></html>");
    let reference = peer.reference("filters/html:v1");
    let error = client
        .push(&reference, html.clone(), &peer.push_options())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("HTML"), "{error}");
    let config = ("application/vnd.wasm.config.v0+json", "{}");
    peer.put_image(
        "filters/html",
        "v1",
        OCI_MANIFEST,
        config,
        &[("application/wasm", html)],
    )
    .await;
    let error = client
        .pull(&Source::Oci(reference), &peer.pull_options())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::NotWasm { .. }) && error.to_string().contains("HTML"),
        "{error}"
    );
}
