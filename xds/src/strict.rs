//! Refuses every field that is set and that we would not honour, with its path.
//!
//! Each message that we read has a row in a table beside its decoder. A message without a row supports nothing,
//! so that a new field, or a new message behind an old one, is refused until somebody has thought about it.

use leno_model::invalid::Invalid;
use prost_reflect::{DynamicMessage, MapKey, ReflectMessage, Value};

use crate::descriptors;

/// What of one message is read.
pub(crate) struct Fields {
    /// Full name.
    pub(crate) message: &'static str,
    /// Honoured.
    pub(crate) supported: &'static [&'static str],
    /// Accepted although nothing happens: each with the reason why that is no lie.
    pub(crate) no_effect: &'static [(&'static str, &'static str)],
}

const TABLES: &[&[Fields]] = &[
    crate::listener::FIELDS,
    crate::chain_match::FIELDS,
    crate::http::FIELDS,
    crate::route::FIELDS,
    crate::route_action::FIELDS,
    crate::retry::FIELDS,
    crate::header_edits::FIELDS,
    crate::matching::FIELDS,
    crate::tls::FIELDS,
    crate::cluster::FIELDS,
    crate::upstream_protocol::FIELDS,
    crate::endpoint::FIELDS,
    crate::filter::FIELDS,
    crate::wasm_plugin::FIELDS,
    crate::wasm_code::FIELDS,
    crate::access_log::FIELDS,
    crate::wire::FIELDS,
    crate::bootstrap::FIELDS,
];

/// What does the same where a field is refused: message, field, advice.
const INSTEAD: &[(&str, &str, &str)] = &[
    (
        "envoy.config.core.v3.ConfigSource",
        "api_config_source",
        "write `ads: {}` here, and the server once into the bootstrap's dynamic_resources.ads_config",
    ),
    (
        "envoy.config.core.v3.ConfigSource",
        "path_config_source",
        "put the resources into the bootstrap's static_resources, or serve them over `ads: {}`",
    ),
];

/// An `Any` may hold an `Any`, and each level starts the decoder's own bound on depth anew.
const DEEPEST_ANY: u32 = 16;

/// Fields that are accepted without effect: message, field, reason.
pub(crate) fn without_effect() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let rows = TABLES.iter().copied().flatten();
    rows.flat_map(|row| {
        row.no_effect
            .iter()
            .map(|(field, reason)| (row.message, *field, *reason))
    })
}

/// `message` holds nothing that we would ignore.
pub(crate) fn check(message: &DynamicMessage) -> Result<(), Invalid> {
    check_message(message, 0)
}

fn check_message(message: &DynamicMessage, depth: u32) -> Result<(), Invalid> {
    let descriptor = message.descriptor();
    let name = descriptor.full_name();
    if let Some(unknown) = message.unknown_fields().next() {
        return Err(Invalid::new(
            "",
            format!(
                "field number {} of {name} is not known to this version",
                unknown.number()
            ),
        ));
    }
    if name == "google.protobuf.Any" {
        return check_any(message, depth);
    }
    if name.starts_with("google.protobuf.") {
        return Ok(());
    }
    let fields = TABLES
        .iter()
        .copied()
        .flatten()
        .find(|fields| fields.message == name);
    for (field, value) in message.fields() {
        let Some(fields) = fields else {
            return Err(Invalid::new(
                "",
                format!("{name} is not supported by this version"),
            ));
        };
        if fields.no_effect.iter().any(|(known, _)| *known == field.name()) {
            continue;
        }
        if !fields.supported.contains(&field.name()) {
            let mut advice = INSTEAD
                .iter()
                .filter(|(message, known, _)| (*message, *known) == (name, field.name()));
            return Err(Invalid::new(
                field.name(),
                match advice.next() {
                    Some((_, _, advice)) => format!("not supported by this version: {advice}"),
                    None => "not supported by this version".to_owned(),
                },
            ));
        }
        check_value(value, depth).map_err(|error| error.within(field.name()))?;
    }
    Ok(())
}

fn check_any(message: &DynamicMessage, depth: u32) -> Result<(), Invalid> {
    if depth == DEEPEST_ANY {
        return Err(Invalid::new(
            "",
            format!("more than {DEEPEST_ANY} messages stand in each other"),
        ));
    }
    let type_url = message.get_field_by_name("type_url");
    let value = message.get_field_by_name("value");
    let type_url = type_url.as_deref().and_then(Value::as_str).unwrap_or_default();
    let value = value
        .as_deref()
        .and_then(Value::as_bytes)
        .cloned()
        .unwrap_or_default();
    let opened = descriptors::open(type_url, &value)?;
    let is_message_of_ours = TABLES
        .iter()
        .copied()
        .flatten()
        .any(|fields| fields.message == opened.descriptor().full_name());
    if !is_message_of_ours && !opened.descriptor().full_name().starts_with("google.protobuf.") {
        let name = opened.descriptor().full_name().to_owned();
        return Err(Invalid::new(
            "",
            format!("type `{name}` is not supported by this version"),
        ));
    }
    check_message(&opened, depth + 1)
}

fn check_value(value: &Value, depth: u32) -> Result<(), Invalid> {
    match value {
        Value::Message(message) => check_message(message, depth),
        Value::List(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            check_value(item, depth).map_err(|error| error.within(&format!("[{index}]")))
        }),
        Value::Map(entries) => {
            // In the order of the keys, so that the same document always gets the same answer.
            let mut entries: Vec<(String, &Value)> =
                entries.iter().map(|(key, item)| (key_text(key), item)).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.into_iter().try_for_each(|(key, item)| {
                check_value(item, depth).map_err(|error| error.within(&format!("[\"{key}\"]")))
            })
        }
        Value::Bool(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::U32(_)
        | Value::U64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_) => Ok(()),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::String(text) => text.clone(),
        MapKey::Bool(value) => value.to_string(),
        MapKey::I32(value) => value.to_string(),
        MapKey::I64(value) => value.to_string(),
        MapKey::U32(value) => value.to_string(),
        MapKey::U64(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{INSTEAD, TABLES};
    use crate::descriptors;

    #[test]
    fn tables_name_messages_and_fields_that_exist() {
        let mut seen = std::collections::BTreeSet::new();
        for row in TABLES.iter().copied().flatten() {
            assert!(seen.insert(row.message), "{} has two rows", row.message);
            let descriptor = descriptors::message(row.message).unwrap_or_else(|| panic!("{}", row.message));
            let ignored = row.no_effect.iter().map(|(field, reason)| {
                assert!(reason.len() > 10, "{}.{field} needs a reason", row.message);
                field
            });
            for field in row.supported.iter().chain(ignored) {
                assert!(
                    descriptor.get_field_by_name(field).is_some(),
                    "{}.{field}",
                    row.message
                );
            }
        }
        for (message, field, _) in INSTEAD {
            let descriptor = descriptors::message(message).unwrap_or_else(|| panic!("{message}"));
            assert!(descriptor.get_field_by_name(field).is_some(), "{message}.{field}");
        }
    }
}
