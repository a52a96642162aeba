//! `leno build`: a filter's crate to modules, ready to push.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use crate::failure::failure;
use crate::options::{AbiChoice, Build};
use crate::output::{print, size, table};
use crate::package::Package;
use crate::progress::Bar;
use crate::toolchain::{COMPONENT_TARGET, PROXY_WASM_TARGET, cargo, ensure_target, missing_tool};

/// A module that was built.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) abi: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    pub(crate) path: PathBuf,
}

pub(crate) fn run(command: &Build) -> anyhow::Result<ExitCode> {
    let package = Package::find(&command.package)?;
    let profile = if command.release {
        "release"
    } else {
        package.profile
    };
    let built = build(&package, command.abi, profile)?;
    print(command.output.output, &built, |built| {
        let rows = built.iter().map(|module| {
            [
                module.name.clone(),
                module.abi.clone(),
                size(module.size),
                module.path.display().to_string(),
            ]
        });
        table(["NAME", "ABI", "SIZE", "FILE"], rows)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Builds for one ABI or both. cargo's own words go to stderr as they come.
pub(crate) fn build(package: &Package, abi: AbiChoice, profile: &str) -> anyhow::Result<Vec<Built>> {
    let mut built = Vec::new();
    if abi != AbiChoice::Component {
        let bytes = compile(package, PROXY_WASM_TARGET, profile)?;
        built.push(keep(package, "wasm", &bytes)?);
    }
    if abi != AbiChoice::ProxyWasm {
        let bytes = compile(package, COMPONENT_TARGET, profile)?;
        let _bar = Bar::spinner("making a component");
        let component = wit_component::ComponentEncoder::default()
            .validate(true)
            .module(&bytes);
        let component = component
            .and_then(|mut encoder| encoder.encode())
            .with_context(|| {
                format!(
                    "{} cannot be made a component: does it use `leno_sdk::filter!`?",
                    package.name
                )
            })?;
        built.push(keep(package, "component.wasm", &component)?);
    }
    Ok(built)
}

fn compile(package: &Package, target: &str, profile: &str) -> anyhow::Result<Vec<u8>> {
    ensure_target(target)?;
    let mut command = cargo();
    command
        .args(["build", "--lib", "--target", target, "--profile", profile, "--manifest-path"])
        .arg(&package.manifest)
        // Its stdout is ours to keep for what we print.
        .stdout(std::process::Stdio::null());
    let status = command
        .status()
        .map_err(|error| missing_tool(error, command.get_program()))?;
    if !status.success() {
        return Err(failure(
            format!("{} does not build for {target}", package.name),
            "correct what cargo says above, and build again",
        ));
    }
    let path = package
        .target_folder
        .join(target)
        .join(profile)
        .join(format!("{}.wasm", package.library));
    std::fs::read(&path).with_context(|| path.display().to_string())
}

/// Checks what came out and puts it where it is easy to find.
fn keep(package: &Package, extension: &str, bytes: &[u8]) -> anyhow::Result<Built> {
    let inspection = leno_wasm::inspect(bytes)
        .map_err(|error| {
            failure(
                error.to_string(),
                "add `leno_sdk::filter!(YourFilter);` to the crate's root, once",
            )
        })
        .with_context(|| format!("{} builds, but not to a filter", package.name))?;
    let folder = package.target_folder.join("leno");
    let path = folder.join(format!("{}.{extension}", package.name));
    write_whole(&path, bytes)?;
    Ok(Built {
        name: package.name.clone(),
        abi: inspection.abi.to_string(),
        size: bytes.len() as u64,
        sha256: leno_oci::digest::Digest::of(bytes).hex(),
        path,
    })
}

/// Writes a file by rename, so that nobody reads half of it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || {
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new().prefix(".leno").tempfile_in(folder)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.persist(path).map(|_| ()).map_err(|error| error.error)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
