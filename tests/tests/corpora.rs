//! The kept inputs of the fuzz targets (`fuzz/corpus`), and small changes of them, on every run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use leno_tests::http1::cases;
use leno_tests::properties::{TARGETS, Target, run_changed};

fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target.name)
}

/// Every input as it is, and this many changes of it.
fn replay(name: &str, changes: usize) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let factor = std::env::var("LENO_TEST_ROUNDS")
        .ok()
        .and_then(|factor| factor.parse::<usize>().ok());
    let files = cases::files(&corpus(target));
    assert!(files.len() >= 10, "{name}: {} inputs", files.len());
    for file in files {
        let input = std::fs::read(&file).unwrap();
        run_changed(target, &input, changes * factor.unwrap_or(1));
    }
}

#[test]
fn http1_requests() {
    replay("http1_requests", 8);
}

#[test]
fn http1_responses() {
    replay("http1_responses", 8);
}

#[test]
fn bootstrap() {
    replay("bootstrap", 20);
}

#[test]
fn xds_text() {
    replay("xds_text", 10);
}

#[test]
fn xds_bytes() {
    replay("xds_bytes", 40);
}

#[test]
fn documents() {
    replay("documents", 20);
}

#[test]
fn header_rules() {
    replay("header_rules", 40);
}

#[test]
fn header_lists() {
    replay("header_lists", 200);
}

/// Each target has its test here, its inputs, and its program for cargo-fuzz.
#[test]
fn every_target_is_complete() {
    let this = include_str!("corpora.rs");
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for Target { name, .. } in TARGETS {
        assert!(this.contains(&format!("fn {name}()")), "{name} is not replayed");
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name} is no binary"
        );
        let program = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(
            program.contains(&format!("run(\"{name}\", input)")),
            "{name} runs something else"
        );
    }
}
