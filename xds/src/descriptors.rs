//! The shape of every message we read or write, and what goes through it: JSON, dynamic messages, `Any`.

use std::sync::LazyLock;

use leno_model::invalid::Invalid;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, SerializeOptions};
use serde::de::DeserializeSeed;

use crate::pb::protobuf;
use crate::resource::TYPE_URL_PREFIX;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(include_bytes!("../descriptors/envoy.bin").as_slice())
        .expect("the committed descriptor set is well formed: a test decodes it")
});

/// The descriptor of the message of this full name.
pub(crate) fn message(full_name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(full_name)
}

/// The descriptor of a generated type; every one that we name is in the set.
pub(crate) fn of<T: Name>() -> MessageDescriptor {
    message(&T::full_name()).expect("the descriptor set holds every message we name: a test names them")
}

/// Bytes to a message that keeps what it does not know.
pub(crate) fn decode(descriptor: MessageDescriptor, bytes: &[u8]) -> Result<DynamicMessage, Invalid> {
    DynamicMessage::decode(descriptor, bytes)
        .map_err(|error| Invalid::new("", format!("not a well-formed message: {error}")))
}

/// JSON as protobuf's JSON mapping has it, in the field names of the proto files.
pub(crate) fn to_json(message: &DynamicMessage) -> Result<serde_json::Value, Invalid> {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| Invalid::new("", format!("cannot be written as JSON: {error}")))
}

/// The other way. Paths are better when [`crate::document`] has looked at the value first.
pub(crate) fn from_json(
    descriptor: MessageDescriptor,
    value: serde_json::Value,
) -> Result<DynamicMessage, Invalid> {
    descriptor
        .deserialize(value)
        .map_err(|error| Invalid::new("", error.to_string()))
}

/// The full name that a type URL names.
pub(crate) fn name_in_url(type_url: &str) -> Result<&str, Invalid> {
    match type_url.strip_prefix(TYPE_URL_PREFIX) {
        Some(name) if !name.is_empty() => Ok(name),
        _ if type_url.is_empty() => Err(Invalid::new("@type", "the type is missing")),
        _ => Err(Invalid::new(
            "@type",
            format!("`{type_url}` does not begin with `{TYPE_URL_PREFIX}`"),
        )),
    }
}

/// What an `Any` holds, with its full name; a `TypedStruct` is opened into the message that it stands for.
pub(crate) fn open(type_url: &str, value: &[u8]) -> Result<DynamicMessage, Invalid> {
    let name = name_in_url(type_url)?;
    let descriptor = message(name)
        .ok_or_else(|| Invalid::new("", format!("type `{name}` is not supported by this version")))?;
    let opened = decode(descriptor, value)?;
    if !name.ends_with(".TypedStruct") {
        return Ok(opened);
    }
    let json = to_json(&opened)?;
    let inner = json["type_url"].as_str().unwrap_or_default();
    let inner =
        name_in_url(inner).map_err(|_| Invalid::new("type_url", "the type is missing or malformed"))?;
    let descriptor = message(inner).ok_or_else(|| {
        Invalid::new(
            "type_url",
            format!("type `{inner}` is not supported by this version"),
        )
    })?;
    let document = crate::document::Document::from_value(&json["value"]);
    document
        .to_message(descriptor)
        .map_err(|error| error.within("value"))
}

/// What an `Any` holds, as the generated type, when it is of that type.
pub(crate) fn unpack<T: Message + Name + Default>(any: &protobuf::Any) -> Result<Option<T>, Invalid> {
    let name = name_in_url(&any.type_url)?;
    if name == T::full_name() {
        return read(&any.value).map(Some);
    }
    if name.ends_with(".TypedStruct") {
        let opened = open(&any.type_url, &any.value)?;
        if opened.descriptor().full_name() == T::full_name() {
            return read(&opened.encode_to_vec()).map(Some);
        }
    }
    Ok(None)
}

/// Bytes as a generated type.
pub(crate) fn read<T: Message + Default>(bytes: &[u8]) -> Result<T, Invalid> {
    T::decode(bytes).map_err(|error| Invalid::new("", format!("not a well-formed message: {error}")))
}

/// A message in an `Any`.
pub(crate) fn pack<T: Message + Name>(message: &T) -> protobuf::Any {
    protobuf::Any {
        type_url: format!("{TYPE_URL_PREFIX}{}", T::full_name()),
        value: message.encode_to_vec(),
    }
}
