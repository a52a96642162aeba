//! One YAML document as one object: who it is, then its typed content, then the rules across its fields.

use std::sync::Arc;

use leno_model::invalid::Invalid;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::UNSUPPORTED;
use crate::api::destination_rule::DestinationRule;
use crate::api::gateway::Gateway;
use crate::api::meta::{Document, Key, Meta};
use crate::api::secret::{PullSecret, SecretDocument};
use crate::api::service_entry::ServiceEntry;
use crate::api::sidecar::Sidecar;
use crate::api::virtual_service::VirtualService;
use crate::api::wasm_plugin::WasmPlugin;
use crate::check;
use crate::folder::scalar;
use crate::world::{Object, World};

/// An object of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// A `WasmPlugin`.
    WasmPlugin(Arc<Object<WasmPlugin>>),
    /// A `Gateway`.
    Gateway(Arc<Object<Gateway>>),
    /// A `VirtualService`.
    VirtualService(Arc<Object<VirtualService>>),
    /// A `ServiceEntry`.
    ServiceEntry(Arc<Object<ServiceEntry>>),
    /// A `DestinationRule`.
    DestinationRule(Arc<Object<DestinationRule>>),
    /// A `Sidecar`.
    Sidecar(Arc<Object<Sidecar>>),
    /// A `Secret`.
    PullSecret(Arc<Object<PullSecret>>),
}

impl Parsed {
    /// Kind and key.
    pub fn id(&self) -> (String, Key) {
        let (kind, meta) = match self {
            Self::WasmPlugin(object) => ("WasmPlugin", &object.meta),
            Self::Gateway(object) => ("Gateway", &object.meta),
            Self::VirtualService(object) => ("VirtualService", &object.meta),
            Self::ServiceEntry(object) => ("ServiceEntry", &object.meta),
            Self::DestinationRule(object) => ("DestinationRule", &object.meta),
            Self::Sidecar(object) => ("Sidecar", &object.meta),
            Self::PullSecret(object) => ("Secret", &object.meta),
        };
        (kind.to_owned(), meta.key())
    }

    /// Puts the object where it belongs.
    pub fn insert_into(self, world: &mut World) {
        let (_, key) = self.id();
        match self {
            Self::WasmPlugin(object) => drop(world.wasm_plugins.insert(key, object)),
            Self::Gateway(object) => drop(world.gateways.insert(key, object)),
            Self::VirtualService(object) => drop(world.virtual_services.insert(key, object)),
            Self::ServiceEntry(object) => drop(world.service_entries.insert(key, object)),
            Self::DestinationRule(object) => drop(world.destination_rules.insert(key, object)),
            Self::Sidecar(object) => drop(world.sidecars.insert(key, object)),
            Self::PullSecret(object) => drop(world.pull_secrets.insert(key, object)),
        }
    }
}

/// A document that is not taken.
#[derive(Debug)]
pub struct Refused {
    /// Who it is, as far as that could be read.
    pub object: Option<(String, Key)>,
    /// Line within the document, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// The documents of a file: first line (from 1) and text of each. A line that begins with `---` starts the next
/// (YAML 1.2 §9.1.2; it cannot occur within a scalar); what stands behind the marker on its line belongs to it.
pub fn split(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let behind = line
            .strip_prefix("---")
            .filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if let Some(behind) = behind {
            documents.push((first_line, &text[start..offset]));
            (start, first_line) = if is_blank(behind) {
                (offset + line.len(), index + 2)
            } else {
                (offset + "---".len(), index + 1)
            };
        }
        offset += line.len();
    }
    documents.push((first_line, &text[start..]));
    documents
}

/// Nothing, or a comment.
fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

#[derive(Deserialize)]
struct Kinded {
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<Meta>,
}

