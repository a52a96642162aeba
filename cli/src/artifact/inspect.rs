//! `leno inspect`.

use std::process::ExitCode;

use leno_oci::digest::Digest;
use leno_oci::pull::PullOptions;
use leno_oci::push::Description;
use leno_oci::reference::Source;
use serde::Serialize;

use crate::failure::failure;
use crate::options::{Inspect, RegistryOptions};
use crate::output::{fields, print, size, table};
use crate::progress::Bar;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspected {
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<Artifact>,
    module: Module,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    resolved: String,
    manifest: String,
    layout: String,
    media_type: String,
    layers: Vec<Layer>,
    annotations: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_schema: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Module {
    digest: String,
    size: u64,
    /// `None` when no proxy of ours could run it; then `refused` says why.
    #[serde(skip_serializing_if = "Option::is_none")]
    abi: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    callbacks: Vec<String>,
    capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_memory: Option<u64>,
    producers: Vec<String>,
}

pub(crate) async fn run(command: Inspect) -> anyhow::Result<ExitCode> {
    let (source, artifact, bytes) = load(&command.module, &command.registry).await?;
    let inspected = Inspected {
        source,
        artifact,
        module: look_into(&bytes),
    };
    print(command.output.output, &inspected, describe)?;
    match &inspected.module.refused {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => Err(failure(
            format!("no proxy runs {}: {reason}", command.module),
            "build a filter with `leno build`",
        )),
    }
}

async fn load(
    module: &str,
    registry: &RegistryOptions,
) -> anyhow::Result<(String, Option<Artifact>, bytes::Bytes)> {
    let source = super::source(module)?;
    let client = registry.client()?;
    let keychain = registry.keychain();
    let artifact = match &source {
        Source::Oci(reference) => {
            let found = client.inspect(reference, &keychain).await?;
            Some(Artifact {
                resolved: found.resolved.to_string(),
                manifest: found.digest.to_string(),
                layout: match &found.layout {
                    Ok((layout, _)) => layout.to_string(),
                    Err(reason) => format!("unknown: {reason}"),
                },
                media_type: found.manifest.media_type.clone().unwrap_or_default(),
                layers: found
                    .manifest
                    .layers
                    .iter()
                    .map(|layer| Layer {
                        media_type: layer.media_type.clone(),
                        digest: layer.digest.clone(),
                        size: layer.size,
                    })
                    .collect(),
                config_schema: Description::from_annotations(&found.manifest.annotations).config_schema,
                annotations: found.manifest.annotations,
            })
        }
        Source::Http(_) | Source::File(_) => None,
    };
    let bar = Bar::bytes("pulling");
    let options = PullOptions {
        keychain,
        progress: Some(bar.callback()),
        ..PullOptions::default()
    };
    let pulled = client.pull(&source, &options).await?;
    // As it was given: where a file stands is the caller's to know.
    let shown = if matches!(source, Source::File(_)) {
        module.to_owned()
    } else {
        source.to_string()
    };
    Ok((shown, artifact, pulled.bytes))
}

fn look_into(bytes: &[u8]) -> Module {
    let mut module = Module {
        digest: Digest::of(bytes).to_string(),
        size: bytes.len() as u64,
        abi: None,
        refused: None,
        callbacks: Vec::new(),
        capabilities: Vec::new(),
        initial_memory: None,
        producers: Vec::new(),
    };
    match leno_wasm::inspect(bytes) {
        Err(error) => module.refused = Some(error.to_string()),
        Ok(found) => {
            module.abi = Some(found.abi.to_string());
            module.callbacks = found.exports;
            module.capabilities = found.imports.iter().map(ToString::to_string).collect();
            module.initial_memory = found.memory.map(|(initial, _)| initial);
            module.producers = found.producers;
        }
    }
    module
}

fn describe(inspected: &Inspected) -> String {
    let module = &inspected.module;
    let artifact = inspected.artifact.as_ref();
    let of = |pick: fn(&Artifact) -> &String| {
        artifact
            .map(|artifact| pick(artifact).clone())
            .unwrap_or_default()
    };
    let mut text = fields([
        ("source", inspected.source.clone()),
        ("layout", of(|artifact| &artifact.layout)),
        ("resolved", of(|artifact| &artifact.resolved)),
        ("manifest", of(|artifact| &artifact.manifest)),
        ("module", module.digest.clone()),
        ("size", size(module.size)),
        ("abi", module.abi.clone().unwrap_or_default()),
        ("refused", module.refused.clone().unwrap_or_default()),
        (
            "memory",
            module
                .initial_memory
                .map(|bytes| format!("{} at the start", size(bytes)))
                .unwrap_or_default(),
        ),
        ("made by", module.producers.join("; ")),
        ("callbacks", module.callbacks.join("\n")),
        ("capabilities", module.capabilities.join("\n")),
    ]);
    if let Some(artifact) = artifact {
        let layers = artifact
            .layers
            .iter()
            .map(|layer| [layer.media_type.clone(), size(layer.size), layer.digest.clone()]);
        text.push_str("\n\n");
        text.push_str(&table(["LAYER", "SIZE", "DIGEST"], layers));
        if !artifact.annotations.is_empty() {
            text.push_str("\n\n");
            let shorten = |text: &String| text.chars().take(100).collect::<String>();
            let rows = artifact
                .annotations
                .iter()
                .map(|(key, value)| [key.clone(), shorten(value)]);
            text.push_str(&table(["ANNOTATION", "VALUE"], rows));
        }
    }
    text
}
