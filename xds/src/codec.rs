//! One resource of any kind to and from bytes, JSON and YAML.

use std::sync::Arc;

use bytes::Bytes;
use leno_model::invalid::Invalid;
use prost::Message;

use crate::document::Document;
use crate::pb::{
    cluster as cluster_pb, core, endpoint as endpoint_pb, listener as listener_pb, route as route_pb,
};
use crate::resource::{Kind, Resource};
use crate::{cluster, descriptors, endpoint, filter, listener, route, strict};

/// Reads a resource of `kind` from the `Any` that carried it.
///
/// # Errors
/// Another type than the kind's, malformed bytes, or the first field that is wrong or not supported.
pub fn decode(kind: Kind, type_url: &str, bytes: &[u8]) -> Result<Resource, Invalid> {
    if type_url != kind.type_url() {
        return Err(Invalid::new(
            "",
            format!("`{type_url}` is not `{}`", kind.type_url()),
        ));
    }
    let message = descriptors::decode(descriptor(kind), bytes)?;
    strict::check(&message)?;
    decode_bytes(kind, bytes)
}

/// The name of a resource of `kind`, even when the rest of it is not valid.
pub fn name(kind: Kind, bytes: &[u8]) -> Option<String> {
    let message = descriptors::decode(descriptor(kind), bytes).ok()?;
    let field = match kind {
        Kind::LoadAssignment => "cluster_name",
        Kind::Cluster | Kind::Filter | Kind::Listener | Kind::RouteConfiguration => "name",
    };
    let value = message.get_field_by_name(field)?;
    value.as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The type URL and the bytes of an `Any` that carries `resource`.
pub fn encode(resource: &Resource) -> (&'static str, Bytes) {
    let bytes = match resource {
        Resource::Cluster(value) => cluster::encode(value).encode_to_vec(),
        Resource::LoadAssignment(value) => endpoint::encode(value).encode_to_vec(),
        Resource::Filter { name, config } => filter::encode_extension(name, config).encode_to_vec(),
        Resource::Listener(value) => listener::encode(value).encode_to_vec(),
        Resource::RouteConfiguration(value) => route::encode(value).encode_to_vec(),
    };
    (resource.kind().type_url(), bytes.into())
}

/// Reads a resource of `kind` from YAML (or JSON, which is YAML too) in Envoy's words.
///
/// # Errors
/// As [`decode`], and text that is not YAML; with the line.
pub fn from_yaml(kind: Kind, text: &str) -> Result<Resource, Invalid> {
    let document = Document::from_yaml(text)?;
    let message = document.to_message(descriptor(kind))?;
    strict::check(&message)
        .and_then(|()| decode_bytes(kind, &message.encode_to_vec()))
        .map_err(|error| document.locate(error))
}

/// `resource` as JSON in Envoy's words, with `@type`, as `/config_dump` shows it.
///
/// # Errors
/// None for values that the model can hold; the signature keeps the reason of the codec.
pub fn to_json(resource: &Resource) -> Result<serde_json::Value, Invalid> {
    let (type_url, bytes) = encode(resource);
    let message = descriptors::decode(descriptor(resource.kind()), &bytes)?;
    let mut json = descriptors::to_json(&message)?;
    if let Some(fields) = json.as_object_mut() {
        fields.insert("@type".to_owned(), type_url.into());
    }
    Ok(json)
}

/// `resource` as YAML in Envoy's words, with `@type`.
///
/// # Errors
/// As [`to_json`].
pub fn to_yaml(resource: &Resource) -> Result<String, Invalid> {
    let json = to_json(resource)?;
    serde_saphyr::to_string(&json).map_err(|error| Invalid::new("", error.to_string()))
}

/// Fields that are accepted although they change nothing: message, field, and why that is no lie. For the
/// documentation, and for a command that tells users.
pub fn without_effect() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    strict::without_effect()
}

fn descriptor(kind: Kind) -> prost_reflect::MessageDescriptor {
    descriptors::message(kind.message_name()).expect("the descriptor set holds every kind: a test names them")
}

fn decode_bytes(kind: Kind, bytes: &[u8]) -> Result<Resource, Invalid> {
    Ok(match kind {
        Kind::Cluster => {
            let message: cluster_pb::Cluster = descriptors::read(bytes)?;
            Resource::Cluster(Arc::new(cluster::decode(&message)?))
        }
        Kind::LoadAssignment => {
            let message: endpoint_pb::ClusterLoadAssignment = descriptors::read(bytes)?;
            Resource::LoadAssignment(Arc::new(endpoint::decode_discovered(&message)?))
        }
        Kind::Filter => {
            let message: core::TypedExtensionConfig = descriptors::read(bytes)?;
            let (name, config) = filter::decode_extension(&message)?;
            Resource::Filter {
                name,
                config: Arc::new(config),
            }
        }
        Kind::Listener => {
            let message: listener_pb::Listener = descriptors::read(bytes)?;
            Resource::Listener(Arc::new(listener::decode(&message)?))
        }
        Kind::RouteConfiguration => {
            let message: route_pb::RouteConfiguration = descriptors::read(bytes)?;
            Resource::RouteConfiguration(Arc::new(route::decode(&message)?))
        }
    })
}
