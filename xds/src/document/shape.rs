//! Whether a document has the shape of a message: only fields that exist, each with a value of its type.
//!
//! The reader of `prost-reflect` checks the same but cannot say where; after this it finds nothing to refuse but
//! what no type can say, as bytes that are not base64.

use leno_model::invalid::Invalid;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_saphyr::Spanned;

use super::{Node, find};
use crate::descriptors;

/// `@type`, where it stands, names `descriptor`.
pub(super) fn check_type(
    descriptor: &MessageDescriptor,
    entries: &[(String, Spanned<Node>)],
) -> Result<(), Invalid> {
    match find(entries, "@type").map(|node| &node.value) {
        None => Ok(()),
        Some(Node::Text(text)) if descriptors::name_in_url(text)? == descriptor.full_name() => Ok(()),
        Some(other) => Err(expected(&format!("a {}", descriptor.full_name()), other).within("@type")),
    }
}

fn check_message(descriptor: &MessageDescriptor, node: &Node) -> Result<(), Invalid> {
    let name = descriptor.full_name();
    if name == "google.protobuf.Any" {
        return check_any(node);
    }
    if let Some(well_known) = name.strip_prefix("google.protobuf.") {
        return check_well_known(well_known, descriptor, node);
    }
    match node {
        Node::Map(entries) => check_fields(descriptor, entries.iter()),
        other => Err(expected("an object", other)),
    }
}

/// Every entry is a field of `descriptor` and has a value of its type.
pub(super) fn check_fields<'a>(
    descriptor: &MessageDescriptor,
    mut entries: impl Iterator<Item = &'a (String, Spanned<Node>)>,
) -> Result<(), Invalid> {
    entries.try_for_each(|(key, value)| {
        let field = descriptor
            .get_field_by_name(key)
            .or_else(|| descriptor.get_field_by_json_name(key))
            .ok_or_else(|| {
                Invalid::new(
                    key.as_str(),
                    format!("{} has no such field", descriptor.full_name()),
                )
            })?;
        check_field(&field, &value.value).map_err(|error| error.within(key))
    })
}

fn check_any(node: &Node) -> Result<(), Invalid> {
    let Node::Map(entries) = node else {
        return Err(expected("an object", node));
    };
    if entries.is_empty() {
        return Ok(());
    }
    let type_url = match find(entries, "@type").map(|node| &node.value) {
        Some(Node::Text(text)) => text.as_str(),
        Some(other) => return Err(expected("a text", other).within("@type")),
        None => return Err(Invalid::new("@type", "the type is missing")),
    };
    let name = descriptors::name_in_url(type_url)?;
    let descriptor = descriptors::message(name)
        .ok_or_else(|| Invalid::new("", format!("type `{name}` is not supported by this version")))?;
    if !name.starts_with("google.protobuf.") {
        return check_fields(&descriptor, entries.iter().filter(|(key, _)| key != "@type"));
    }
    for (key, value) in entries.iter().filter(|(key, _)| key != "@type") {
        if key != "value" {
            return Err(Invalid::new(
                key.as_str(),
                format!("a {name} stands under `value`"),
            ));
        }
        check_message(&descriptor, &value.value).map_err(|error| error.within("value"))?;
    }
    Ok(())
}

