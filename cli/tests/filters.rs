//! The way of a filter's author: new, test, build; and what goes wrong on it.

#![allow(clippy::unwrap_used, reason = "a test may end where it finds something wrong")]

mod program;

use std::path::Path;

use program::leno;

#[test]
fn a_new_filter_has_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk");
    leno(at, ["new", "tenant-quota", "--sdk-path", sdk.to_str().unwrap()])
        .succeeds()
        .says("made ");
    for name in [
        "Cargo.toml",
        "src/lib.rs",
        "transcripts/greets.yaml",
        "README.md",
        ".gitignore",
    ] {
        let text = std::fs::read_to_string(at.join("tenant-quota").join(name)).unwrap();
        assert!(!text.contains("{{"), "{name} is not filled in");
    }
    leno(at, ["new", "tenant-quota"])
        .fails()
        .complains("exists already");
}

#[test]
fn errors_say_what_to_try() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for name in ["Upper", "../x", "1st", "test", "a b"] {
        leno(at, ["new", name])
            .fails()
            .complains("cannot be the name of a filter");
    }
    leno(at, ["new", "a", "--sdk-path", "."])
        .fails()
        .complains("is not the SDK's folder");
    leno(at, ["build"])
        .fails()
        .complains("Cargo.toml is missing")
        .complains("leno new NAME");
}

#[test]
fn completion_and_version_are_there() {
    let at = tempfile::tempdir().unwrap();
    leno(at.path(), ["completion", "bash"])
        .succeeds()
        .says("proxy-config");
    leno(at.path(), ["version", "-o", "yaml"])
        .succeeds()
        .says("leno: ");
}
