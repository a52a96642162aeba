//! The embedded registry does what docker-registry does, and what the specification says besides.

#![allow(clippy::unwrap_used, reason = "a test may end where it finds something wrong")]

#[path = "../../oci/tests/fixtures/mod.rs"]
mod fixtures;
#[path = "../../oci/tests/suite/mod.rs"]
mod suite;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fixtures::module;
use leno_control_plane::registry::{Access, Options, Pushed, router};
use leno_oci::digest::Digest;
use leno_oci::error::Error;
use leno_oci::keychain::Keychain;
use leno_oci::manifest::{Descriptor, EMPTY_CONFIG, Manifest, OCI_INDEX, OCI_MANIFEST};
use leno_oci::push::PushOptions;
use reqwest::{Method, Response, StatusCode};
use suite::Peer;

struct Registry {
    folder: tempfile::TempDir,
    host: String,
    client: reqwest::Client,
}

async fn start(options: Options) -> Registry {
    let folder = tempfile::tempdir().unwrap();
    let host = serve(folder.path(), options).await;
    Registry {
        folder,
        host,
        client: reqwest::Client::new(),
    }
}

async fn serve(folder: &std::path::Path, options: Options) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let router = router(folder.join("registry"), options).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    host
}

impl Registry {
    fn peer(&self) -> Peer {
        Peer {
            host: self.host.clone(),
            scheme: "http",
            ca_file: None,
            keychain: Keychain::anonymous(),
            login: None,
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        let mut request = self
            .client
            .request(method, format!("http://{}{path}", self.host))
            .body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], "").await
    }

    /// Begins an upload and returns where it goes on.
    async fn begin(&self, repository: &str) -> String {
        let begun = self
            .send(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), &[], "")
            .await;
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        header(&begun, "location").to_owned()
    }

    async fn put_blob(&self, repository: &str, content: &'static str) {
        let path = format!(
            "/v2/{repository}/blobs/uploads/?digest={}",
            Digest::of(content.as_bytes())
        );
        assert_eq!(
            self.send(Method::POST, &path, &[], content).await.status(),
            StatusCode::CREATED
        );
    }

    /// Pushes an artifact without layers.
    async fn put_manifest(&self, repository: &str, name: &str, manifest: &Manifest) -> Response {
        self.put_blob(repository, "{}").await;
        let body = serde_json::to_vec(manifest).unwrap();
        let path = format!("/v2/{repository}/manifests/{name}");
        self.send(Method::PUT, &path, &[("content-type", OCI_MANIFEST)], body)
            .await
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
        .unwrap_or_default()
}

fn empty_manifest() -> Manifest {
    Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        config: Descriptor::of(EMPTY_CONFIG, b"{}"),
        ..Manifest::default()
    }
}

async fn refused(response: Response, status: StatusCode, code: &str) {
    assert_eq!(response.status(), status, "{}", response.url());
    let document: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(document["errors"][0]["code"], code);
    assert_ne!(document["errors"][0]["message"], "");
}

#[tokio::test]
async fn does_what_docker_registry_does() {
    let registry = start(Options::default()).await;
    suite::run(&registry.peer()).await;
    assert_eq!(
        header(&registry.get("/v2/").await, "docker-distribution-api-version"),
        "registry/2.0"
    );
}

#[tokio::test]
async fn takes_blobs_in_pieces() {
    let registry = start(Options::default()).await;
    let content = module(1, 100);
    let digest = Digest::of(&content);
    let upload = registry.begin("team/filter").await;
    let patch = async |range: &str, piece: Bytes| {
        registry
            .send(Method::PATCH, &upload, &[("content-range", range)], piece)
            .await
    };
    let first = patch("0-49", content.slice(..50)).await;
    assert_eq!(
        (first.status(), header(&first, "range")),
        (StatusCode::ACCEPTED, "0-49")
    );
    assert_eq!(header(&registry.get(&upload).await, "range"), "0-49");
    // A piece that leaves a hole, and the same one again.
    for range in ["60-107", "0-49"] {
        let wrong = patch(range, content.slice(..48)).await;
        refused(wrong, StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID").await;
    }
    let last = registry
        .send(
            Method::PUT,
            &format!("{upload}?digest={digest}"),
            &[],
            content.slice(50..),
        )
        .await;
    assert_eq!(last.status(), StatusCode::CREATED);
    assert_eq!(header(&last, "docker-content-digest"), digest.to_string());
    let blob = header(&last, "location").to_owned();
    assert_eq!(registry.get(&blob).await.bytes().await.unwrap(), content);
    refused(
        registry.get(&upload).await,
        StatusCode::NOT_FOUND,
        "BLOB_UPLOAD_UNKNOWN",
    )
    .await;

    let part = registry
        .send(Method::GET, &blob, &[("range", "bytes=10-19")], "")
        .await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&part, "content-range"), "bytes 10-19/108");
    assert_eq!(part.bytes().await.unwrap(), content.slice(10..20));
    let outside = registry
        .send(Method::GET, &blob, &[("range", "bytes=108-")], "")
        .await;
    refused(outside, StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID").await;
}