fn check_well_known(name: &str, descriptor: &MessageDescriptor, node: &Node) -> Result<(), Invalid> {
    match (name, node) {
        (_, Node::Null)
        | ("Struct" | "Empty", Node::Map(_))
        | ("ListValue", Node::List(_))
        | ("Value", _) => Ok(()),
        ("Struct" | "Empty", _) => Err(expected("an object", node)),
        ("ListValue", _) => Err(expected("a list", node)),
        ("Duration", Node::Text(text)) if text.strip_suffix('s').is_some_and(is_decimal) => Ok(()),
        ("Duration", _) => Err(expected("a duration like `1.5s`", node)),
        (wrapper, _) if wrapper.ends_with("Value") => match descriptor.get_field_by_name("value") {
            Some(field) => check_one(&field.kind(), node),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    // Nanoseconds are the least that a duration can say.
    fraction.len() <= 9
        && [whole, fraction]
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn check_field(field: &FieldDescriptor, node: &Node) -> Result<(), Invalid> {
    match node {
        Node::Null => Ok(()),
        Node::Map(entries) if field.is_map() => {
            let kind = field.kind();
            let Some(value_field) = kind.as_message().map(MessageDescriptor::map_entry_value_field) else {
                return Ok(());
            };
            entries.iter().try_for_each(|(key, value)| {
                check_one(&value_field.kind(), &value.value)
                    .map_err(|error| error.within(&format!("[\"{key}\"]")))
            })
        }
        _ if field.is_map() => Err(expected("an object", node)),
        Node::List(items) if field.is_list() => items.iter().enumerate().try_for_each(|(index, item)| {
            check_one(&field.kind(), &item.value).map_err(|error| error.within(&format!("[{index}]")))
        }),
        _ if field.is_list() => Err(expected("a list", node)),
        _ => check_one(&field.kind(), node),
    }
}

fn check_one(kind: &Kind, node: &Node) -> Result<(), Invalid> {
    match kind {
        Kind::Message(descriptor) => check_message(descriptor, node),
        Kind::Enum(descriptor) => match node {
            Node::Text(text) if descriptor.get_value_by_name(text).is_some() => Ok(()),
            Node::Number(number) if number.as_i64().is_some() => Ok(()),
            Node::Text(text) => Err(Invalid::new(
                "",
                format!("`{text}` is not one of {}", names(descriptor)),
            )),
            _ => Err(expected(&format!("one of {}", names(descriptor)), node)),
        },
        Kind::Bool => match node {
            Node::Bool(_) => Ok(()),
            _ => Err(expected("true or false", node)),
        },
        Kind::String | Kind::Bytes => match node {
            Node::Text(_) => Ok(()),
            _ => Err(expected("a text (put it in quotes)", node)),
        },
        Kind::Double | Kind::Float => match node {
            Node::Number(_) => Ok(()),
            Node::Text(text) if text.parse::<f64>().is_ok() => Ok(()),
            _ => Err(expected("a number", node)),
        },
        Kind::Uint32 | Kind::Fixed32 => whole(node, 0, i128::from(u32::MAX)),
        Kind::Uint64 | Kind::Fixed64 => whole(node, 0, i128::from(u64::MAX)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            whole(node, i128::from(i32::MIN), i128::from(i32::MAX))
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            whole(node, i128::from(i64::MIN), i128::from(i64::MAX))
        }
    }
}

fn names(descriptor: &prost_reflect::EnumDescriptor) -> String {
    let names: Vec<String> = descriptor.values().map(|value| value.name().to_owned()).collect();
    names.join(", ")
}

fn whole(node: &Node, least: i128, most: i128) -> Result<(), Invalid> {
    let number = match node {
        Node::Number(number) => {
            let number = number.to_string();
            number.strip_suffix(".0").unwrap_or(&number).to_owned()
        }
        // The reader of messages takes digits only.
        Node::Text(text) => text.clone(),
        Node::Null | Node::Bool(_) | Node::List(_) | Node::Map(_) => {
            return Err(expected("a whole number", node));
        }
    };
    match number.parse::<i128>() {
        Ok(value) if (least..=most).contains(&value) => Ok(()),
        Ok(value) => Err(Invalid::new(
            "",
            format!("{value} is not between {least} and {most}"),
        )),
        Err(_) => Err(expected("a whole number", node)),
    }
}

/// A refusal that says what was found instead.
pub(super) fn expected(what: &str, node: &Node) -> Invalid {
    let found = match node {
        Node::Null => "nothing".to_owned(),
        Node::Bool(value) => format!("`{value}`"),
        Node::Number(value) => format!("the number {value}"),
        Node::Text(value) => format!("the text `{value}`"),
        Node::List(_) => "a list".to_owned(),
        Node::Map(_) => "an object".to_owned(),
    };
    Invalid::new("", format!("expected {what}, found {found}"))
}
