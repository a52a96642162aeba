//! Registries and web servers that lie, stall, break off or lead astray.

#![allow(clippy::unwrap_used, reason = "a test may end where it finds something wrong")]

mod fixtures;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use fixtures::{gzip, module, tar_with};
use leno_oci::client::{Client, Options};
use leno_oci::digest::Digest;
use leno_oci::error::Error;
use leno_oci::fetch::{Fetcher, Origin, PullPolicy, Request as FetchRequest};
use leno_oci::keychain::{Keychain, PullSecret};
use leno_oci::manifest::{Descriptor, Manifest, OCI_MANIFEST, WASM_CONFIG, WASM_LAYER};
use leno_oci::pull::{Module, PullOptions};
use leno_oci::reference::{Reference, Source};
use leno_oci::store::Store;

const LIMIT: u64 = 200_000;

/// Serves `router` on a free port until the test ends.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    host
}

fn client() -> Client {
    Client::new(Options {
        max_module_size: LIMIT,
        stall_timeout: Duration::from_millis(300),
        deadline: Duration::from_secs(20),
        retries: 2,
        backoff: Duration::from_millis(1),
        ..Options::default()
    })
    .unwrap()
}

async fn pull(url: &str) -> Result<Module, Error> {
    client()
        .pull(&Source::parse(url).unwrap(), &PullOptions::default())
        .await
}

fn manifest_of(layer: Descriptor) -> Bytes {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        config: Descriptor::of(WASM_CONFIG, b"{}"),
        layers: vec![layer],
        ..Manifest::default()
    };
    serde_json::to_vec(&manifest).unwrap().into()
}

fn serve_manifest(manifest: Bytes) -> Router {
    let answer = move || async move { ([("content-type", OCI_MANIFEST)], manifest.clone()) };
    Router::new()
        .route("/v2/", get(|| async { "{}" }))
        .route("/v2/a/manifests/{name}", get(answer))
}