/// Reads one document. `None` for an empty one.
///
/// # Errors
/// Says where and why; see [`Refused`].
pub fn read_document(text: &str) -> Result<Option<Parsed>, Refused> {
    if text.lines().all(is_blank) {
        return Ok(None);
    }
    let anonymous = |line: usize, message: String| Refused {
        object: None,
        line,
        message,
    };
    // Lists have other metadata than objects, so this comes first.
    if let Ok(Kinded { kind }) = serde_saphyr::from_str(text)
        && kind.ends_with("List")
    {
        let message = format!(
            "kind: {kind} holds several objects and is not supported; write each of its items as a document of its \
             own, with --- between them"
        );
        return Err(anonymous(1, message));
    }
    let head: Head = serde_saphyr::from_str(text).map_err(|error| {
        let (line, message) = describe(text, &error);
        anonymous(line, message)
    })?;
    let api_version = head.api_version.ok_or_else(|| {
        anonymous(
            1,
            "apiVersion: missing; write which API the document belongs to".into(),
        )
    })?;
    let kind = head.kind.ok_or_else(|| anonymous(1, "kind: missing".into()))?;
    let meta = head
        .metadata
        .ok_or_else(|| anonymous(1, "metadata: missing; write at least metadata.name".into()))?;
    let id = (kind.clone(), meta.key());
    let (group, _) = api_version.split_once('/').unwrap_or(("", &api_version));
    match (group, kind.as_str()) {
        ("extensions.istio.io", "WasmPlugin") => {
            versions(&id, &api_version, &["v1alpha1"])?;
            typed(text, &id, check::wasm_plugin).map(Parsed::WasmPlugin)
        }
        ("networking.istio.io", "Gateway") => {
            versions(&id, &api_version, NETWORKING)?;
            typed(text, &id, check::gateway).map(Parsed::Gateway)
        }
        ("networking.istio.io", "VirtualService") => {
            versions(&id, &api_version, NETWORKING)?;
            typed(text, &id, check::virtual_service).map(Parsed::VirtualService)
        }
        ("networking.istio.io", "ServiceEntry") => {
            versions(&id, &api_version, NETWORKING)?;
            typed(text, &id, check::service_entry).map(Parsed::ServiceEntry)
        }
        ("networking.istio.io", "DestinationRule") => {
            versions(&id, &api_version, NETWORKING)?;
            typed(text, &id, check::destination_rule).map(Parsed::DestinationRule)
        }
        ("networking.istio.io", "Sidecar") => {
            versions(&id, &api_version, NETWORKING)?;
            typed(text, &id, check::sidecar).map(Parsed::Sidecar)
        }
        ("", "Secret") => secret(text, &id).map(Parsed::PullSecret),
        _ => Err(Refused {
            line: 1,
            message: format!(
                "{api_version} {kind} is not supported by this version; supported are WasmPlugin \
                 (extensions.istio.io), Gateway, VirtualService, ServiceEntry, DestinationRule, Sidecar \
                 (networking.istio.io) and Secret (v1)"
            ),
            object: Some(id),
        }),
    }
    .map(Some)
}

const NETWORKING: &[&str] = &["v1", "v1beta1", "v1alpha3"];

fn versions(id: &(String, Key), api_version: &str, served: &[&str]) -> Result<(), Refused> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if served.contains(&version) {
        return Ok(());
    }
    Err(Refused {
        object: Some(id.clone()),
        line: 1,
        message: format!(
            "apiVersion: {group} is served as {}, not {version:?}",
            served.join(", ")
        ),
    })
}

fn typed<Spec: DeserializeOwned>(
    text: &str,
    id: &(String, Key),
    check: fn(&Object<Spec>) -> Result<(), Invalid>,
) -> Result<Arc<Object<Spec>>, Refused> {
    let document: Document<Spec> = read(text, id)?;
    let object = Object {
        meta: document.metadata,
        spec: document.spec,
    };
    check(&object).map_err(|invalid| refused(id, text, &invalid))?;
    Ok(Arc::new(object))
}

fn secret(text: &str, id: &(String, Key)) -> Result<Arc<Object<PullSecret>>, Refused> {
    let document: SecretDocument = read(text, id)?;
    let content = check::pull_secret(&document).map_err(|invalid| refused(id, text, &invalid))?;
    Ok(Arc::new(Object {
        meta: document.metadata,
        spec: content,
    }))
}

