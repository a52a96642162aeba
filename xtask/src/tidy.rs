//! The house rules that a machine can check: edges, licences, sources, names, and what a file may not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::shell::{Done, cargo, has, output, root, run};

/// Which of our crates may name which: the whole list (see `ARCHITECTURE.md`).
const EDGES: &[(&str, &[&str])] = &[
    ("leno-model", &[]),
    ("leno-xds", &["leno-model"]),
    ("leno-oci", &[]),
    ("leno-sdk", &[]),
    ("leno-wasm", &["leno-sdk"]),
    (
        "leno-proxy",
        &["leno-wasm", "leno-oci", "leno-xds", "leno-sdk", "leno-model"],
    ),
    (
        "leno-control-plane",
        &["leno-wasm", "leno-oci", "leno-xds", "leno-model"],
    ),
    ("leno-cli", ANY),
    ("leno-benches", ANY),
    ("leno-tests", ANY),
    ("xtask", &[]),
];

/// What is released.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// May name all of ours.
const ANY: &[&str] = &["*"];

/// Crates that only one of ours may name.
const OWNED: &[(&str, &[&str])] = &[
    ("wasmtime", &["leno-wasm"]),
    ("prost", &["leno-xds"]),
    ("envoy-types", &["leno-xds"]),
    ("tonic", &["leno-xds"]),
    ("h2", &["leno-proxy", "leno-tests", "leno-benches"]),
];

/// Licences that may be linked; an expression is fine when one of its arms is.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "CC0-1.0",
    "Unlicense",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "MIT-0",
    "OpenSSL",
];

/// Crates that must not be linked, and why; the same as in `deny.toml`.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "TLS is rustls with aws-lc-rs"),
    ("openssl-sys", "TLS is rustls with aws-lc-rs"),
    ("ring", "one crypto provider: aws-lc-rs"),
    ("serde_yaml", "unmaintained"),
    ("inferno", "CDDL"),
];

/// Folder and module names that say nothing.
const EMPTY_NAMES: &[&str] = &[
    "common", "core", "utils", "util", "types", "prelude", "helpers", "misc",
];