/// Pulls an artifact with this layer descriptor; `answer` serves the blob. Returns the error and how often the
/// blob was asked for.
async fn pull_layer(
    layer: Descriptor,
    answer: impl Fn() -> Response + Clone + Send + Sync + 'static,
) -> (Error, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let blob = move || {
        count.fetch_add(1, Ordering::Relaxed);
        let answer = answer();
        async move { answer }
    };
    let host = serve(serve_manifest(manifest_of(layer)).route("/v2/a/blobs/{digest}", get(blob))).await;
    let error = pull(&format!("oci://{host}/a:v1")).await.unwrap_err();
    (error, asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_blob_that_breaks_off_is_asked_for_again() {
    let whole = module(1, 1000);
    let layer = Descriptor::of(WASM_LAYER, &whole);
    let (error, asked) = pull_layer(layer, move || {
        let pieces: [Result<Bytes, std::io::Error>; 2] =
            [Ok(whole.slice(..100)), Err(std::io::Error::other("cable cut"))];
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        ([("content-length", whole.len().to_string())], body).into_response()
    })
    .await;
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert!(error.to_string().contains("broke off"), "{error}");
    assert_eq!(asked, 3);
}

#[tokio::test]
async fn a_blob_of_another_digest_is_refused() {
    let layer = Descriptor::of(WASM_LAYER, &module(1, 1000));
    let (error, asked) = pull_layer(layer, || module(2, 1000).into_response()).await;
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_blob_of_another_size_is_refused() {
    for size in [999, 1001, 100_000] {
        let layer = Descriptor::of(WASM_LAYER, &module(1, 1000));
        let (error, _) = pull_layer(layer, move || module(1, size).into_response()).await;
        assert!(matches!(error, Error::Size { expected: 1008, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_endless_blob_stops_at_the_first_excess_byte() {
    let layer = Descriptor::of(WASM_LAYER, &module(1, 1000));
    let (error, _) = pull_layer(layer, || {
        let zeros = std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 4096])));
        Body::from_stream(futures_util::stream::iter(zeros)).into_response()
    })
    .await;
    assert!(matches!(error, Error::Size { .. }), "{error:?}");
}

#[tokio::test]
async fn a_blob_over_the_limit_is_not_even_asked_for() {
    let mut layer = Descriptor::of(WASM_LAYER, b"");
    layer.size = LIMIT + 1;
    let (error, asked) = pull_layer(layer, || "".into_response()).await;
    assert!(matches!(error, Error::TooLarge { limit: LIMIT, .. }), "{error:?}");
    assert_eq!(asked, 0);
}

#[tokio::test]
async fn a_bomb_is_refused() {
    let archive = gzip(&tar_with("plugin.wasm", &vec![0; 20_000_000]));
    let layer = Descriptor::of("application/vnd.oci.image.layer.v1.tar+gzip", &archive);
    let (error, _) = pull_layer(layer, move || archive.clone().into_response()).await;
    assert!(matches!(error, Error::TooLarge { limit: LIMIT, .. }), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_stalls_is_given_up() {
    let layer = Descriptor::of(WASM_LAYER, &module(1, 1000));
    let (error, asked) = pull_layer(layer, || {
        let first =
            futures_util::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"\0asm")) });
        let stalled = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        Body::from_stream(stalled).into_response()
    })
    .await;
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert_eq!(asked, 3);
}

#[tokio::test]
async fn a_manifest_that_is_none_is_refused() {
    let cases = [
        ("<!DOCTYPE html><html>log in</html>", "HTML"),
        (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "ambiguous"),
        (r#"{"schemaVersion":1}"#, "schema 1"),
        ("{", "not a manifest"),
    ];
    for (manifest, expected) in cases {
        let host = serve(serve_manifest(Bytes::from_static(manifest.as_bytes()))).await;
        let error = pull(&format!("oci://{host}/a:v1")).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let large = Bytes::from(vec![b' '; 5 * 1024 * 1024]);
    let host = serve(serve_manifest(large)).await;
    let error = pull(&format!("oci://{host}/a:v1")).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_manifest_of_another_digest_is_refused() {
    let manifest = manifest_of(Descriptor::of(WASM_LAYER, &module(1, 1)));
    let host = serve(serve_manifest(manifest.clone())).await;
    let wanted = Digest::of(b"other");
    let error = pull(&format!("oci://{host}/a@{wanted}")).await.unwrap_err();
    let actual = Digest::of(&manifest);
    assert!(
        matches!(error, Error::Digest { expected, actual: found, .. } if (expected, found) == (wanted, actual))
    );
}

#[tokio::test]
async fn a_refusal_without_challenge_is_explained() {
    let refuse = || async {
        (
            StatusCode::UNAUTHORIZED,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"go away"}]}"#,
        )
    };
    let host = serve(Router::new().route("/v2/{*path}", any(refuse))).await;
    let error = pull(&format!("oci://{host}/a:v1")).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(
        error.to_string().contains("go away") && error.to_string().contains("WWW-Authenticate"),
        "{error}"
    );
}

#[tokio::test]
async fn a_token_server_at_a_forbidden_address_is_not_called() {
    for (realm, expected) in [
        ("http://169.254.169.254/latest", "no registry can be"),
        ("http://[fe80::1]/token", "no registry can be"),
        ("file:///etc/passwd", "not https"),
        ("nonsense", "not a URL"),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\",service=s");
        let refuse = move || async move {
            (
                StatusCode::UNAUTHORIZED,
                [("www-authenticate", challenge.clone())],
            )
        };
        let host = serve(Router::new().route("/v2/{*path}", any(refuse))).await;
        let error = pull(&format!("oci://{host}/a:v1")).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{realm}: {error}");
    }
}

#[tokio::test]
async fn redirects_to_forbidden_addresses_are_not_followed() {
    let redirect = || async {
        (
            StatusCode::TEMPORARY_REDIRECT,
            [("location", "http://169.254.169.254/x")],
        )
    };
    let host = serve(Router::new().route("/v2/{*path}", any(redirect))).await;
    let error = pull(&format!("oci://{host}/a:v1")).await.unwrap_err();
    assert!(error.to_string().contains("refused: it redirects"), "{error}");
    let around = || async {
        (
            StatusCode::TEMPORARY_REDIRECT,
            [("location", "/v2/a/manifests/v1")],
        )
    };
    let host = serve(Router::new().route("/v2/{*path}", any(around))).await;
    let error = pull(&format!("oci://{host}/a:v1")).await.unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
}

#[tokio::test]
async fn passing_trouble_is_waited_out() {
    let bytes = module(1, 10);
    let layer = Descriptor::of(WASM_LAYER, &bytes);
    let count = Arc::new(AtomicUsize::new(0));
    let blob = move || {
        let busy = count.fetch_add(1, Ordering::Relaxed) < 2;
        let bytes = bytes.clone();
        async move {
            if busy {
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            } else {
                bytes.into_response()
            }
        }
    };
    let host = serve(serve_manifest(manifest_of(layer)).route("/v2/a/blobs/{digest}", get(blob))).await;
    assert_eq!(
        pull(&format!("oci://{host}/a:v1")).await.unwrap().bytes,
        module(1, 10)
    );
}

#[tokio::test]
async fn a_registry_that_asks_for_more_time_than_there_is_says_so_itself() {
    let busy = || async {
        (
            StatusCode::TOO_MANY_REQUESTS,
            [("retry-after", "25")],
            "slow down",
        )
    };
    let router = Router::new().route("/v2/", get(|| async {}));
    let host = serve(router.route("/v2/{*path}", any(busy))).await;
    let started = std::time::Instant::now();
    let error = pull(&format!("oci://{host}/a:v1")).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 429, .. }), "{error:?}");
    assert!(error.to_string().contains("slow down"), "{error}");
    assert!(error.hint().unwrap().contains("wait 25 s"), "{:?}", error.hint());
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "it waited for nothing"
    );
}

