//! `leno new`: a filter that runs, to begin with.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::failure::failure;
use crate::options::New;
use crate::output::say;

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

/// The SDK of the checkout that this program was built in; present on the machine that built it only.
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
    let sdk = match (&command.sdk_path, &command.sdk_git) {
        (Some(folder), _) => of_folder(folder)?,
        (None, Some(url)) => of_repository(url)?,
        (None, None) => of_checkout(Path::new(OWN_SDK))?,
    };
    for (name, text) in TEMPLATE {
        let path = folder.join(name);
        let text = text.replace("{{name}}", &command.name).replace("{{sdk}}", &sdk);
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            std::fs::write(&path, text)
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
    }
    let folder = folder.display();
    say(format!(
        "made {folder} with leno-sdk = {sdk}\nnext: cd {folder} && leno test && leno build"
    ))?;
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

/// There is no crate to fall back on: the SDK is in no registry of crates.
fn of_checkout(sdk: &Path) -> anyhow::Result<String> {
    if sdk.join("Cargo.toml").is_file() {
        return of_folder(sdk);
    }
    Err(failure(
        "leno-sdk is not published yet, and this program is not in a checkout of Leno",
        "--sdk-path with the folder `sdk` of a checkout, or --sdk-git with the URL of a repository",
    ))
}

fn of_folder(folder: &Path) -> anyhow::Result<String> {
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
    let path = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(format!("{{ path = {} }}", literal(path)?))
}

fn of_repository(url: &str) -> anyhow::Result<String> {
    if url.is_empty() {
        return Err(failure("--sdk-git is empty", "the URL of a repository of Leno"));
    }
    Ok(format!("{{ git = {} }}", literal(url)?))
}

/// A literal string of TOML: nothing in it needs escaping, and what cannot stand in one is refused.
fn literal(text: &str) -> anyhow::Result<String> {
    let cannot = |c: char| c == '\'' || c.is_control();
    match text.contains(cannot) {
        true => anyhow::bail!("{text:?} cannot be written into a Cargo.toml"),
        false => Ok(format!("'{text}'")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{OWN_SDK, literal, of_checkout, of_repository};

    #[test]
    fn the_checkout_of_this_program_has_the_sdk() {
        let dependency = of_checkout(Path::new(OWN_SDK)).unwrap();
        assert!(dependency.starts_with("{ path = '/") && dependency.ends_with("/sdk' }"));
    }

    #[test]
    fn a_program_without_a_checkout_names_what_it_needs() {
        let error = of_checkout(Path::new("/no/such/sdk")).unwrap_err();
        assert!(error.to_string().contains("not published yet"), "{error}");
    }

    #[test]
    fn dependencies_are_sound_toml() {
        let dependency = of_repository("https://git.example/leno").unwrap();
        assert_eq!(dependency, "{ git = 'https://git.example/leno' }");
        of_repository("").unwrap_err();
        literal("a'b").unwrap_err();
        literal("a\nb").unwrap_err();
    }
}