fn read<Whole: DeserializeOwned>(text: &str, id: &(String, Key)) -> Result<Whole, Refused> {
    let mut path = String::new();
    serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        serde_path_to_error::deserialize::<_, Whole>(deserializer).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    })
    .map_err(|error| {
        let (line, mut message) = describe(text, &error);
        explain_unsupported(&id.0, &mut message);
        if !path.is_empty() && path != "." {
            message = format!("{path}: {message}");
        }
        Refused {
            object: Some(id.clone()),
            line,
            message,
        }
    })
}

/// A refusal with the line of the field that it names.
fn refused(id: &(String, Key), text: &str, invalid: &Invalid) -> Refused {
    Refused {
        object: Some(id.clone()),
        line: line_of(text, &invalid.path),
        message: invalid.to_string(),
    }
}

/// Line and text of a YAML error, without the picture that the reader draws.
fn describe(document: &str, error: &serde_saphyr::Error) -> (usize, String) {
    let line = error
        .location()
        .map_or(1, |location| usize::try_from(location.line()).unwrap_or(1))
        .max(1);
    if let Some(message) = scalar::explain(document, error) {
        return (line, message);
    }
    let whole = error.without_snippet().to_string();
    let first = whole.lines().next().unwrap_or_default();
    // The place is said once, by whoever shows the file.
    let text = first.split(" at line ").next().unwrap_or(first);
    let text = text.strip_prefix("error: ").unwrap_or(text);
    (line, text.to_owned())
}

fn explain_unsupported(kind: &str, message: &mut String) {
    let Some(field) = message
        .split("unknown field `")
        .nth(1)
        .and_then(|rest| rest.split('`').next())
    else {
        return;
    };
    let known = UNSUPPORTED
        .iter()
        .any(|(of, fields)| *of == kind && fields.contains(&field));
    if known {
        *message =
            format!("{field}: a field of Istio's {kind} that this version does not support; remove it");
    }
}

/// The line of the field at `path`, or of the nearest one around it. Block style is followed by indentation, which is
/// how nearly every document is written; in flow style the line of the enclosing field is given.
fn line_of(text: &str, path: &str) -> usize {
    let mut line = 0usize;
    let mut indent: Option<usize> = None;
    let lines: Vec<&str> = text.lines().collect();
    for step in path
        .split(['.', '['])
        .map(|step| step.trim_end_matches(']'))
        .filter(|step| !step.is_empty())
    {
        let found = match step.parse::<usize>() {
            Ok(position) => find_item(&lines, line, indent, position),
            Err(_) => find_field(&lines, line, indent, step),
        };
        let Some((at, depth)) = found else { break };
        (line, indent) = (at, Some(depth));
    }
    line + 1
}

fn depth(line: &str) -> Option<usize> {
    let trimmed = line.trim_start();
    (!trimmed.is_empty() && !trimmed.starts_with('#')).then(|| line.len() - trimmed.len())
}

fn find_field(lines: &[&str], from: usize, outer: Option<usize>, name: &str) -> Option<(usize, usize)> {
    for (index, line) in lines.iter().enumerate().skip(from) {
        let Some(mut at) = depth(line) else { continue };
        let mut rest = line.trim_start();
        while let Some(item) = rest.strip_prefix("- ") {
            at += 2 + (item.len() - item.trim_start().len());
            rest = item.trim_start();
        }
        if index > from && outer.is_some_and(|outer| at < outer) {
            return None;
        }
        let is_it = rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        if is_it && (outer.is_none_or(|outer| at >= outer)) {
            return Some((index, at));
        }
    }
    None
}

fn find_item(lines: &[&str], from: usize, outer: Option<usize>, position: usize) -> Option<(usize, usize)> {
    let mut of: Option<usize> = None;
    let mut count = 0;
    for (index, line) in lines.iter().enumerate().skip(from + 1) {
        let Some(at) = depth(line) else { continue };
        if outer.is_some_and(|outer| at < outer) {
            return None;
        }
        if line.trim_start().starts_with("- ") && of.is_none_or(|of| of == at) {
            of = Some(at);
            if count == position {
                return Some((index, at + 2));
            }
            count += 1;
        }
    }
    None
}
