//! Manifests and indexes as they go over the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, InvalidDigest};

/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A Docker manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The CNCF Wasm configuration.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The CNCF Wasm layer.
pub const WASM_LAYER: &str = "application/wasm";
/// The configuration (as a layer) of the two-layer artifact that Istio reads.
pub const MODULE_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
/// The content layer of the two-layer artifact that Istio reads.
pub const MODULE_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
/// The layer that wasm-to-oci writes.
pub const WASM_TO_OCI_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// The configuration that says nothing.
pub const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";

/// What a pull accepts, most wanted first.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// Manifests are small; registries refuse to store larger ones.
pub(crate) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// An arbitrary bound; real images stay under Docker's 127.
const MAX_ENTRIES: usize = 1000;

/// A pointer to content: type, digest, size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// Digest as written; see [`Descriptor::digest`].
    pub digest: String,
    /// Size in bytes.
    pub size: u64,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// For an index entry, what it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// For an index entry, what kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Describes `content`.
    pub fn of(media_type: &str, content: &[u8]) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(content).to_string(),
            size: content.len() as u64,
            ..Descriptor::default()
        }
    }

    /// The digest, checked.
    pub fn digest(&self) -> Result<Digest, InvalidDigest> {
        match self.digest.contains(':') {
            true => Digest::parse(&self.digest),
            false => Err(InvalidDigest {
                text: self.digest.clone(),
                reason: "the algorithm is missing",
            }),
        }
    }
}

/// What an image runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `amd64` or `wasm`.
    #[serde(default)]
    pub architecture: String,
    /// Such as `linux` or `wasip1`.
    #[serde(default)]
    pub os: String,
    /// Such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// One artifact: a configuration and layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The manifest's own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact it is, when the configuration does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about, such as the signed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// Several manifests under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The index's own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The entries.
    pub manifests: Vec<Descriptor>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// What a tag can point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One artifact.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Index),
}

impl Document {
    /// Reads a manifest or an index.
    ///
    /// A document that could be read as both, or that contradicts its own media type, is refused: two readers
    /// must never see two contents behind one digest (CVE-2021-41190).
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Document, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            schema_version: Option<u32>,
            media_type: Option<String>,
            manifests: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
            config: Option<serde::de::IgnoredAny>,
        }
        let shape: Shape = serde_json::from_slice(bytes)
            .map_err(|error| format!("not a manifest ({}): {error}", crate::unpack::describe(bytes)))?;
        match shape.schema_version {
            Some(2) => {}
            Some(1) => {
                return Err(
                    "it is a Docker manifest of schema 1, which names layers without sizes; push it again \
                            with a current tool"
                        .to_owned(),
                );
            }
            other => return Err(format!("schemaVersion is {other:?}, want 2")),
        }
        let content_type = content_type.map(|text| text.split(';').next().unwrap_or(text).trim());
        // Some registries answer with a generic type; a specific one must agree with the document.
        let claims = [shape.media_type.as_deref(), content_type];
        let known = |claim: &&str| [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].contains(claim);
        let is_index = |claim: &str| [OCI_INDEX, DOCKER_LIST].contains(&claim);
        if let [Some(document), Some(header)] = claims
            && known(&header)
            && document != header
        {
            return Err(format!(
                "its media type is `{document}`, but the registry calls it `{header}`"
            ));
        }
        let claim = claims.into_iter().flatten().find(known);
        match (
            shape.manifests.is_some(),
            shape.layers.is_some() || shape.config.is_some(),
        ) {
            (true, true) => Err("it has both `manifests` and `layers`: refused as ambiguous".to_owned()),
            (false, false) => Err("it has neither `manifests` nor `layers`".to_owned()),
            (index, _) if claim.is_some_and(|claim| is_index(claim) != index) => Err(format!(
                "its content does not fit its media type `{}`",
                claim.unwrap_or_default()
            )),
            (true, false) => {
                let index: Index =
                    serde_json::from_slice(bytes).map_err(|error| format!("index: {error}"))?;
                check_count("manifests", index.manifests.len())?;
                Ok(Document::Index(index))
            }
            (false, true) => {
                let manifest: Manifest =
                    serde_json::from_slice(bytes).map_err(|error| format!("manifest: {error}"))?;
                check_count("layers", manifest.layers.len())?;
                Ok(Document::Manifest(Box::new(manifest)))
            }
        }
    }

    /// Media type to send when this document is pushed.
    pub fn media_type(&self) -> &str {
        match self {
            Document::Manifest(manifest) => manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST),
            Document::Index(index) => index.media_type.as_deref().unwrap_or(OCI_INDEX),
        }
    }
}

fn check_count(what: &str, count: usize) -> Result<(), String> {
    if count > MAX_ENTRIES {
        Err(format!("it has {count} {what}; {MAX_ENTRIES} are the limit"))
    } else {
        Ok(())
    }
}

/// Some writers put `null` where nothing is meant.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    #[test]
    fn refuses_ambiguous_documents() {
        let check = |json: String, content_type: Option<&str>, expected: &str| {
            let error = Document::parse(json.as_bytes(), content_type).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        };
        let config = format!(r#"{{"mediaType":"x","digest":"{ZERO}","size":1}}"#);
        check(
            format!(r#"{{"schemaVersion":2,"manifests":[],"layers":[],"config":{config}}}"#),
            None,
            "ambiguous",
        );
        let manifest = |media: &str| {
            format!(r#"{{"schemaVersion":2,"mediaType":"{media}","layers":[],"config":{config}}}"#)
        };
        check(manifest(OCI_INDEX), None, "does not fit");
        check(
            manifest(OCI_MANIFEST),
            Some(OCI_INDEX),
            "but the registry calls it",
        );
        check(r#"{"schemaVersion":1,"fsLayers":[]}"#.into(), None, "schema 1");
        check(r#"{"schemaVersion":2}"#.into(), None, "neither");
        check("<!DOCTYPE html><html>".into(), None, "HTML");
        assert!(Document::parse(manifest(OCI_MANIFEST).as_bytes(), Some("application/json")).is_ok());
    }
}
