//! `leno new`: a filter that runs, to begin with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::failure::failure;
use crate::options::New;

/// The files of the template; `{{name}}` and `{{sdk}}` are filled in.
const TEMPLATE: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../template/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../template/lib.rs.in")),
    (
        "transcripts/greets.yaml",
        include_str!("../template/greets.yaml.in"),
    ),
    ("README.md", include_str!("../template/README.md.in")),
    (".gitignore", "/target\n"),
];

/// The SDK beside which this program was built; present on a developer's machine only.
const OWN_SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk");

pub(crate) fn run(command: &New) -> anyhow::Result<ExitCode> {
    check_name(&command.name)?;
    let folder = command.path.join(&command.name);
    if folder.exists() {
        return Err(failure(
            format!("{} exists already", folder.display()),
            "another name, or --path",
        ));
    }
    let sdk = sdk_dependency(command.sdk_path.as_deref())?;
    for (name, text) in TEMPLATE {
        let path = folder.join(name);
        let text = text.replace("{{name}}", &command.name).replace("{{sdk}}", &sdk);
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            std::fs::write(&path, text)
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("made {}", folder.display());
    println!("next: cd {} && leno test && leno build", folder.display());
    Ok(ExitCode::SUCCESS)
}

/// cargo's rules for package names, and lower case besides: the name becomes a repository's.
fn check_name(name: &str) -> anyhow::Result<()> {
    const TAKEN: [&str; 10] = [
        "test",
        "core",
        "std",
        "alloc",
        "proc-macro",
        "self",
        "super",
        "crate",
        "extern",
        "leno-sdk",
    ];
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let goes_on = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    match begins && goes_on && name.len() <= 64 && !TAKEN.contains(&name) {
        true => Ok(()),
        false => Err(failure(
            format!("`{name}` cannot be the name of a filter"),
            "a name of a-z, 0-9, - and _ that begins with a letter, such as `tenant-quota`",
        )),
    }
}

fn sdk_dependency(given: Option<&Path>) -> anyhow::Result<String> {
    let folder = match given {
        Some(folder) => folder.to_owned(),
        None if Path::new(OWN_SDK).join("Cargo.toml").is_file() => PathBuf::from(OWN_SDK),
        None => return Ok(format!("\"{}\"", env!("CARGO_PKG_VERSION"))),
    };
    let path = folder
        .canonicalize()
        .with_context(|| folder.display().to_string())?;
    let manifest = std::fs::read_to_string(path.join("Cargo.toml")).unwrap_or_default();
    if !manifest.contains("name = \"leno-sdk\"") {
        return Err(failure(
            format!("{} is not the SDK's folder", path.display()),
            "the folder `sdk` of a checkout of Leno",
        ));
    }
    // A literal string: nothing in it needs escaping, and paths with quotes are refused.
    match path.to_str().filter(|path| !path.contains(['\'', '\n'])) {
        Some(path) => Ok(format!("{{ path = '{path}' }}")),
        None => anyhow::bail!("{} cannot be written into a Cargo.toml", path.display()),
    }
}
