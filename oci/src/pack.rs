//! The layouts that we write.

use bytes::Bytes;

use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{
    Descriptor, EMPTY_CONFIG, MODULE_CONFIG, MODULE_LAYER, Manifest, OCI_MANIFEST, WASM_CONFIG, WASM_LAYER,
};
use crate::pull::Kind;
use crate::push::{Format, PushOptions};
use crate::reference::Reference;

/// Registries bound manifests at 4 MiB; annotations must leave room.
const MAX_ANNOTATIONS: usize = 1024 * 1024;

/// A module laid out as an artifact.
pub(crate) struct Packed {
    pub(crate) manifest: Manifest,
    /// Content with its descriptor, the configuration first.
    pub(crate) blobs: Vec<(Descriptor, Bytes)>,
    pub(crate) module: Digest,
}

/// Lays the module out. Pure: the same input gives the same manifest, byte for byte.
pub(crate) fn pack(
    reference: &Reference,
    module: Bytes,
    kind: Kind,
    options: &PushOptions,
) -> Result<Packed, Error> {
    let description = &options.description;
    let annotations = description.to_annotations(reference);
    let size: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size > MAX_ANNOTATIONS {
        return Err(Error::TooLarge {
            what: "the annotations".to_owned(),
            limit: MAX_ANNOTATIONS as u64,
        });
    }
    let digest = Digest::of(&module);
    let json = |value: serde_json::Value| Bytes::from(value.to_string());
    let (config_type, config, layers) = match options.format {
        Format::Cncf => {
            let os = if kind == Kind::Component {
                "wasip2"
            } else {
                "wasip1"
            };
            let mut config = serde_json::json!({
                "created": description.created.as_deref().unwrap_or("1970-01-01T00:00:00Z"),
                "architecture": "wasm",
                "os": os,
                "layerDigests": [digest.to_string()],
            });
            if kind == Kind::Component {
                config["component"] =
                    serde_json::json!({ "exports": description.exports, "imports": description.imports });
            }
            (WASM_CONFIG, json(config), vec![(WASM_LAYER, module)])
        }
        Format::Istio => {
            let runtime = json(serde_json::json!({
                "type": "envoy_proxy",
                "abiVersions": [envoy_abi(&description.abi)],
                "config": { "root_ids": [] },
            }));
            (
                EMPTY_CONFIG,
                Bytes::from_static(b"{}"),
                vec![(MODULE_CONFIG, runtime), (MODULE_LAYER, module)],
            )
        }
    };
    let described = |media_type: &str, content: Bytes| (Descriptor::of(media_type, &content), content);
    let config = described(config_type, config);
    let layers: Vec<_> = layers
        .into_iter()
        .map(|(media_type, content)| described(media_type, content))
        .collect();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        // The specification wants a type for the artifact where the configuration does not tell.
        artifact_type: (options.format == Format::Istio).then(|| MODULE_CONFIG.to_owned()),
        config: config.0.clone(),
        layers: layers.iter().map(|(descriptor, _)| descriptor.clone()).collect(),
        subject: None,
        annotations,
    };
    let blobs = std::iter::once(config).chain(layers).collect();
    Ok(Packed {
        manifest,
        blobs,
        module: digest,
    })
}

/// The names that the two-layer artifact's specification uses.
fn envoy_abi(abi: &str) -> String {
    match abi.strip_prefix("proxy-wasm/") {
        Some(version) => format!("v{version}"),
        None => "v0.2.1".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::{Description, TITLE};

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn packed(module: &'static [u8], options: &PushOptions) -> Packed {
        let reference = Reference::parse("r.example/filters/auth:v1").unwrap();
        pack(
            &reference,
            Bytes::from_static(module),
            Kind::of(module).unwrap(),
            options,
        )
        .unwrap()
    }

    fn config(packed: &Packed) -> serde_json::Value {
        serde_json::from_slice(&packed.blobs[0].1).unwrap()
    }

    #[test]
    fn writes_the_cncf_layout() {
        let packed = packed(MODULE, &PushOptions::default());
        assert_eq!(packed.manifest.config.media_type, WASM_CONFIG);
        assert_eq!(packed.manifest.layers, [Descriptor::of(WASM_LAYER, MODULE)]);
        assert_eq!(config(&packed)["os"], "wasip1");
        assert_eq!(config(&packed)["layerDigests"][0], Digest::of(MODULE).to_string());
        assert_eq!(packed.manifest.annotations[TITLE], "auth");
    }

    #[test]
    fn a_component_names_its_world() {
        let description = Description {
            imports: vec!["leno:filter/host".into()],
            ..Description::default()
        };
        let packed = packed(
            COMPONENT,
            &PushOptions {
                description,
                ..PushOptions::default()
            },
        );
        assert_eq!(config(&packed)["os"], "wasip2");
        assert_eq!(config(&packed)["component"]["imports"][0], "leno:filter/host");
    }

    #[test]
    fn writes_the_layout_that_istio_reads() {
        let packed = packed(
            MODULE,
            &PushOptions {
                format: Format::Istio,
                ..PushOptions::default()
            },
        );
        let types: Vec<&str> = packed
            .manifest
            .layers
            .iter()
            .map(|layer| layer.media_type.as_str())
            .collect();
        assert_eq!(types, [MODULE_CONFIG, MODULE_LAYER]);
    }
}