#[tokio::test]
async fn a_layer_that_deletes_the_module_is_respected() {
    let layer_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    let base = gzip(&tar_with("app/plugin.wasm", &module(1, 10)));
    for (mark, found) in [("readme", true), (".wh.app", false), ("app/.wh..wh..opq", false)] {
        let top = gzip(&tar_with(mark, b""));
        let layers = [base.clone(), top];
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: Descriptor::of("application/vnd.oci.image.config.v1+json", b"{}"),
            layers: layers
                .iter()
                .map(|layer| Descriptor::of(layer_type, layer))
                .collect(),
            ..Manifest::default()
        };
        let blob = move |Path(digest): Path<String>| async move {
            let mut all = layers.into_iter();
            all.find(|layer| Digest::of(layer).to_string() == digest).unwrap()
        };
        let manifest = serde_json::to_vec(&manifest).unwrap().into();
        let host = serve(serve_manifest(manifest).route("/v2/a/blobs/{digest}", get(blob))).await;
        match pull(&format!("oci://{host}/a:v1")).await {
            Ok(pulled) => assert!(found && pulled.bytes == module(1, 10), "{mark}"),
            Err(error) => assert!(!found && matches!(error, Error::Layout { .. }), "{mark}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_dead_registry_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = pull(&format!("oci://{host}/a:v1")).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { host: named, .. } if *named == host),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains(&host));
}

/// A registry whose blobs are elsewhere, and which wants a token for all else.
async fn guarded(tokens: Arc<AtomicUsize>) -> String {
    let bytes = module(1, 10);
    let manifest = manifest_of(Descriptor::of(WASM_LAYER, &bytes));
    let storage = serve(Router::new().route(
        "/blob",
        get(move |headers: HeaderMap| async move {
            assert!(
                !headers.contains_key("authorization"),
                "the storage got our token"
            );
            bytes
        }),
    ))
    .await;
    let token = move |request: Request| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let user = request.headers().get("authorization").cloned();
        tokens.fetch_add(1, Ordering::Relaxed);
        async move {
            assert_eq!(query, "service=test&scope=repository%3Aa%3Apull");
            match user {
                // user:pass
                Some(user) if user == "Basic dXNlcjpwYXNz" => r#"{"token":"good"}"#.into_response(),
                _ => StatusCode::UNAUTHORIZED.into_response(),
            }
        }
    };
    let api = move |Path(path): Path<String>, request: Request| {
        let authorized = request
            .headers()
            .get("authorization")
            .is_some_and(|value| value == "Bearer good");
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        let (manifest, storage) = (manifest.clone(), storage.clone());
        async move {
            if !authorized {
                let challenge = format!(
                    "Bearer realm=\"http://{host}/token\",service=\"test\",scope=\"repository:a:pull\""
                );
                return (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response();
            }
            match path.contains("manifests") {
                true => ([("content-type", OCI_MANIFEST)], manifest).into_response(),
                false => (
                    StatusCode::TEMPORARY_REDIRECT,
                    [("location", format!("http://{storage}/blob"))],
                )
                    .into_response(),
            }
        }
    };
    serve(
        Router::new()
            .route("/token", get(token))
            .route("/v2/", any(|| async {}))
            .route("/v2/{*path}", any(api)),
    )
    .await
}

fn secret(host: &str) -> Keychain {
    let json = format!(r#"{{"auths":{{"{host}":{{"username":"user","password":"pass"}}}}}}"#);
    Keychain::secrets(vec![PullSecret::parse(json.as_bytes()).unwrap()])
}

#[tokio::test]
async fn tokens_are_fetched_once_and_kept_from_others() {
    let tokens = Arc::new(AtomicUsize::new(0));
    let host = guarded(tokens.clone()).await;
    let source = Source::parse(&format!("oci://{host}/a:v1")).unwrap();
    let client = client();
    let options = PullOptions {
        keychain: secret(&host),
        ..PullOptions::default()
    };
    for _ in 0..3 {
        client.pull(&source, &options).await.unwrap();
    }
    assert_eq!(tokens.load(Ordering::Relaxed), 1);
    // The same client must not lend one tenant's token to another.
    let error = client.pull(&source, &PullOptions::default()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Denied {
                with_credentials: false,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_store_does_not_lend_private_modules() {
    let host = guarded(Arc::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let fetcher = Fetcher::new(client(), Arc::new(Store::open(folder.path(), 1 << 20).unwrap()));
    let source = Source::parse(&format!("oci://{host}/a:v1")).unwrap();
    let owner = FetchRequest {
        keychain: secret(&host),
        ..FetchRequest::new(source.clone())
    };
    fetcher.fetch(&owner).await.unwrap();
    assert!(matches!(
        fetcher.fetch(&owner).await.unwrap().origin,
        Origin::Store
    ));
    let error = fetcher.fetch(&FetchRequest::new(source)).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_stored_outlives_its_registry() {
    let bytes = module(1, 10);
    let manifest = manifest_of(Descriptor::of(WASM_LAYER, &bytes));
    let up = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let switch = up.clone();
    let api = move |Path(path): Path<String>| {
        let up = switch.load(Ordering::Relaxed);
        let (manifest, bytes) = (manifest.clone(), bytes.clone());
        async move {
            match (up, path.contains("manifests")) {
                (false, _) => StatusCode::BAD_GATEWAY.into_response(),
                (true, true) => ([("content-type", OCI_MANIFEST)], manifest).into_response(),
                (true, false) => bytes.into_response(),
            }
        }
    };
    let host = serve(
        Router::new()
            .route("/v2/", any(|| async {}))
            .route("/v2/{*path}", any(api)),
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let fetcher = Fetcher::new(client(), Arc::new(Store::open(folder.path(), 1 << 20).unwrap()));
    let request = FetchRequest::new(Source::Oci(
        Reference::parse(&format!("{host}/a:latest")).unwrap(),
    ));
    assert_eq!(request.policy, PullPolicy::Always);
    fetcher.fetch(&request).await.unwrap();
    up.store(false, Ordering::Relaxed);
    let stale = fetcher.fetch(&request).await.unwrap();
    assert!(
        matches!(stale.origin, Origin::Stale(Error::Status { status: 502, .. })),
        "{:?}",
        stale.origin
    );
}

#[tokio::test]
async fn web_servers_are_checked_too() {
    let bytes = module(1, 1000);
    let (plain, packed) = (bytes.clone(), gzip(&tar_with("plugin.wasm", &bytes)));
    let (file, archive) = (Digest::of(&plain), Digest::of(&packed));
    let host = serve(
        Router::new()
            .route("/a.wasm", get(move || async move { plain }))
            .route("/a.tar.gz", get(move || async move { packed }))
            .route("/big", get(|| async { vec![0; 300_000] }))
            .route("/login", get(|| async { "<html>please log in</html>" })),
    )
    .await;
    let pull = async |path: &str, sha256: Option<Digest>| {
        let source = Source::parse(&format!("http://{host}{path}")).unwrap();
        client()
            .pull(
                &source,
                &PullOptions {
                    sha256,
                    ..PullOptions::default()
                },
            )
            .await
    };
    for (path, sha256) in [("/a.wasm", file), ("/a.tar.gz", archive), ("/a.tar.gz", file)] {
        assert_eq!(pull(path, Some(sha256)).await.unwrap().digest, file, "{path}");
    }
    for path in ["/a.wasm", "/a.tar.gz", "/login"] {
        let error = pull(path, Some(Digest::of(b"other"))).await.unwrap_err();
        assert!(matches!(error, Error::Digest { .. }), "{path}: {error:?}");
    }
    assert!(
        pull("/login", None)
            .await
            .unwrap_err()
            .to_string()
            .contains("HTML")
    );
    assert!(matches!(
        pull("/none", None).await.unwrap_err(),
        Error::NotFound { .. }
    ));
    assert!(matches!(
        pull("/big", None).await.unwrap_err(),
        Error::TooLarge { .. }
    ));
    let remote = Source::parse("http://example.com/a.wasm").unwrap();
    let error = client().pull(&remote, &PullOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("without a sha256"), "{error}");
}

#[tokio::test]
async fn files_are_checked_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wasm");
    std::fs::write(&path, module(1, 1000)).unwrap();
    let source = Source::File(path.clone());
    let pulled = client().pull(&source, &PullOptions::default()).await.unwrap();
    assert_eq!(pulled.bytes, module(1, 1000));
    let options = PullOptions {
        sha256: Some(Digest::of(b"other")),
        ..PullOptions::default()
    };
    assert!(matches!(
        client().pull(&source, &options).await.unwrap_err(),
        Error::Digest { .. }
    ));
    for missing in [
        Source::File(folder.path().to_owned()),
        Source::File(folder.path().join("none")),
    ] {
        let error = client()
            .pull(&missing, &PullOptions::default())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error:?}");
    }
}
