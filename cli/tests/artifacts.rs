//! The program itself, against the embedded registry: push, pull, inspect, verify, tags.

#![allow(clippy::unwrap_used, reason = "a test may end where it finds something wrong")]

mod program;

use program::{leno, registry};

const FILTER: &str = r#"(module
    (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 0))"#;

struct Bench {
    folder: tempfile::TempDir,
    host: String,
    _registry: tokio::runtime::Runtime,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("greeter.wasm"),
        wat::parse_str(FILTER).unwrap(),
    )
    .unwrap();
    let (host, registry) = registry(&folder.path().join("registry"));
    Bench {
        folder,
        host,
        _registry: registry,
    }
}

#[test]
fn a_module_goes_to_a_registry_and_comes_back() {
    let bench = bench();
    let reference = format!("{}/filters/greeter:v1", bench.host);
    let at = bench.folder.path();
    let pushed = leno(at, ["push", "greeter.wasm", &reference, "-o", "json"]).succeeds_with_json();
    assert_eq!(
        pushed["module"],
        leno(at, ["inspect", "greeter.wasm", "-o", "json"]).succeeds_with_json()["module"]["digest"]
    );
    leno(at, ["push", "greeter.wasm", &reference])
        .succeeds()
        .says("nothing, it was there");
    leno(at, ["tags", &reference]).succeeds().says("v1");

    let inspected = leno(at, ["inspect", &reference, "-o", "json"]).succeeds_with_json();
    assert_eq!(inspected["artifact"]["layout"], "cncf");
    assert_eq!(
        inspected["artifact"]["annotations"]["dev.leno.filter.abi"],
        "proxy-wasm/0.2.1"
    );
    assert_eq!(inspected["module"]["abi"], "proxy-wasm 0.2.1");
    assert_eq!(inspected["module"]["capabilities"][0], "env.proxy_log");
    leno(at, ["inspect", &reference])
        .succeeds()
        .says("proxy_on_request_headers")
        .says("application/wasm");
    leno(at, ["inspect", &reference, "-o", "yaml"])
        .succeeds()
        .says("layout: cncf");
    leno(at, ["verify", &reference])
        .succeeds()
        .says("manifest")
        .says("module")
        .says("ok");

    leno(at, ["pull", &reference, "--to", "copy.wasm"])
        .succeeds()
        .says("copy.wasm");
    assert_eq!(
        std::fs::read(at.join("copy.wasm")).unwrap(),
        std::fs::read(at.join("greeter.wasm")).unwrap()
    );
    std::fs::write(at.join("copy.wasm"), "something of mine").unwrap();
    leno(at, ["pull", &reference, "--to", "copy.wasm"])
        .fails()
        .complains("holds something else")
        .complains("--force");
    leno(at, ["pull", &reference, "--to", "copy.wasm", "--force"]).succeeds();
    let wrong = "0".repeat(64);
    leno(at, ["pull", &reference, "--sha256", &wrong, "--to", "x.wasm"])
        .fails()
        .complains("digest is");
    assert!(!at.join("x.wasm").exists());
}

#[test]
fn the_layout_of_istio_can_be_asked_for() {
    let bench = bench();
    let reference = format!("{}/filters/greeter:istio", bench.host);
    let at = bench.folder.path();
    leno(
        at,
        [
            "push",
            "greeter.wasm",
            &reference,
            "--layout",
            "istio",
            "-a",
            "team=blue",
        ],
    )
    .succeeds();
    let inspected = leno(at, ["inspect", &reference, "-o", "json"]).succeeds_with_json();
    assert_eq!(inspected["artifact"]["layout"], "istio");
    assert_eq!(inspected["artifact"]["annotations"]["team"], "blue");
}

#[test]
fn errors_say_what_to_try() {
    let bench = bench();
    let at = bench.folder.path();
    let missing = format!("{}/no/such:v1", bench.host);
    leno(at, ["pull", &missing])
        .fails()
        .complains("no/such:v1 not found")
        .complains("try: check the repository and the tag");
    std::fs::write(at.join("page.wasm"), "<!DOCTYPE html><html></html>").unwrap();
    leno(at, ["push", "page.wasm", &missing])
        .fails()
        .complains("HTML")
        .complains("try:");
    leno(at, ["inspect", "page.wasm"])
        .fails()
        .complains("HTML")
        .complains("try:");
    leno(at, ["push", "none.wasm", &missing])
        .fails()
        .complains("cannot read none.wasm")
        .complains("try:");
    leno(at, ["pull", "ftp://x/y"])
        .fails()
        .complains("scheme must be one of oci, http, https, file");
    leno(at, ["pull", "127.0.0.1:1/a:v1", "--timeout", "30"])
        .fails()
        .complains("127.0.0.1:1 is unreachable");
    std::fs::write(at.join("docker.json"), r#"{"credsStore":"leno-no-such"}"#).unwrap();
    leno(at, ["pull", &missing, "--docker-config", "docker.json"])
        .fails()
        .complains("docker-credential-leno-no-such")
        .complains("try: install");
    std::fs::write(at.join("docker.json"), r#"{"auths":{}}"#).unwrap();
    leno(at, ["login", "r.example", "--docker-config", "docker.json"])
        .fails()
        .complains("docker login r.example");
    std::fs::write(
        at.join("docker.json"),
        r#"{"auths":{"r.example":{"auth":"YTpi"}}}"#,
    )
    .unwrap();
    leno(at, ["login", "r.example", "--docker-config", "docker.json"])
        .succeeds()
        .says("leno uses them");
}

#[test]
fn what_looks_like_a_path_is_one() {
    let bench = bench();
    let at = bench.folder.path();
    let absolute = at.join("greeter.wasm");
    for there in ["greeter.wasm", "./greeter.wasm", absolute.to_str().unwrap()] {
        leno(at, ["inspect", there]).succeeds().says("proxy-wasm 0.2.1");
        leno(at, ["pull", there, "--to", "copy.wasm"]).succeeds();
    }
    for missing in [
        "none.wasm",
        "./none",
        "../none/none.wasm",
        "/no/such/module",
        "sub/none.wasm",
    ] {
        for verb in ["inspect", "pull"] {
            leno(at, [verb, missing])
                .fails()
                .complains(&format!("no such file: {missing}"))
                .complains("try: check the path");
        }
    }
    for folder in [".", at.to_str().unwrap()] {
        leno(at, ["inspect", folder])
            .fails()
            .complains("is not a file")
            .complains("try:");
    }
}

#[test]
fn what_no_proxy_runs_fails_to_be_inspected() {
    let bench = bench();
    let at = bench.folder.path();
    let whole = std::fs::read(at.join("greeter.wasm")).unwrap();
    std::fs::write(at.join("cut.wasm"), &whole[..whole.len() - 3]).unwrap();
    std::fs::write(
        at.join("no-abi.wasm"),
        wat::parse_str("(module (memory (export \"memory\") 1))").unwrap(),
    )
    .unwrap();
    for refused in ["cut.wasm", "no-abi.wasm"] {
        leno(at, ["inspect", refused])
            .fails()
            .says("refused")
            .complains(&format!("no proxy runs {refused}"))
            .complains("try: ");
    }
}
