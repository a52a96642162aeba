//! Derives `descriptors/envoy.bin` from the descriptor set inside the `envoy-types` package.
//!
//! `cargo run -p leno-xds --example gen_descriptors` writes it; with `--check` it only compares and fails when
//! the committed file is not what the locked `envoy-types` gives. Comments, options and the files that only
//! declare options are left out, and so is every file that no root below reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FieldOptions, FileDescriptorProto,
    FileDescriptorSet, MessageOptions,
};

/// Everything we decode, and everything that may stand in an `Any` of it.
const ROOTS: &[&str] = &[
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/core/v3/extension.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/access_loggers/stream/v3/stream.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/http/wasm/v3/wasm.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/request_id/uuid/v3/uuid.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
    "envoy/extensions/wasm/v3/wasm.proto",
    "envoy/service/discovery/v3/discovery.proto",
    "google/protobuf/any.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/wrappers.proto",
];

/// Folders whose files declare nothing but options.
const OPTION_FOLDERS: &[&str] = &[
    "udpa/annotations/",
    "xds/annotations/",
    "envoy/annotations/",
    "validate/",
];

fn main() -> Result<(), Box<dyn Error>> {
    let package = package_folder()?;
    let bytes = std::fs::read(package.join("src/generated/types.bin"))?;
    let pruned = prune(FileDescriptorSet::decode(bytes.as_slice())?)?.encode_to_vec();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors/envoy.bin");
    if std::env::args().any(|argument| argument == "--check") {
        if std::fs::read(&target)? != pruned {
            return Err(format!("{} is stale: run `cargo xtask gen`", target.display()).into());
        }
        return Ok(());
    }
    std::fs::write(&target, &pruned)?;
    println!("{}: {} bytes", target.display(), pruned.len());
    Ok(())
}

fn package_folder() -> Result<PathBuf, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1"])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "envoy-types")
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or("`cargo metadata` names no package `envoy-types`")?;
    Ok(Path::new(manifest)
        .parent()
        .ok_or("a manifest without a folder")?
        .to_owned())
}

fn prune(set: FileDescriptorSet) -> Result<FileDescriptorSet, Box<dyn Error>> {
    let mut files: BTreeMap<String, FileDescriptorProto> = set
        .file
        .into_iter()
        .map(|file| (file.name().to_owned(), file))
        .collect();
    let mut wanted: Vec<String> = ROOTS.iter().map(|root| (*root).to_owned()).collect();
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let mut file = files
            .remove(&name)
            .ok_or_else(|| format!("no file `{name}` in the set"))?;
        if !file.public_dependency.is_empty() {
            return Err(format!("`{name}` imports publicly, which this pruning does not keep").into());
        }
        strip(&mut file);
        wanted.extend(file.dependency.iter().cloned());
        kept.push(file);
    }
    kept.push(typed_struct("xds/type/v3/typed_struct.proto", "xds.type.v3"));
    kept.push(typed_struct("udpa/type/v1/typed_struct.proto", "udpa.type.v1"));
    kept.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(FileDescriptorSet { file: kept })
}

/// The package leaves these two out; they are two fields each.
fn typed_struct(name: &str, package: &str) -> FileDescriptorProto {
    let field = |name: &str, number: i32, kind: Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name: (kind == Type::Message).then(|| ".google.protobuf.Struct".to_owned()),
        ..Default::default()
    };
    FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some(package.to_owned()),
        dependency: vec!["google/protobuf/struct.proto".to_owned()],
        message_type: vec![DescriptorProto {
            name: Some("TypedStruct".to_owned()),
            field: vec![
                field("type_url", 1, Type::String),
                field("value", 2, Type::Message),
            ],
            ..Default::default()
        }],
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    }
}

fn strip(file: &mut FileDescriptorProto) {
    file.source_code_info = None;
    file.options = None;
    file.extension.clear();
    file.service.clear();
    file.weak_dependency.clear();
    file.dependency.retain(|name| {
        name != "google/protobuf/descriptor.proto"
            && !OPTION_FOLDERS.iter().any(|folder| name.starts_with(folder))
    });
    file.message_type.iter_mut().for_each(strip_message);
    file.enum_type.iter_mut().for_each(strip_enum);
}

fn strip_message(message: &mut DescriptorProto) {
    // `map_entry` is the one option that changes how bytes are read.
    if let Some(options) = message.options.take()
        && options.map_entry()
    {
        message.options = Some(MessageOptions {
            map_entry: Some(true),
            ..Default::default()
        });
    }
    for field in &mut message.field {
        if let Some(options) = field.options.take()
            && let Some(packed) = options.packed
        {
            field.options = Some(FieldOptions {
                packed: Some(packed),
                ..Default::default()
            });
        }
    }
    for oneof in &mut message.oneof_decl {
        oneof.options = None;
    }
    message.extension.clear();
    message.nested_type.iter_mut().for_each(strip_message);
    message.enum_type.iter_mut().for_each(strip_enum);
}

fn strip_enum(declaration: &mut EnumDescriptorProto) {
    declaration.options = None;
    for value in &mut declaration.value {
        value.options = None;
    }
}
