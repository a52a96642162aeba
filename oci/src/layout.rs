//! The ways in which people pack a module, and the layer that holds it in each.

use crate::manifest::{DOCKER_MANIFEST, Descriptor, MODULE_LAYER, Manifest, WASM_LAYER, WASM_TO_OCI_LAYER};

/// How an artifact is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// One `application/wasm` layer (CNCF TAG Runtime); what `leno push` writes.
    Cncf,
    /// A content layer beside a configuration layer; Istio's artifact variant.
    Istio,
    /// One layer as written by wasm-to-oci.
    WasmToOci,
    /// `plugin.wasm` in a layer of an OCI image; Istio's "compat" variant.
    OciImage,
    /// `plugin.wasm` in a layer of a Docker image.
    DockerImage,
}

impl Layout {
    /// The short name that the command line shows and takes.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Cncf => "cncf",
            Layout::Istio => "istio",
            Layout::WasmToOci => "wasm-to-oci",
            Layout::OciImage => "oci-image",
            Layout::DockerImage => "docker-image",
        }
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where in an artifact the module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// This layer is the module.
    Layer(&'a Descriptor),
    /// One of these archives holds it; look in this order.
    Archives(Vec<&'a Descriptor>),
}

/// Chooses by media type, never by the number of layers: tools add documentation and icons.
pub fn choose(manifest: &Manifest) -> Result<(Layout, Content<'_>), String> {
    let raw = [
        (WASM_LAYER, Layout::Cncf),
        (MODULE_LAYER, Layout::Istio),
        (WASM_TO_OCI_LAYER, Layout::WasmToOci),
    ];
    for (media_type, layout) in raw {
        let mut layers = manifest
            .layers
            .iter()
            .filter(|layer| layer.media_type == media_type);
        match (layers.next(), layers.count()) {
            (None, _) => {}
            (Some(layer), 0) => return Ok((layout, Content::Layer(layer))),
            (Some(_), more) => {
                return Err(format!("{} layers have type `{media_type}`, want one", more + 1));
            }
        }
    }
    let archives: Vec<&Descriptor> = manifest
        .layers
        .iter()
        .rev()
        .filter(|layer| is_archive(layer))
        .collect();
    if !archives.is_empty() {
        let docker = manifest.media_type.as_deref() == Some(DOCKER_MANIFEST);
        return Ok((
            if docker {
                Layout::DockerImage
            } else {
                Layout::OciImage
            },
            Content::Archives(archives),
        ));
    }
    let found: Vec<&str> = manifest
        .layers
        .iter()
        .map(|layer| layer.media_type.as_str())
        .take(10)
        .collect();
    let found = if found.is_empty() {
        "no layers".to_owned()
    } else {
        format!("layers {}", found.join(", "))
    };
    Err(format!(
        "found {found}, want one of `{WASM_LAYER}`, `{MODULE_LAYER}`, `{WASM_TO_OCI_LAYER}` or a tar layer with plugin.wasm"
    ))
}

fn is_archive(layer: &Descriptor) -> bool {
    let (base, compression) = match layer.media_type.split_once('+') {
        Some((base, compression)) => (base, compression),
        None => (layer.media_type.as_str(), ""),
    };
    match base {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
            matches!(compression, "" | "gzip" | "zstd")
        }
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(layers: &[&str]) -> Manifest {
        let layers = layers
            .iter()
            .enumerate()
            .map(|(at, media_type)| Descriptor {
                media_type: (*media_type).to_owned(),
                size: at as u64,
                ..Descriptor::default()
            })
            .collect();
        Manifest {
            layers,
            ..Manifest::default()
        }
    }

    fn check(layers: &[&str], layout: Layout, at: u64) {
        let manifest = manifest(layers);
        let (found, content) = choose(&manifest).unwrap();
        let first = match content {
            Content::Layer(layer) => layer,
            Content::Archives(layers) => layers[0],
        };
        assert_eq!((found, first.size), (layout, at));
    }

    #[test]
    fn chooses_by_type_and_ignores_the_rest() {
        check(&["application/wasm"], Layout::Cncf, 0);
        check(
            &["application/vnd.module.wasm.config.v1+json", MODULE_LAYER],
            Layout::Istio,
            1,
        );
        check(
            &[
                "application/vnd.module.wasm.spec.v1+yaml",
                "text/markdown",
                MODULE_LAYER,
                "image/png",
            ],
            Layout::Istio,
            2,
        );
        check(&[WASM_TO_OCI_LAYER], Layout::WasmToOci, 0);
    }

    #[test]
    fn looks_into_the_last_archive_first() {
        let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
        check(&[gzip, gzip], Layout::OciImage, 1);
        check(
            &["application/vnd.oci.image.layer.v1.tar+zstd"],
            Layout::OciImage,
            0,
        );
        let mut docker = manifest(&["application/vnd.docker.image.rootfs.diff.tar.gzip"]);
        docker.media_type = Some(DOCKER_MANIFEST.to_owned());
        assert_eq!(choose(&docker).unwrap().0, Layout::DockerImage);
    }

    #[test]
    fn says_what_it_found() {
        assert!(
            choose(&manifest(&["text/html"]))
                .unwrap_err()
                .contains("layers text/html")
        );
        assert!(choose(&manifest(&[])).unwrap_err().contains("no layers"));
        assert!(
            choose(&manifest(&[WASM_LAYER, WASM_LAYER]))
                .unwrap_err()
                .contains("2 layers")
        );
    }
}
