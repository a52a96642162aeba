//! `leno push`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use leno_oci::push::{Description, Format, PushOptions};
use leno_oci::reference::Reference;
use leno_wasm::Abi;
use serde::Serialize;

use crate::failure::failure;
use crate::options::{Layout, Push};
use crate::output::{fields, print, size};
use crate::progress::Bar;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pushed {
    reference: String,
    manifest: String,
    module: String,
    size: u64,
    uploaded: u64,
}

pub(crate) async fn run(command: Push) -> anyhow::Result<ExitCode> {
    let reference: Reference = command.reference.parse().map_err(leno_oci::error::Error::from)?;
    let bytes = std::fs::read(&command.file).map_err(|error| {
        failure(
            format!("cannot read {}: {error}", command.file.display()),
            "check the path; `leno build` says where it puts modules",
        )
    })?;
    let mut description = describe(&command.file, &bytes)?;
    description.annotations = command.annotation.into_iter().collect();
    description.config_schema = command.config_schema.as_deref().map(read_schema).transpose()?;
    let bar = Bar::bytes("pushing");
    let options = PushOptions {
        keychain: command.registry.keychain(),
        format: match command.layout {
            Layout::Cncf => Format::Cncf,
            Layout::Istio => Format::Istio,
        },
        description,
        progress: Some(bar.callback()),
    };
    let length = bytes.len() as u64;
    let pushed = command
        .registry
        .client()?
        .push(&reference, bytes.into(), &options)
        .await?;
    drop(bar);
    let pushed = Pushed {
        reference: format!("oci://{}", pushed.reference),
        manifest: pushed.manifest.to_string(),
        module: pushed.module.to_string(),
        size: length,
        uploaded: pushed.uploaded,
    };
    print(command.output.output, &pushed, |pushed| {
        let uploaded = match pushed.uploaded {
            0 => "nothing, it was there".to_owned(),
            bytes => size(bytes),
        };
        fields([
            ("pushed", pushed.reference.clone()),
            ("manifest", pushed.manifest.clone()),
            ("module", pushed.module.clone()),
            ("size", size(pushed.size)),
            ("uploaded", uploaded),
        ])
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What the module tells about itself; what no proxy could run is not pushed.
fn describe(file: &Path, bytes: &[u8]) -> anyhow::Result<Description> {
    let inspection = leno_wasm::inspect(bytes).map_err(|error| {
        failure(
            format!("{}: {error}", file.display()),
            "build a module with `leno build`",
        )
    })?;
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let title = name
        .trim_end_matches(".wasm")
        .trim_end_matches(".component")
        .to_owned();
    let imports = inspection.imports.iter().map(ToString::to_string).collect();
    let component = inspection.abi == Abi::Component;
    // `proxy-wasm/0.2.1`: one word, as annotations like it.
    let abi = inspection.abi.to_string().replacen(' ', "/", 1);
    let empty = Vec::new;
    Ok(Description {
        title,
        abi,
        callbacks: inspection.exports.clone(),
        exports: if component { inspection.exports } else { empty() },
        imports: if component {
            inspection.imports.iter().map(ToString::to_string).collect()
        } else {
            empty()
        },
        capabilities: imports,
        ..Description::default()
    })
}

fn read_schema(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    Ok(value.to_string())
}
