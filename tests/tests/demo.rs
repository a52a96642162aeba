//! `leno demo`: what it leaves behind when it is told to end, and what it offers to try.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use leno_tests::peers;
use leno_tests::process::Running;
use leno_tests::wait::until;

/// The whole demo: pushes, traffic, a swap under load.
const DEMO: Duration = Duration::from_secs(240);

fn start(folder: &Path) -> Running {
    let mut command = Command::new(peers::program("leno"));
    let modules = peers::module("auth");
    command
        .arg("demo")
        .arg("--modules")
        .arg(modules.parent().expect("a module is in a folder"))
        .env("TMPDIR", folder.join("tmp"));
    std::fs::create_dir(folder.join("tmp")).expect("a folder for temporary files");
    Running::start_command("demo", folder, command)
}

/// Processes with this folder in their command line.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let all = std::fs::read_dir("/proc").expect("/proc is there");
    all.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&folder))
        .collect()
}

async fn says(demo: &mut Running, words: &str) -> String {
    let deadline = Instant::now() + DEMO;
    loop {
        demo.alive().unwrap_or_else(|ended| panic!("{ended}"));
        let log = demo.log();
        if log.contains(words) {
            return log;
        }
        assert!(Instant::now() < deadline, "the demo does not say {words}: {log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn signal(demo: &mut Running, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), demo.id().to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    until("the demo ends", || {
        std::future::ready(match demo.alive() {
            Ok(()) => Err("it runs"),
            Err(_) => Ok(()),
        })
    })
    .await;
}

fn nothing_is_left(folder: &Path) {
    let temporary = folder.join("tmp");
    assert_eq!(processes_of(&temporary), Vec::<String>::new());
    let left: Vec<_> = std::fs::read_dir(&temporary)
        .expect("it is a folder")
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_it_half_way_leaves_nothing() {
    for name in ["TERM", "INT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut demo = start(folder.path());
        says(&mut demo, "filters/auth:v1").await;
        assert_eq!(
            processes_of(&folder.path().join("tmp")).len(),
            1,
            "the proxy runs"
        );
        signal(&mut demo, name).await;
        nothing_is_left(folder.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_offers_to_try_has_an_effect() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = start(folder.path());
    let log = says(&mut demo, "$EDITOR ").await;
    assert!(!log.contains("FAIL") && !log.contains("Some("), "{log}");
    let line = |begin: &str| {
        let found = log.lines().find_map(|line| line.trim().strip_prefix(begin));
        found.unwrap_or_else(|| panic!("no {begin} in {log}")).to_owned()
    };
    let file = line("$EDITOR ");
    let gateway = line("curl -i ");
    let url = gateway
        .split(' ')
        .next()
        .expect("it begins with a URL")
        .to_owned();
    let text = std::fs::read_to_string(&file).expect("the file is there");
    assert!(text.contains("header-rewrite:v2"), "{text}");
    std::fs::write(&file, text.replace("value: v2", "value: mine")).expect("the file can be written");
    let client = reqwest::Client::new();
    until("the edit is seen", async || {
        let asked = client.get(&url).header("x-api-key", "load-key").send().await;
        let answer = asked.map_err(|error| error.to_string())?;
        let header = answer.headers().get("x-filter-version").cloned();
        match header {
            Some(value) if value == "mine" => Ok(()),
            other => Err(format!("x-filter-version is {other:?}")),
        }
    })
    .await;
    signal(&mut demo, "TERM").await;
    nothing_is_left(folder.path());
}