#[tokio::test]
async fn refuses_content_that_is_not_what_its_name_says() {
    let registry = start(Options::default()).await;
    let wrong = Digest::of(b"other");
    let upload = registry.begin("a").await;
    let answer = registry
        .send(Method::PUT, &format!("{upload}?digest={wrong}"), &[], "content")
        .await;
    refused(answer, StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;
    refused(
        registry.get(&format!("/v2/a/blobs/{wrong}")).await,
        StatusCode::NOT_FOUND,
        "BLOB_UNKNOWN",
    )
    .await;
    let upload = registry.begin("a").await;
    refused(
        registry.send(Method::PUT, &upload, &[], "").await,
        StatusCode::BAD_REQUEST,
        "DIGEST_INVALID",
    )
    .await;
    let cancelled = registry.send(Method::DELETE, &upload, &[], "").await;
    assert_eq!(cancelled.status(), StatusCode::NO_CONTENT);

    let by_digest = registry
        .put_manifest("a", &wrong.to_string(), &empty_manifest())
        .await;
    refused(by_digest, StatusCode::BAD_REQUEST, "DIGEST_INVALID").await;
    let missing = Manifest {
        layers: vec![Descriptor::of("x/y", b"never pushed")],
        ..empty_manifest()
    };
    let answer = registry.put_manifest("a", "v1", &missing).await;
    refused(answer, StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN").await;
    let html = registry
        .send(
            Method::PUT,
            "/v2/a/manifests/v1",
            &[("content-type", OCI_MANIFEST)],
            "<html>",
        )
        .await;
    refused(html, StatusCode::BAD_REQUEST, "MANIFEST_INVALID").await;
    refused(
        registry.get("/v2/a/manifests/v1").await,
        StatusCode::NOT_FOUND,
        "MANIFEST_UNKNOWN",
    )
    .await;
}

#[tokio::test]
async fn keeps_to_its_limits() {
    let registry = start(Options {
        max_blob: 1000,
        max_manifest: 500,
        ..Options::default()
    })
    .await;
    let upload = registry.begin("a").await;
    let large = registry.send(Method::PATCH, &upload, &[], vec![0; 1001]).await;
    refused(large, StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID").await;
    refused(
        registry.get(&upload).await,
        StatusCode::NOT_FOUND,
        "BLOB_UPLOAD_UNKNOWN",
    )
    .await;
    let manifest = registry
        .send(Method::PUT, "/v2/a/manifests/v1", &[], vec![b' '; 501])
        .await;
    refused(manifest, StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID").await;
}

#[tokio::test]
async fn serves_only_what_a_repository_has() {
    let registry = start(Options::default()).await;
    registry.put_blob("one", "shared").await;
    let digest = Digest::of(b"shared");
    refused(
        registry.get(&format!("/v2/two/blobs/{digest}")).await,
        StatusCode::NOT_FOUND,
        "BLOB_UNKNOWN",
    )
    .await;
    let mount = async |from: &str| {
        let path = format!("/v2/two/blobs/uploads/?mount={digest}&from={from}");
        registry.send(Method::POST, &path, &[], "").await.status()
    };
    assert_eq!(mount("nobody").await, StatusCode::ACCEPTED);
    assert_eq!(mount("one").await, StatusCode::CREATED);
    assert_eq!(
        registry
            .get(&format!("/v2/two/blobs/{digest}"))
            .await
            .text()
            .await
            .unwrap(),
        "shared"
    );
}

#[tokio::test]
async fn lists_tags_in_pages() {
    let registry = start(Options::default()).await;
    refused(
        registry.get("/v2/a/tags/list").await,
        StatusCode::NOT_FOUND,
        "NAME_UNKNOWN",
    )
    .await;
    for tag in ["v3", "v1", "v2"] {
        assert_eq!(
            registry.put_manifest("a", tag, &empty_manifest()).await.status(),
            StatusCode::CREATED
        );
    }
    let tags = async |path: &str| {
        let response = registry.get(path).await;
        let link = header(&response, "link").to_owned();
        let body: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        (body["tags"].to_string(), link)
    };
    assert_eq!(
        tags("/v2/a/tags/list").await,
        (r#"["v1","v2","v3"]"#.to_owned(), String::new())
    );
    let (first, link) = tags("/v2/a/tags/list?n=2").await;
    assert_eq!(
        (first.as_str(), link.as_str()),
        (r#"["v1","v2"]"#, r#"</v2/a/tags/list?n=2&last=v2>; rel="next""#)
    );
    assert_eq!(
        tags("/v2/a/tags/list?n=2&last=v2").await,
        (r#"["v3"]"#.to_owned(), String::new())
    );
    let catalog = registry.get("/v2/_catalog").await.text().await.unwrap();
    assert_eq!(catalog, r#"{"repositories":["a"]}"#);
}

#[tokio::test]
async fn knows_who_refers_to_a_manifest() {
    let registry = start(Options::default()).await;
    let subject = Descriptor::of(OCI_MANIFEST, b"signed later or earlier");
    let signature = Manifest {
        artifact_type: Some("application/vnd.example.signature".to_owned()),
        subject: Some(subject.clone()),
        ..empty_manifest()
    };
    let pushed = registry.put_manifest("a", "signature", &signature).await;
    assert_eq!(header(&pushed, "oci-subject"), subject.digest);
    let count = async |query: &str| {
        let response = registry
            .get(&format!("/v2/a/referrers/{}{query}", subject.digest))
            .await;
        assert_eq!(header(&response, "content-type"), OCI_INDEX);
        let index: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        index["manifests"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 1);
    assert_eq!(
        count("?artifactType=application%2Fvnd.example.signature").await,
        1
    );
    assert_eq!(count("?artifactType=other").await, 0);
}

#[tokio::test]
async fn tells_what_was_pushed_and_survives_a_restart() {
    let seen: Arc<Mutex<Vec<Pushed>>> = Arc::default();
    let notify = seen.clone();
    let on_push = move |pushed: Pushed| notify.lock().unwrap().push(pushed);
    let registry = start(Options {
        on_push: Some(Arc::new(on_push)),
        ..Options::default()
    })
    .await;
    let peer = registry.peer();
    let reference = peer.reference("filters/auth:v1");
    let pushed = peer
        .client()
        .push(&reference, module(1, 10), &PushOptions::default())
        .await
        .unwrap();
    let expected = Pushed {
        repository: "filters/auth".to_owned(),
        tag: Some("v1".to_owned()),
        digest: pushed.manifest,
    };
    assert_eq!(*seen.lock().unwrap(), [expected]);

    let host = serve(
        registry.folder.path(),
        Options {
            access: Access::ReadOnly,
            ..Options::default()
        },
    )
    .await;
    let restarted = Peer { host, ..peer };
    let client = restarted.client();
    let reference = restarted.reference("filters/auth:v1");
    assert_eq!(
        client.resolve(&reference, &Keychain::anonymous()).await.unwrap(),
        pushed.manifest
    );
    let error = client
        .push(&reference, module(2, 10), &PushOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Denied { reason, .. } if reason.contains("read-only")),
        "{error:?}"
    );
}

#[tokio::test]
async fn refuses_what_it_does_not_do() {
    let registry = start(Options::default()).await;
    registry.put_manifest("a", "v1", &empty_manifest()).await;
    let delete = registry.send(Method::DELETE, "/v2/a/manifests/v1", &[], "").await;
    assert_eq!(header(&delete, "allow"), "GET, HEAD");
    refused(delete, StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED").await;
    for (path, status, code) in [
        ("/v2/UPPER/manifests/v1", StatusCode::BAD_REQUEST, "NAME_INVALID"),
        (
            "/v2/a%2f..%2fb/manifests/v1",
            StatusCode::BAD_REQUEST,
            "NAME_INVALID",
        ),
        (
            "/v2/a/manifests/.hidden",
            StatusCode::BAD_REQUEST,
            "MANIFEST_INVALID",
        ),
        (
            "/v2/a/blobs/sha256:..%2f..%2fx",
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
        ),
        ("/v2/a/blobs/sha512:00", StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
        (
            "/v2/a/blobs/uploads/..%2f..%2fx",
            StatusCode::NOT_FOUND,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        ("/v2/a", StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
    ] {
        refused(registry.get(path).await, status, code).await;
    }
}
