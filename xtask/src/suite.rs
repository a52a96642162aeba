//! Everything that must hold, in the order in which it fails fastest.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::shell::{Done, cargo, root, run, target_folder};
use crate::{demo, guests, prerequisites, tidy};

/// `cargo xtask test`.
pub(crate) fn test(flags: &[&str]) -> Done {
    let quick = match flags {
        [] => false,
        ["--quick"] => true,
        other => return Err(format!("test: {} is not --quick", other.join(" "))),
    };
    let start = Instant::now();
    run(cargo().args(["fmt", "--all", "--check"]))?;
    tidy::tidy()?;
    let envoy = prerequisites::for_tests()?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo()
        .args(["doc", "--workspace", "--no-deps", "--quiet"])
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    guests::build()?;
    guests::lint()?;
    // With all targets, so that programs and tests share one set of dependency features, and one build of them.
    run(cargo().args(["build", "--workspace", "--all-targets"]))?;
    let outcome = tests(&envoy)?;
    eprintln!("{outcome}");
    if !quick {
        demo::show("debug", true)?;
        examples()?;
    }
    eprintln!("all of it took {:.0} s", start.elapsed().as_secs_f64());
    println!("{outcome}");
    Ok(())
}

/// Runs every test and counts them: the closing line is `N passed, N failed`.
fn tests(envoy: &Path) -> Done<String> {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--no-fail-fast"])
        .env("LENO_TEST_ENVOY", envoy)
        .env("LENO_TEST_PYTHON", prerequisites::venv().join("bin/python"))
        .env("LENO_TEST_BIN", target_folder().join("debug"))
        .env("LENO_TEST_MODULES", target_folder().join("wasm32-wasip1/guest"))
        .env(
            "LENO_TEST_COMPONENTS",
            target_folder().join("wasm32-unknown-unknown/guest"),
        )
        .stdout(Stdio::piped());
    eprintln!("\x1b[1m$ cargo test --workspace --no-fail-fast\x1b[0m");
    let mut child = command.spawn().map_err(|error| format!("cargo test: {error}"))?;
    let (mut passed, mut failed) = (0u64, 0u64);
    if let Some(stdout) = child.stdout.take() {
        for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)) {
            let line = line.map_err(|error| format!("cargo test: {error}"))?;
            println!("{line}");
            if let Some(counts) = line.strip_prefix("test result: ") {
                passed += count(counts, " passed");
                failed += count(counts, " failed");
            }
        }
    }
    let status = child.wait().map_err(|error| format!("cargo test: {error}"))?;
    let outcome = format!("{passed} passed, {failed} failed");
    if status.success() && failed == 0 {
        Ok(outcome)
    } else {
        Err(outcome)
    }
}

fn count(line: &str, what: &str) -> u64 {
    let before = line.split(what).next().unwrap_or_default();
    before
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Every folder of `examples/` has a `run` script that does what its README says and checks what came of it.
fn examples() -> Done {
    let folder = root().join("examples");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut scripts: Vec<_> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("run"))
        .filter(|script| script.is_file())
        .collect();
    scripts.sort();
    for script in scripts {
        run(Command::new("bash")
            .arg(&script)
            .env("LENO_BIN", target_folder().join("debug"))
            .env("LENO_MODULES", target_folder().join("wasm32-wasip1/guest")))?;
    }
    Ok(())
}

/// `cargo xtask gen`: the pruned descriptors of the Envoy API.
pub(crate) fn generate(flags: &[&str]) -> Done {
    let file = root().join("xds/descriptors/envoy.bin");
    let before = fs::read(&file).unwrap_or_default();
    run(cargo().args(["run", "--quiet", "-p", "leno-xds", "--example", "gen_descriptors"]))?;
    let after = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    match flags {
        [] => Ok(()),
        ["--check"] if before == after => Ok(()),
        ["--check"] => Err(
            "xds/descriptors/envoy.bin was not up to date; commit what `cargo xtask gen` wrote".to_owned(),
        ),
        other => Err(format!("gen: {} is not --check", other.join(" "))),
    }
}

/// `cargo xtask bench`: the micro benches, then peers side by side; results and the command stand in
/// `docs/performance.md`. Flags are those of `leno-bench`.
pub(crate) fn bench(flags: &[&str]) -> Done {
    let envoy = prerequisites::for_benches()?;
    guests::build()?;
    if flags.is_empty() {
        run(cargo().args(["bench", "--workspace", "--bench", "*"]))?;
    }
    run(cargo().args(["build", "--workspace", "--bins", "--release"]))?;
    run(Command::new(target_folder().join("release/leno-bench"))
        .args(flags)
        .env("LENO_TEST_ENVOY", envoy)
        .env("LENO_TEST_BIN", target_folder().join("release"))
        .env("LENO_TEST_MODULES", target_folder().join("wasm32-wasip1/guest")))
}
