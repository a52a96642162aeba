//! A new stage filter from the template that `leno new` uses.

use std::fs;
use std::process::Command;

use crate::demo;
use crate::shell::{Done, root, run, target_folder};

/// The manifest of a member of the workspace.
const MANIFEST: &str = r#"[package]
name = "leno-filter-{{name}}"
description = "Leno's {{name}} stage as a filter"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
repository.workspace = true
publish.workspace = true

[lints]
workspace = true

[lib]
crate-type = ["cdylib", "rlib"]

[dependencies]
leno-sdk.workspace = true
serde.workspace = true
"#;

/// Makes `filters/NAME`.
pub(crate) fn new_filter(name: &str) -> Done {
    let good = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !good {
        return Err(format!(
            "new-filter: {name:?} is not a name; use lower case letters, digits and -"
        ));
    }
    let folder = root().join("filters").join(name);
    if folder.exists() {
        return Err(format!("new-filter: {} is already there", folder.display()));
    }
    demo::binaries(false)?;
    run(Command::new(target_folder().join("debug/leno"))
        .args(["new", name, "--path", "filters", "--sdk-path", "sdk"])
        .current_dir(root()))?;
    // As a member of the workspace, which has the profile, the lints and the ignored files.
    let manifest = folder.join("Cargo.toml");
    fs::write(&manifest, MANIFEST.replace("{{name}}", name))
        .and_then(|()| fs::remove_file(folder.join(".gitignore")))
        .map_err(|error| format!("{}: {error}", manifest.display()))
}
