//! The main job on a fresh machine: builds everything, then hands over to `leno demo`.

use std::process::Command;

use crate::guests;
use crate::shell::{Done, cargo, run, target_folder};

/// `--check` ends after the report and fails if any of it did not hold.
pub(crate) fn demo(flags: &[&str]) -> Done {
    let mut check = false;
    let mut release = false;
    for flag in flags {
        match *flag {
            "--check" => check = true,
            "--release" => release = true,
            other => return Err(format!("demo: {other} is not one of --check, --release")),
        }
    }
    eprintln!("1/3 building the mesh (the first time takes minutes: it holds a Wasm compiler)");
    binaries(release)?;
    eprintln!("2/3 building the stage filters to Wasm");
    guests::build()?;
    eprintln!("3/3 running");
    show(if release { "release" } else { "debug" }, check)
}

/// Runs the demo with what is built.
pub(crate) fn show(profile: &str, check: bool) -> Done {
    let mut leno = Command::new(target_folder().join(profile).join("leno"));
    leno.arg("demo")
        .arg("--modules")
        .arg(target_folder().join("wasm32-wasip1/guest"));
    if check {
        leno.arg("--check");
    }
    run(&mut leno)
}

/// The programs of the mesh, built with the whole workspace so that a test run finds the same objects.
pub(crate) fn binaries(release: bool) -> Done {
    let mut command = cargo();
    command.args(["build", "--workspace", "--bins"]);
    if release {
        command.arg("--release");
    }
    run(&mut command)
}
