//! `leno pull`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use leno_oci::digest::Digest;
use leno_oci::pull::PullOptions;
use leno_oci::reference::Source;
use serde::Serialize;

use crate::build::write_whole;
use crate::failure::failure;
use crate::options::Pull;
use crate::output::{fields, print, size};
use crate::progress::Bar;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pulled {
    source: String,
    file: PathBuf,
    module: String,
    size: u64,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layout: Option<String>,
}

pub(crate) async fn run(command: Pull) -> anyhow::Result<ExitCode> {
    let source = match super::is_path(&command.reference) {
        true => super::source(&command.reference)?,
        false => Source::parse(&command.reference).map_err(leno_oci::error::Error::from)?,
    };
    let sha256 = command.sha256.as_deref().map(Digest::parse).transpose()?;
    let bar = Bar::bytes("pulling");
    let options = PullOptions {
        keychain: command.registry.keychain(),
        sha256,
        progress: Some(bar.callback()),
    };
    let module = command.registry.client()?.pull(&source, &options).await?;
    drop(bar);
    let file = command.to.unwrap_or_else(|| default_name(&source));
    write(&file, &module.bytes, command.force)?;
    let artifact = module.artifact.as_ref();
    let pulled = Pulled {
        source: source.to_string(),
        file,
        module: module.digest.to_string(),
        size: module.bytes.len() as u64,
        kind: module.kind.to_string(),
        manifest: artifact.map(|artifact| artifact.manifest.to_string()),
        layout: artifact.map(|artifact| artifact.layout.to_string()),
    };
    print(command.output.output, &pulled, |pulled| {
        fields([
            ("pulled", pulled.source.clone()),
            ("file", pulled.file.display().to_string()),
            ("module", pulled.module.clone()),
            ("size", size(pulled.size)),
            ("kind", pulled.kind.clone()),
            ("manifest", pulled.manifest.clone().unwrap_or_default()),
            ("layout", pulled.layout.clone().unwrap_or_default()),
        ])
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Equal content may be written again; other content is somebody's work.
fn write(file: &Path, bytes: &[u8], force: bool) -> anyhow::Result<()> {
    match std::fs::read(file) {
        Ok(present) if present == bytes => return Ok(()),
        Ok(_) if !force => {
            return Err(failure(
                format!("{} exists and holds something else", file.display()),
                "--force to replace it, or --to another file",
            ));
        }
        _ => {}
    }
    write_whole(file, bytes)
}

fn default_name(source: &Source) -> PathBuf {
    let last = match source {
        Source::Oci(reference) => reference.repository().rsplit('/').next().map(str::to_owned),
        Source::Http(url) => {
            let path = url.split(['?', '#']).next().unwrap_or(url);
            let path = path.split_once("://").map_or(path, |(_, rest)| rest);
            path.split('/').skip(1).last().map(str::to_owned)
        }
        Source::File(path) => path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned),
    };
    let stem = last
        .as_deref()
        .and_then(|name| name.split('.').next())
        .filter(|stem| !stem.is_empty());
    PathBuf::from(format!("{}.wasm", stem.unwrap_or("module")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_their_source() {
        let name = |url: &str| default_name(&Source::parse(url).unwrap()).display().to_string();
        assert_eq!(name("r.example/filters/auth:v1"), "auth.wasm");
        assert_eq!(name("https://example.com/a/auth.wasm?x=/y"), "auth.wasm");
        assert_eq!(name("https://example.com/auth.tar.gz"), "auth.wasm");
        assert_eq!(name("https://example.com/"), "module.wasm");
        assert_eq!(name("https://example.com/.."), "module.wasm");
        assert_eq!(name("file:///a/b.wasm"), "b.wasm");
    }
}
