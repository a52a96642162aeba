//! Attributes of the proxy itself: `node.*`.

use leno_model::bootstrap::Node;

use crate::exchange::properties::encode::{self, Value};

/// Appends `node.<path>`.
pub(crate) fn attribute(node: &Node, path: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = match path {
        b"id" => &node.id,
        b"cluster" => &node.cluster,
        b"locality\0region" => &node.locality.region,
        b"locality\0zone" => &node.locality.zone,
        b"locality\0sub_zone" => &node.locality.sub_zone,
        _ => return metadata(&node.metadata, path.strip_prefix(b"metadata")?, out),
    };
    encode::append(out, Value::Text(text.as_bytes()));
    Some(())
}

/// `rest` is empty, or segments that each follow a NUL.
fn metadata(text: &str, rest: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let whole: serde_json::Value = if text.is_empty() {
        serde_json::json!({})
    } else {
        serde_json::from_str(text).ok()?
    };
    let mut found = &whole;
    if !rest.is_empty() {
        for segment in rest.strip_prefix(b"\0")?.split(|byte| *byte == 0) {
            found = found.get(std::str::from_utf8(segment).ok()?)?;
        }
    }
    append(out, found);
    Some(())
}

/// Lists are maps whose names are the values, as Envoy has them.
fn append(out: &mut Vec<u8>, value: &serde_json::Value) {
    let nested = |value: &serde_json::Value| {
        let mut bytes = Vec::new();
        append(&mut bytes, value);
        bytes
    };
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = match value {
        serde_json::Value::Null => return,
        serde_json::Value::Bool(truth) => return encode::append(out, Value::Bool(*truth)),
        serde_json::Value::Number(number) => {
            return encode::append(out, Value::Double(number.as_f64().unwrap_or(f64::NAN)));
        }
        serde_json::Value::String(text) => return encode::append(out, Value::Text(text.as_bytes())),
        serde_json::Value::Array(items) => items.iter().map(|item| (nested(item), Vec::new())).collect(),
        serde_json::Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone().into_bytes(), nested(value)))
            .collect(),
    };
    let pairs: Vec<(&[u8], &[u8])> = pairs
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    encode::append(out, Value::Map(&pairs));
}
