//! The choice of one manifest from an index.

use crate::manifest::{Descriptor, Index, Platform};

impl Index {
    /// The entry that holds the module: attestations are passed over, Wasm platforms come before linux/amd64, an image
    /// without a platform counts as linux/amd64 (as go-containerregistry has it), and a single remaining entry is
    /// taken whatever it runs on.
    pub fn select(&self) -> Result<&Descriptor, String> {
        let candidates: Vec<&Descriptor> = self
            .manifests
            .iter()
            .filter(|entry| !is_attestation(entry))
            .collect();
        let runs_on = |os: &str, architecture: &str| {
            candidates.iter().copied().find(|entry| {
                entry
                    .platform
                    .as_ref()
                    .is_some_and(|p| p.os == os && p.architecture == architecture)
            })
        };
        let wanted = [
            ("wasip1", "wasm"),
            ("wasip2", "wasm"),
            ("wasi", "wasm"),
            ("wasi", "wasm32"),
        ];
        if let Some(entry) = wanted
            .into_iter()
            .find_map(|(os, architecture)| runs_on(os, architecture))
        {
            return Ok(entry);
        }
        let unsaid = || {
            let plain = |entry: &&&Descriptor| !has_platform(entry) && entry.artifact_type.is_none();
            candidates.iter().find(plain).copied()
        };
        match (runs_on("linux", "amd64").or_else(unsaid), candidates.as_slice()) {
            (Some(entry), _) => Ok(entry),
            (None, [only]) => Ok(only),
            (None, []) => Err("the index has no image, only attestations or nothing".to_owned()),
            (None, several) => {
                let platforms: Vec<String> = several
                    .iter()
                    .map(|entry| match &entry.platform {
                        Some(p) if has_platform(entry) => format!("{}/{}", p.os, p.architecture),
                        _ => "no platform".to_owned(),
                    })
                    .collect();
                Err(format!(
                    "the index has none for wasip1/wasm or linux/amd64, but {}",
                    platforms.join(", ")
                ))
            }
        }
    }
}

/// buildx adds provenance as an entry of its own.
fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.contains_key("vnd.docker.reference.type")
        || entry
            .platform
            .as_ref()
            .is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
}

fn has_platform(entry: &Descriptor) -> bool {
    let said = |p: &Platform| !p.os.is_empty() || !p.architecture.is_empty();
    entry.platform.as_ref().is_some_and(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digest: &str, os: &str, architecture: &str) -> Descriptor {
        let platform = Platform {
            os: os.into(),
            architecture: architecture.into(),
            variant: None,
        };
        Descriptor {
            digest: digest.into(),
            platform: Some(platform),
            ..Descriptor::default()
        }
    }

    fn selected(entries: Vec<Descriptor>) -> Result<String, String> {
        Index {
            manifests: entries,
            ..Index::default()
        }
        .select()
        .map(|entry| entry.digest.clone())
    }

    #[test]
    fn passes_over_attestations() {
        let unknown = entry("attestation", "unknown", "unknown");
        assert_eq!(
            selected(vec![unknown.clone(), entry("image", "linux", "arm64")]),
            Ok("image".into())
        );
        let mut labelled = entry("attestation", "linux", "amd64");
        labelled
            .annotations
            .insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        assert_eq!(
            selected(vec![labelled, entry("image", "linux", "amd64")]),
            Ok("image".into())
        );
        assert!(selected(vec![unknown]).unwrap_err().contains("only attestations"));
    }

    #[test]
    fn prefers_wasm_platforms() {
        let entries = vec![
            entry("amd", "linux", "amd64"),
            entry("p2", "wasip2", "wasm"),
            entry("p1", "wasip1", "wasm"),
        ];
        assert_eq!(selected(entries.clone()), Ok("p1".into()));
        assert_eq!(selected(entries[..2].to_vec()), Ok("p2".into()));
        assert_eq!(selected(entries[..1].to_vec()), Ok("amd".into()));
        let arms = vec![entry("a", "linux", "arm64"), entry("b", "linux", "arm")];
        assert!(selected(arms).unwrap_err().contains("linux/arm64, linux/arm"));
    }

    #[test]
    fn an_image_without_platform_counts_as_the_common_one() {
        let plain = |digest: &str| Descriptor {
            digest: digest.into(),
            ..Descriptor::default()
        };
        assert_eq!(selected(vec![plain("a"), plain("b")]), Ok("a".into()));
        assert_eq!(
            selected(vec![entry("arm", "linux", "arm64"), entry("b", "", "")]),
            Ok("b".into())
        );
        assert_eq!(
            selected(vec![plain("a"), entry("amd", "linux", "amd64")]),
            Ok("amd".into())
        );
        assert_eq!(
            selected(vec![plain("a"), entry("p1", "wasip1", "wasm")]),
            Ok("p1".into())
        );
        let signature = Descriptor {
            artifact_type: Some("application/vnd.dev.sigstore.bundle.v0.3+json".into()),
            ..plain("signature")
        };
        assert_eq!(selected(vec![signature, plain("b")]), Ok("b".into()));
    }
}
