//! The way of a filter's author: new, test, build; and what goes wrong on it.

#![allow(clippy::unwrap_used, reason = "a test may end where it finds something wrong")]

mod program;

use std::path::{Path, PathBuf};
use std::process::Command;

use program::{leno, registry, run};

/// Makes a project; nothing is fetched for it, since it takes the versions that this workspace has.
fn project(at: &Path) -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sdk = checkout.join("sdk");
    leno(at, ["new", "tenant-quota", "--sdk-path", sdk.to_str().unwrap()])
        .succeeds()
        .says("made ./tenant-quota with leno-sdk = { path = '");
    let folder = at.join("tenant-quota");
    std::fs::copy(checkout.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments);
    command
}

fn build(folder: &Path, abi: &str) -> serde_json::Value {
    leno(folder, ["build", "--abi", abi, "-o", "json"]).succeeds_with_json()
}

#[test]
fn a_new_filter_goes_all_the_way_to_a_registry() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    run(&mut cargo(["fmt", "--check"]), &project).succeeds();
    let mut clippy = cargo(["clippy", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    run(&mut clippy, &project).succeeds();

    let tested = leno(&project, ["test", "--abi", "all"])
        .succeeds()
        .says("test tests::follows_its_transcripts ... ok")
        .says("transcripts on proxy-wasm 0.2.1")
        .says("transcripts on component leno:filter@");
    assert_eq!(tested.stdout.matches("greets.yaml: ok").count(), 2);

    let (host, _registry) = registry(&folder.path().join("registry"));
    for (abi, name) in [
        ("proxy-wasm", "proxy-wasm 0.2.1"),
        ("component", "component leno:filter@0.1.0"),
    ] {
        let built = &build(&project, abi)[0];
        assert_eq!(
            (&built["name"], &built["abi"]),
            (&"tenant-quota".into(), &name.into())
        );
        assert!(built["size"].as_u64().unwrap() < 400 * 1024, "{built}");
        let reference = format!("{host}/filters/tenant-quota:{abi}");
        let path = built["path"].as_str().unwrap();
        let pushed = leno(&project, ["push", path, &reference, "-o", "json"]).succeeds_with_json();
        let digest = format!("sha256:{}", built["sha256"].as_str().unwrap());
        assert_eq!(pushed["module"], digest);
        let inspected = leno(&project, ["inspect", &reference, "-o", "json"]).succeeds_with_json();
        assert_eq!(inspected["module"]["abi"], name);
        assert_eq!(inspected["module"]["digest"], digest);
        assert_eq!(inspected["artifact"]["layout"], "cncf");
    }

    // A Wasm build that does something else than the native one is found by the same transcripts.
    let source = project.join("src/lib.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    let wrong = text.replace(
        "set(\"x-greeting\", &self.config.greeting)",
        "set(\"x-greeting\", if cfg!(target_family = \"wasm\") { \"no\" } else { &self.config.greeting })",
    );
    assert_ne!(text, wrong);
    std::fs::write(&source, wrong).unwrap();
    leno(&project, ["test", "--abi", "proxy-wasm"])
        .fails()
        .says("greets.yaml: FAILED")
        .says("exchanges[0]: headers.x-greeting is Some(\"no\"), not Some(\"good day\")")
        .complains("1 transcripts fail");
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
    leno(at, ["new", "a", "--sdk-git", "it's"])
        .fails()
        .complains("cannot be written into a Cargo.toml");
    assert!(!at.join("a").exists(), "nothing is left of what failed");
    std::fs::create_dir(at.join("mine")).unwrap();
    leno(at, ["new", "mine"])
        .fails()
        .complains("./mine exists already")
        .complains("--path");
    leno(at, ["build"])
        .fails()
        .complains("Cargo.toml is missing")
        .complains("leno new NAME");
}

/// A crate that is no filter.
fn other_crate(at: &Path, kind: &str) -> PathBuf {
    let folder = at.join(kind);
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"other-{kind}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [lib]\ncrate-type = [\"{kind}\"]\n[workspace]\n"
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(folder.join("src/lib.rs"), "").unwrap();
    folder
}

#[test]
fn crates_that_are_no_filters_are_told_what_they_lack() {
    let folder = tempfile::tempdir().unwrap();
    let library = other_crate(folder.path(), "rlib");
    for task in ["build", "test"] {
        leno(&library, [task])
            .fails()
            .complains("package other-rlib builds no dynamic library")
            .complains("crate-type = [\"cdylib\", \"rlib\"]");
    }
    let module = other_crate(folder.path(), "cdylib");
    leno(&module, ["build", "--abi", "proxy-wasm"])
        .fails()
        .complains("other-cdylib builds, but not to a filter")
        .complains("leno_sdk::filter!");
    leno(&module, ["build", "--abi", "component"])
        .fails()
        .complains("leno_sdk::filter!");
}

/// With a toolchain that has no targets, and no rustup.
#[cfg(unix)]
#[test]
fn a_missing_target_is_named() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let module = other_crate(folder.path(), "cdylib");
    let rustc = folder.path().join("rustc");
    std::fs::write(&rustc, "#!/bin/sh\necho /nowhere\n").unwrap();
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (abi, target) in [
        ("proxy-wasm", "wasm32-wasip1"),
        ("component", "wasm32-unknown-unknown"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leno"));
        command
            .args(["build", "--abi", abi])
            .env("RUSTC", &rustc)
            .env("CARGO", env!("CARGO"))
            .env("PATH", folder.path());
        run(&mut command, &module)
            .fails()
            .complains(&format!(
                "the Rust target {target} is missing and could not be added"
            ))
            .complains(&format!("rustup target add {target}"));
    }
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
