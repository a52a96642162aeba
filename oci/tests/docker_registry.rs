//! Debian's docker-registry: plain HTTP on loopback, and HTTPS with accounts.

#![allow(clippy::unwrap_used, reason = "a test may end where it finds something wrong")]

mod fixtures;
mod suite;

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use leno_oci::error::Error;
use leno_oci::keychain::{DockerConfig, Keychain, PullSecret};
use leno_oci::pull::PullOptions;
use leno_oci::push::PushOptions;
use leno_oci::reference::Source;
use suite::Peer;

/// bcrypt (cost 5) of [`PASSWORD`].
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuucd/GK.usmWaHnE30INoDpdiKnltCdWi";
const USER: &str = "filter-author";
const PASSWORD: &str = "secret pass:word";

struct Registry {
    process: Child,
    host: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(folder: &Path, extra: &str) -> Registry {
    let config = folder.join("config.yml");
    let storage = folder.join("storage");
    let text = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n{extra}",
        storage.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut process = Command::new("docker-registry")
        .args(["serve".as_ref(), config.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("docker-registry: {error}; install it: apt-get install docker-registry")
        });
    let mut log = BufReader::new(process.stderr.take().unwrap());
    let mut seen = String::new();
    let host = loop {
        let start = seen.len();
        assert!(
            log.read_line(&mut seen).unwrap() > 0,
            "docker-registry ended: {seen}"
        );
        // It may announce TLS after the address: `listening on 127.0.0.1:1234, tls`.
        if let Some((_, rest)) = seen[start..].split_once("listening on ") {
            break rest.split(['"', ',', ' ']).next().unwrap().to_owned();
        }
    };
    // A full pipe would block it.
    std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
    Registry { process, host }
}

#[tokio::test]
async fn works_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let registry = start(folder.path(), "http: {addr: '127.0.0.1:0'}\n");
    let peer = Peer {
        host: registry.host.clone(),
        scheme: "http",
        ca_file: None,
        keychain: Keychain::anonymous(),
        login: None,
    };
    suite::run(&peer).await;
}

#[tokio::test]
async fn works_over_https_with_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    std::fs::write(at("cert.pem"), cert.pem()).unwrap();
    std::fs::write(at("key.pem"), signing_key.serialize_pem()).unwrap();
    std::fs::write(at("htpasswd"), format!("{USER}:{HASH}\n")).unwrap();
    let registry = start(
        folder.path(),
        &format!(
            "http: {{addr: '127.0.0.1:0', tls: {{certificate: '{}', key: '{}'}}}}\n\
             auth: {{htpasswd: {{realm: leno, path: '{}'}}}}\n",
            at("cert.pem").display(),
            at("key.pem").display(),
            at("htpasswd").display()
        ),
    );
    let login = |password: &str| {
        let auth = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            format!("{USER}:{password}"),
        );
        format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, registry.host)
    };
    std::fs::write(at("docker.json"), login(PASSWORD)).unwrap();
    let docker = Keychain {
        docker_config: DockerConfig::File(at("docker.json")),
        ..Keychain::default()
    };
    let peer = Peer {
        host: registry.host.clone(),
        scheme: "https",
        ca_file: Some(at("cert.pem")),
        keychain: docker,
        login: Some((USER, PASSWORD)),
    };
    suite::run(&peer).await;

    let pull = async |keychain: Keychain| {
        let source = Source::Oci(peer.reference("filters/auth:v1"));
        peer.client()
            .pull(
                &source,
                &PullOptions {
                    keychain,
                    ..PullOptions::default()
                },
            )
            .await
    };
    let secret = PullSecret::parse(login(PASSWORD).as_bytes()).unwrap();
    pull(Keychain::secrets(vec![secret])).await.unwrap();

    let hint = format!("docker login {}", peer.host);
    let wrong = PullSecret::parse(login("wrong").as_bytes()).unwrap();
    for (keychain, sent) in [
        (Keychain::anonymous(), false),
        (Keychain::secrets(vec![wrong]), true),
    ] {
        let error = pull(keychain.clone()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Denied { with_credentials, .. } if *with_credentials == sent),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains(&hint), "{error:?}");
        let options = PushOptions {
            keychain,
            ..PushOptions::default()
        };
        let reference = peer.reference("filters/denied:v1");
        let error = peer
            .client()
            .push(&reference, fixtures::module(1, 1), &options)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    }

    let stranger = Peer {
        ca_file: None,
        ..peer
    };
    let error = stranger
        .client()
        .resolve(&stranger.reference("a:v1"), &stranger.keychain)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("--ca-file"), "{:?}", error.hint());
}
