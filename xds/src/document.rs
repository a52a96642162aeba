//! A JSON or YAML text as a tree that knows its lines, and its reading into a message with a path in every error.

use leno_model::invalid::Invalid;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;

use crate::descriptors;

mod shape;

/// A document that was well formed.
#[derive(Debug)]
pub(crate) struct Document {
    root: Spanned<Node>,
}

#[derive(Debug)]
enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

impl Document {
    /// Reads YAML. Anchors and merge keys work; a key given twice is refused.
    pub(crate) fn from_yaml(text: &str) -> Result<Self, Invalid> {
        serde_saphyr::from_str(text)
            .map(|root| Self { root })
            .map_err(|error| {
                Invalid::new(
                    "",
                    format!("not well-formed YAML: {}", one_line(&error.to_string())),
                )
            })
    }

    /// Reads JSON. It has no lines: serde_json says where it is malformed, and a path says the rest.
    pub(crate) fn from_json(text: &str) -> Result<Self, Invalid> {
        serde_json::from_str(text)
            .map(|value| Self::from_value(&value))
            .map_err(|error| Invalid::new("", format!("not well-formed JSON: {error}")))
    }

    /// A value that was read already; it has no lines.
    pub(crate) fn from_value(value: &serde_json::Value) -> Self {
        Self {
            root: node_of_value(value),
        }
    }

    /// The document as a message of the kind that `descriptor` describes; `@type` may say so too.
    pub(crate) fn to_message(&self, descriptor: MessageDescriptor) -> Result<DynamicMessage, Invalid> {
        self.read(descriptor).map_err(|error| self.locate(error))
    }

    fn read(&self, descriptor: MessageDescriptor) -> Result<DynamicMessage, Invalid> {
        let mut value = match &self.root.value {
            Node::Null => return Ok(DynamicMessage::new(descriptor)),
            Node::Map(entries) => {
                shape::check_type(&descriptor, entries)?;
                shape::check_fields(&descriptor, entries.iter().filter(|(key, _)| key != "@type"))?;
                value_of_node(&self.root.value)
            }
            other => return Err(shape::expected("an object", other)),
        };
        if let Some(fields) = value.as_object_mut() {
            fields.remove("@type");
        }
        descriptors::from_json(descriptor, value)
    }

    /// `error`, with the line of what its path names where the text had lines.
    pub(crate) fn locate(&self, mut error: Invalid) -> Invalid {
        if error.reason.ends_with(')') && error.reason.contains(" (line ") {
            return error;
        }
        let mut node = &self.root;
        let mut line = node.referenced.line();
        for step in steps(&error.path) {
            let next = match (&node.value, step) {
                (Node::List(items), Step::Index(index)) => items.get(index),
                (Node::Map(entries), Step::Key(key)) => find(entries, key),
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
            line = node.referenced.line();
        }
        if line > 0 {
            error.reason = format!("{} (line {line})", error.reason);
        }
        error
    }
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end().to_owned()
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// `a.b[2]["c.d"]` as steps.
fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let end = quoted.find("\"]").unwrap_or(quoted.len());
            steps.push(Step::Key(&quoted[..end]));
            rest = quoted.get(end + 2..).unwrap_or_default();
        } else if let Some(bracket) = rest.strip_prefix('[') {
            let end = bracket.find(']').unwrap_or(bracket.len());
            steps.push(Step::Index(bracket[..end].parse().unwrap_or(usize::MAX)));
            rest = bracket.get(end + 1..).unwrap_or_default();
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(Step::Key(&rest[..end]));
            rest = &rest[end..];
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    steps
}

/// Protobuf's JSON takes a field by its own name and by its camel-case name.
fn find<'a>(entries: &'a [(String, Spanned<Node>)], key: &str) -> Option<&'a Spanned<Node>> {
    let plain: String = key.chars().filter(|c| *c != '_').collect();
    let by_name = entries.iter().find(|(name, _)| name == key);
    by_name
        .or_else(|| entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(&plain)))
        .map(|(_, node)| node)
}

fn value_of_node(node: &Node) -> serde_json::Value {
    match node {
        Node::Null => serde_json::Value::Null,
        Node::Bool(value) => (*value).into(),
        Node::Number(value) => value.clone().into(),
        Node::Text(value) => value.as_str().into(),
        Node::List(items) => items.iter().map(|item| value_of_node(&item.value)).collect(),
        Node::Map(entries) => {
            let mut object: serde_json::Map<_, _> = entries
                .iter()
                .map(|(key, value)| (key.clone(), value_of_node(&value.value)))
                .collect();
            // Nothing needs to stand for nothing; the reader of messages wants it all the same.
            let is_empty = |url: &serde_json::Value| url == "type.googleapis.com/google.protobuf.Empty";
            if object.get("@type").is_some_and(is_empty) && !object.contains_key("value") {
                object.insert("value".to_owned(), serde_json::json!({}));
            }
            object.into()
        }
    }
}

fn node_of_value(value: &serde_json::Value) -> Spanned<Node> {
    let node = match value {
        serde_json::Value::Null => Node::Null,
        serde_json::Value::Bool(value) => Node::Bool(*value),
        serde_json::Value::Number(value) => Node::Number(value.clone()),
        serde_json::Value::String(value) => Node::Text(value.clone()),
        serde_json::Value::Array(items) => Node::List(items.iter().map(node_of_value).collect()),
        serde_json::Value::Object(entries) => Node::Map(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), node_of_value(value)))
                .collect(),
        ),
    };
    Spanned::new(
        node,
        serde_saphyr::Location::UNKNOWN,
        serde_saphyr::Location::UNKNOWN,
    )
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Number::from_f64(value).map_or_else(|| Node::Text(value.to_string()), Node::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(String, Spanned<Node>)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Node>>()? {
            if entries.iter().any(|(name, _)| *name == key.value) {
                return Err(serde::de::Error::custom(format!(
                    "key `{}` stands twice",
                    key.value
                )));
            }
            // A field is where its name is, not where its value begins.
            entries.push((
                key.value,
                Spanned::new(value.value, key.referenced, value.defined),
            ));
        }
        Ok(Node::Map(entries))
    }
}
