//! Commands that read documents: validate, run.

#![allow(clippy::unwrap_used, reason = "a test may end where it finds something wrong")]

mod program;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use program::leno;

fn gateway(name: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{ name: {name}, namespace: demo }}\n\
         spec:\n  selector: {{ app: gateway }}\n  servers:\n  \
         - port: {{ number: 8080, name: http, protocol: HTTP }}\n    hosts: [\"*\"]\n"
    )
}

fn write(at: &Path, name: &str, text: &str) {
    let path = at.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn an_object_in_two_of_the_paths_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "one/a.yaml", &gateway("front"));
    let two = format!("{}---\n{}", gateway("other"), gateway("front"));
    write(at, "two/sub/b.yaml", &two);
    // Nothing that is no document is looked into.
    write(at, "two/a.txt", &gateway("front"));
    leno(at, ["validate", "-f", "one", "-f", "two"])
        .fails_quietly()
        .says("two/sub/b.yaml:10: Gateway demo/front: is defined twice; the other one is at one/a.yaml:1")
        .says("2 objects are good, 1 documents are refused");
    let json = leno(
        at,
        [
            "validate",
            "-f",
            "one/a.yaml",
            "-f",
            "two/sub/b.yaml",
            "-o",
            "json",
        ],
    );
    let json: serde_json::Value = serde_json::from_str(&json.fails_quietly().stdout).unwrap();
    assert_eq!(
        (&json["objects"], &json["problems"][0]["line"]),
        (&2.into(), &10.into())
    );
    // The same file by two ways is one.
    leno(
        at,
        ["validate", "-f", "one", "-f", "one/a.yaml", "-f", "./one/../one"],
    )
    .succeeds()
    .says("1 objects are good");
    leno(at, ["validate", "-f", "none"])
        .fails()
        .complains("none cannot be read")
        .complains("try:");
}

#[test]
fn a_run_of_nothing_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("config")).unwrap();
    let free = ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut running = Command::new(env!("CARGO_BIN_EXE_leno"))
        .args(["run", "-f", "config", "--concurrency", "1", "--drain-time-s", "0"])
        .args(free)
        .current_dir(at)
        .env("TMPDIR", at)
        .env_remove("LENO_LOG")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(running.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("there is nothing in the folder") && !seen.contains("running;") {
        assert!(log.read_line(&mut seen).unwrap() > 0, "it has ended: {seen}");
    }
    assert!(seen.contains("there is nothing in the folder"), "{seen}");
    while !seen.contains("running;") {
        assert!(log.read_line(&mut seen).unwrap() > 0, "it has ended: {seen}");
    }
    let pid = running.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    // Read to its end, so that it never waits for us.
    while log.read_line(&mut seen).unwrap() > 0 {}
    assert!(running.wait().unwrap().success(), "{seen}");
}