/// All of it; every breach is named before it fails.
pub(crate) fn tidy() -> Done {
    let metadata = output(cargo().args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        PLATFORM,
    ]))?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let mut breaches = Vec::new();
    edges(&metadata, &mut breaches);
    dependencies(&metadata, &mut breaches)?;
    files(&mut breaches)?;
    if !breaches.is_empty() {
        return Err(format!("tidy:\n  {}", breaches.join("\n  ")));
    }
    unused()
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn edges(metadata: &Value, breaches: &mut Vec<String>) {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    for package in packages(metadata).filter(|package| package["source"].is_null()) {
        let name = text(package, "name");
        let of_filters: &[&str] = &["leno-sdk"];
        let Some(may) = allowed
            .get(name)
            .copied()
            .or(name.starts_with("leno-filter-").then_some(of_filters))
        else {
            breaches.push(format!(
                "{name}: a crate that ARCHITECTURE.md does not know; add it to the map and to tidy's edges"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = text(dependency, "name");
            let ours = to.starts_with("leno-") || to == "xtask";
            let in_tests = dependency["kind"] == "dev";
            // A wasm guest test may use a filter; nothing else may reach up, tests included.
            let tests_of_wasm = in_tests && name == "leno-wasm" && to.starts_with("leno-filter-");
            if ours && may != ANY && !may.contains(&to) && to != name && !tests_of_wasm {
                breaches.push(format!("{name} -> {to}: not an edge of ARCHITECTURE.md"));
            }
            if let Some((_, owners)) = OWNED.iter().find(|(crate_name, _)| *crate_name == to)
                && !owners.contains(&name)
                && !in_tests
            {
                breaches.push(format!("{name} names {to}; only {} may", owners.join(", ")));
            }
        }
    }
}

fn dependencies(metadata: &Value, breaches: &mut Vec<String>) -> Done {
    let linked = linked()?;
    for package in packages(metadata) {
        let Some(source) = package["source"].as_str() else {
            continue;
        };
        let name = text(package, "name");
        if !linked.contains(&format!("{name} v{}", text(package, "version"))) {
            continue;
        }
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            breaches.push(format!("{name}: banned: {why}"));
        }
        if !source.starts_with("registry+") {
            breaches.push(format!("{name}: comes from {source}, not from the registry"));
        }
        let licence = text(package, "license");
        if !licence.is_empty() && !is_free(licence) {
            breaches.push(format!("{name}: licence {licence:?} is not on the list of tidy"));
        }
    }
    Ok(())
}

/// The packages that are built for this platform, as `name vVERSION`: the lock file names others too.
fn linked() -> Done<BTreeSet<String>> {
    let tree = [
        "tree",
        "--workspace",
        "--locked",
        "--edges",
        "normal,build,dev",
        "--target",
        PLATFORM,
    ];
    let listed = output(cargo().args(tree).args(["--prefix", "none", "--format", "{p}"]))?;
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    Ok(listed.lines().map(words).collect())
}

/// SPDX expressions as crates write them: arms by `OR` or `/`, parts of an arm by `AND`.
fn is_free(expression: &str) -> bool {
    let arms = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let whole: Vec<&str> = arms.split_whitespace().collect();
    let whole = whole.join(" ");
    whole.split(" AND ").all(|part| {
        part.split(" OR ").any(|arm| {
            let licence = arm.trim().split(" WITH ").next().unwrap_or_default();
            LICENCES.contains(&licence)
        })
    })
}

fn files(breaches: &mut Vec<String>) -> Done {
    let listed = output(Command::new("git").args(["ls-files"]).current_dir(root()))?;
    for file in listed.lines() {
        let parts: Vec<&str> = file.split('/').collect();
        let stems = parts.iter().map(|part| part.strip_suffix(".rs").unwrap_or(part));
        for stem in stems {
            if EMPTY_NAMES.contains(&stem) && file.ends_with(".rs") {
                breaches.push(format!("{file}: {stem:?} says nothing; name the idea"));
            }
        }
        if parts.last() == Some(&"mod.rs") && !file.contains("/tests/") {
            breaches.push(format!("{file}: name the module's file after the module"));
        }
        if file.ends_with(".rs") {
            let content = std::fs::read_to_string(root().join(file)).unwrap_or_default();
            let first = content.lines().next().unwrap_or_default();
            let included =
                file.contains("/guests/") || file.ends_with(".tmpl.rs") || file.contains("/template/");
            if !first.starts_with("//!")
                && !included
                && !file.ends_with("build.rs")
                && !first.starts_with("#!")
            {
                let is_test =
                    file.contains("/tests/") || file.ends_with("tests.rs") || file.contains("fuzz/");
                if !is_test {
                    breaches.push(format!("{file}: begins without a //! line that says what it is"));
                }
            }
            if content.contains(concat!("#[", "ignore")) {
                breaches.push(format!("{file}: an ignored test"));
            }
        }
    }
    Ok(())
}

/// `cargo machete` finds dependencies that nothing names; it installs in about a minute.
fn unused() -> Done {
    if !has("cargo-machete") {
        let installed = run(cargo().args([
            "install",
            "cargo-machete",
            "--version",
            "0.9.2",
            "--locked",
            "--quiet",
        ]));
        if let Err(error) = installed {
            eprintln!("xtask: unused dependencies are not checked: {error}");
            return Ok(());
        }
    }
    run(Command::new("cargo-machete").arg(".").current_dir(root()))
}

#[cfg(test)]
mod tests {
    use super::is_free;

    #[test]
    fn licence_expressions_are_read() {
        for (expression, want) in [
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-2.0-only OR BSD-3-Clause", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("ISC AND (Apache-2.0 OR ISC)", true),
            ("CDDL-1.0", false),
            ("MIT AND GPL-3.0", false),
        ] {
            assert_eq!(is_free(expression), want, "{expression}");
        }
    }
}
