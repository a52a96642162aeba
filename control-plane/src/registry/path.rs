//! What a path under `/v2/` points to; only names that are safe as file names come out of here.

use leno_oci::digest::Digest;
use leno_oci::reference::{is_repository, is_tag};

use super::error::{Code, Refusal};

/// A repository name that follows the specification's grammar: no `..`, no empty part, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository(String);

impl Repository {
    pub(super) fn parse(name: &str) -> Result<Repository, Refusal> {
        match is_repository(name) {
            Ok(()) => Ok(Repository(name.to_owned())),
            Err(reason) => Err(Refusal::new(Code::NameInvalid, reason)),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// One path component; `+` is in no repository name.
    pub(super) fn folder(&self) -> String {
        self.0.replace('/', "+")
    }

    pub(super) fn from_folder(name: &str) -> Option<Repository> {
        Repository::parse(&name.replace('+', "/")).ok()
    }
}

/// A tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ManifestName {
    Tag(String),
    Digest(Digest),
}

/// One end point of the specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Blob {
        repository: Repository,
        digest: Digest,
    },
    Uploads {
        repository: Repository,
    },
    Upload {
        repository: Repository,
        id: String,
    },
    Manifest {
        repository: Repository,
        reference: ManifestName,
    },
    Tags {
        repository: Repository,
    },
    Referrers {
        repository: Repository,
        digest: Digest,
    },
    Catalog,
}

/// Reads the path after `/v2/`. Repository names may hold any word, so the end is read first.
pub(super) fn parse_path(path: &str) -> Result<Target, Refusal> {
    let parts: Vec<&str> = path.split('/').collect();
    let repository = |parts: &[&str]| Repository::parse(&parts.join("/"));
    match parts.as_slice() {
        ["_catalog"] => Ok(Target::Catalog),
        [name @ .., "blobs", "uploads", ""] | [name @ .., "blobs", "uploads"] => Ok(Target::Uploads {
            repository: repository(name)?,
        }),
        [name @ .., "blobs", "uploads", id] => {
            let repository = repository(name)?;
            match !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                true => Ok(Target::Upload {
                    repository,
                    id: (*id).to_owned(),
                }),
                false => Err(Refusal::new(Code::BlobUploadUnknown, "no such upload")),
            }
        }
        [name @ .., "blobs", digest] => Ok(Target::Blob {
            repository: repository(name)?,
            digest: parse_digest(digest)?,
        }),
        [name @ .., "manifests", reference] => {
            let repository = repository(name)?;
            let reference = match reference.contains(':') {
                true => ManifestName::Digest(parse_digest(reference)?),
                false => match is_tag(reference) {
                    Ok(()) => ManifestName::Tag((*reference).to_owned()),
                    Err(reason) => return Err(Refusal::new(Code::ManifestInvalid, reason)),
                },
            };
            Ok(Target::Manifest {
                repository,
                reference,
            })
        }
        [name @ .., "tags", "list"] => Ok(Target::Tags {
            repository: repository(name)?,
        }),
        [name @ .., "referrers", digest] => Ok(Target::Referrers {
            repository: repository(name)?,
            digest: parse_digest(digest)?,
        }),
        _ => Err(Refusal::new(
            Code::NameUnknown,
            "no end point of the distribution specification",
        )),
    }
}

pub(super) fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    let digest = Digest::parse(text).map_err(|error| Refusal::new(Code::DigestInvalid, error.to_string()))?;
    match text.contains(':') {
        true => Ok(digest),
        false => Err(Refusal::new(
            Code::DigestInvalid,
            "the algorithm is missing: sha256:…",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn repository(name: &str) -> Repository {
        Repository::parse(name).unwrap()
    }

    #[test]
    fn reads_every_end_point() {
        let digest = Digest::parse(SHA).unwrap();
        let check = |path: &str, expected: Target| assert_eq!(parse_path(path).unwrap(), expected, "{path}");
        check(
            &format!("a/b/c/blobs/{SHA}"),
            Target::Blob {
                repository: repository("a/b/c"),
                digest,
            },
        );
        check(
            "a/blobs/uploads/",
            Target::Uploads {
                repository: repository("a"),
            },
        );
        check(
            "a/blobs/uploads/x1",
            Target::Upload {
                repository: repository("a"),
                id: "x1".into(),
            },
        );
        check(
            "a/tags/list",
            Target::Tags {
                repository: repository("a"),
            },
        );
        check(
            &format!("a/referrers/{SHA}"),
            Target::Referrers {
                repository: repository("a"),
                digest,
            },
        );
        let manifest = |reference| Target::Manifest {
            repository: repository("blobs/uploads"),
            reference,
        };
        check(
            "blobs/uploads/manifests/v1",
            manifest(ManifestName::Tag("v1".into())),
        );
        check(
            &format!("blobs/uploads/manifests/{SHA}"),
            manifest(ManifestName::Digest(digest)),
        );
    }

    #[test]
    fn nothing_unsafe_comes_out() {
        for path in [
            "../manifests/x",
            "a/../b/manifests/x",
            "a//b/tags/list",
            "/tags/list",
            "tags/list",
            "A/tags/list",
            "a/manifests/..",
            "a/manifests/.hidden",
            "a/blobs/sha256:../../x",
            "a/blobs/uploads/..",
            "a/blobs/uploads/a.b",
            "a+b/tags/list",
            "a/b",
            "",
        ] {
            assert!(parse_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn folders_are_one_to_one() {
        let name = repository("team/filters/auth-2.x");
        assert_eq!(name.folder(), "team+filters+auth-2.x");
        assert_eq!(Repository::from_folder(&name.folder()), Some(name));
    }
}
