//! A stdout that nobody reads, or that is full.

#![allow(clippy::unwrap_used, reason = "a test may end where it finds something wrong")]

mod program;

use std::fs::OpenOptions;
use std::path::Path;

use program::{leno_to, registry};

const DOCKER: &str = r#"{"auths":{"r.example":{"auth":"YTpi"}}}"#;

/// One command of each way to print.
fn commands(at: &Path) -> Vec<Vec<&'static str>> {
    std::fs::write(at.join("docker.json"), DOCKER).unwrap();
    std::fs::create_dir_all(at.join("config")).unwrap();
    let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk");
    vec![
        vec!["--help"],
        vec!["--version"],
        vec!["version", "-o", "json"],
        vec!["completion", "bash"],
        vec!["login", "r.example", "--docker-config", "docker.json"],
        vec!["validate", "-f", "config"],
        vec!["new", "some-filter", "--sdk-path", sdk],
    ]
}

#[test]
fn a_closed_stdout_ends_every_command_quietly() {
    let folder = tempfile::tempdir().unwrap();
    for command in commands(folder.path()) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = leno_to(writer, folder.path(), command.iter().copied());
        let said = String::from_utf8_lossy(&ended.stderr);
        // As a shell reports SIGPIPE.
        assert_eq!(ended.status.code(), Some(141), "{command:?}: {said}");
        assert_eq!(said, "", "{command:?}");
    }
}

#[test]
fn a_full_stdout_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for command in commands(folder.path()) {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = leno_to(full, folder.path(), command.iter().copied());
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("cannot write to stdout"), "{command:?}: {said}");
        assert!(said.contains("try: "), "{command:?}: {said}");
    }
}

#[test]
fn what_was_done_stays_done() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let filter = r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1")))"#;
    std::fs::write(at.join("a.wasm"), wat::parse_str(filter).unwrap()).unwrap();
    let (host, _registry) = registry(&at.join("registry"));
    let reference = format!("{host}/filters/a:v1");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let pushed = leno_to(writer, at, ["push", "a.wasm", &reference]);
    assert_eq!(pushed.status.code(), Some(141));
    program::leno(at, ["verify", &reference]).succeeds();
}
