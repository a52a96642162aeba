//! The filter's package, as cargo sees it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use crate::failure::failure;
use crate::options::PackageOptions;
use crate::toolchain::{cargo, output};

/// A package that builds a dynamic library, as filters do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest: PathBuf,
    /// The file name of its library, without extension.
    pub(crate) library: String,
    /// Where cargo builds.
    pub(crate) target_folder: PathBuf,
    /// The profile for guests.
    pub(crate) profile: &'static str,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Entry>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

impl Package {
    /// Finds the filter that the options mean.
    pub(crate) fn find(options: &PackageOptions) -> anyhow::Result<Package> {
        let manifest = options.path.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(failure(
                format!("{} is missing", manifest.display()),
                "run it in a filter's folder, or begin one with `leno new NAME`",
            ));
        }
        let mut command = cargo();
        command
            .args([
                "metadata",
                "--no-deps",
                "--format-version",
                "1",
                "--manifest-path",
            ])
            .arg(&manifest);
        let found = output(&mut command)?;
        let metadata: Metadata = serde_json::from_slice(&found.stdout).context("cargo metadata")?;
        let here = manifest
            .canonicalize()
            .with_context(|| manifest.display().to_string())?;
        let entry = select(&metadata.packages, options.package.as_deref(), &here)?;
        let library = library(entry).ok_or_else(|| {
            failure(
                format!("package {} builds no dynamic library", entry.name),
                "add `[lib] crate-type = [\"cdylib\", \"rlib\"]` to its Cargo.toml",
            )
        })?;
        Ok(Package {
            name: entry.name.clone(),
            manifest: entry.manifest_path.clone(),
            library,
            target_folder: metadata.target_directory,
            profile: if has_guest_profile(&metadata.workspace_root) {
                "guest"
            } else {
                "release"
            },
        })
    }

    /// The folder of the package.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(Path::new("."))
    }
}

fn select<'a>(packages: &'a [Entry], wanted: Option<&str>, here: &Path) -> anyhow::Result<&'a Entry> {
    let filters = || {
        packages
            .iter()
            .filter(|entry| library(entry).is_some())
            .map(|entry| entry.name.as_str())
    };
    let choice = |message: String| {
        let names = filters().collect::<Vec<_>>().join(", ");
        failure(message, format!("--package with one of: {names}"))
    };
    if let Some(wanted) = wanted {
        let found = packages.iter().find(|entry| entry.name == wanted);
        return found.ok_or_else(|| choice(format!("there is no package {wanted} here")));
    }
    if let Some(entry) = packages.iter().find(|entry| entry.manifest_path == here) {
        return Ok(entry);
    }
    let mut found = packages.iter().filter(|entry| library(entry).is_some());
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(choice("this is a workspace, not one package".to_owned())),
    }
}

fn library(entry: &Entry) -> Option<String> {
    let is_library = |target: &&Target| target.crate_types.iter().any(|kind| kind == "cdylib");
    entry
        .targets
        .iter()
        .find(is_library)
        .map(|target| target.name.replace('-', "_"))
}

/// Whether a workspace has a profile of its own for guests: small code, no unwinding.
fn has_guest_profile(workspace: &Path) -> bool {
    let text = std::fs::read_to_string(workspace.join("Cargo.toml")).unwrap_or_default();
    text.lines().any(|line| line.trim() == "[profile.guest]")
}
