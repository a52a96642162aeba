//! Manifests: checked when they come, served as they came.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, Limited};
use leno_oci::digest::Digest;
use leno_oci::manifest::{Descriptor, Document};

use super::error::{Code, Refusal};
use super::path::{ManifestName, Repository};
use super::{Call, Pushed, Registry, digest_value, empty};

/// GET and HEAD of a manifest.
pub(super) async fn serve_manifest(
    registry: &Arc<Registry>,
    call: &Call,
    repository: Repository,
    name: ManifestName,
) -> Result<Response, Refusal> {
    let (digest, media_type, bytes) = registry
        .on_disk(move |registry| {
            let unknown = || Refusal::new(Code::ManifestUnknown, "this repository has no such manifest");
            let digest = match &name {
                ManifestName::Digest(digest) => *digest,
                ManifestName::Tag(tag) => registry.folder.tag(&repository, tag).ok_or_else(unknown)?,
            };
            let media_type = registry
                .folder
                .manifest_type(&repository, &digest)
                .ok_or_else(unknown)?;
            Ok((
                digest,
                media_type,
                std::fs::read(registry.folder.blob_path(&digest))?,
            ))
        })
        .await?;
    let length = bytes.len();
    let body = if call.method == Method::HEAD {
        Body::empty()
    } else {
        Body::from(bytes)
    };
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_str(&media_type)
        .map_err(|error| Refusal::internal(&std::io::Error::other(error)))?;
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert("docker-content-digest", digest_value(&digest));
    headers.insert(
        header::ETAG,
        HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or(digest_value(&digest)),
    );
    Ok(response)
}

/// PUT of a manifest under a tag or its digest.
pub(super) async fn put_manifest(
    registry: &Arc<Registry>,
    call: &Call,
    body: Body,
    repository: Repository,
    name: ManifestName,
) -> Result<Response, Refusal> {
    let media_type = call.header(header::CONTENT_TYPE).map(str::to_owned);
    let limit = registry.options.max_manifest;
    let body = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX))
        .collect()
        .await;
    let bytes = match body {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Refusal::new(
                Code::SizeInvalid,
                format!("a manifest may have at most {limit} bytes"),
            ));
        }
        Err(error) => {
            return Err(Refusal::new(
                Code::ManifestInvalid,
                format!("the upload broke off: {error}"),
            ));
        }
    };
    let digest = Digest::of(&bytes);
    if let ManifestName::Digest(expected) = &name
        && *expected != digest
    {
        return Err(Refusal::new(
            Code::DigestInvalid,
            format!("the manifest's digest is {digest}, not {expected}"),
        ));
    }
    let document = Document::parse(&bytes, media_type.as_deref())
        .map_err(|reason| Refusal::new(Code::ManifestInvalid, reason))?;
    let media_type = media_type.unwrap_or_else(|| document.media_type().to_owned());
    let tag = match name {
        ManifestName::Tag(tag) => Some(tag),
        ManifestName::Digest(_) => None,
    };
    let pushed = Pushed {
        repository: repository.as_str().to_owned(),
        tag,
        digest,
    };
    let stored = Stored {
        repository,
        document,
        media_type,
        bytes,
        digest,
        tag: pushed.tag.clone(),
    };
    let subject = registry.on_disk(move |registry| store(registry, &stored)).await?;
    let location = format!("/v2/{}/manifests/{digest}", pushed.repository);
    tracing::info!(repository = pushed.repository, tag = pushed.tag, %digest, "manifest pushed");
    if let Some(on_push) = &registry.options.on_push {
        on_push(pushed);
    }
    let mut response = empty(StatusCode::CREATED, &location, Some(&digest));
    if let Some(subject) = subject {
        response
            .headers_mut()
            .insert("oci-subject", digest_value(&subject));
    }
    Ok(response)
}

struct Stored {
    repository: Repository,
    document: Document,
    media_type: String,
    bytes: Bytes,
    digest: Digest,
    tag: Option<String>,
}

/// Writes what the manifest brings, the tag last: whoever reads the tag finds all that it stands for.
fn store(registry: &Registry, stored: &Stored) -> Result<Option<Digest>, Refusal> {
    let Stored {
        repository,
        document,
        digest,
        ..
    } = stored;
    let folder = &registry.folder;
    let invalid =
        |error: leno_oci::digest::InvalidDigest| Refusal::new(Code::ManifestInvalid, error.to_string());
    let missing = |what: &str, descriptor: &Descriptor| {
        let message = format!(
            "{what} {} is not in this repository: push it first",
            descriptor.digest
        );
        Refusal::new(Code::ManifestBlobUnknown, message)
    };
    match document {
        Document::Manifest(manifest) => {
            for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                let path = folder.blob(repository, &blob.digest().map_err(invalid)?);
                let size = std::fs::metadata(path.ok_or_else(|| missing("blob", blob))?)?.len();
                if size != blob.size {
                    let message = format!("blob {} has {size} bytes, not {}", blob.digest, blob.size);
                    return Err(Refusal::new(Code::ManifestInvalid, message));
                }
            }
        }
        Document::Index(index) => {
            for entry in &index.manifests {
                let known = folder.manifest_type(repository, &entry.digest().map_err(invalid)?);
                known.ok_or_else(|| missing("manifest", entry))?;
            }
        }
    }
    let subject = match document {
        Document::Manifest(manifest) => manifest.subject.as_ref(),
        Document::Index(_) => None,
    };
    let subject = subject
        .map(|subject| subject.digest().map_err(invalid))
        .transpose()?;
    folder.put_blob(repository, digest, &stored.bytes)?;
    folder.put_manifest_type(repository, digest, &stored.media_type)?;
    if let Some(subject) = &subject {
        folder.put_referrer(repository, subject, &referrer(stored))?;
    }
    if let Some(tag) = &stored.tag {
        folder.put_tag(repository, tag, digest)?;
    }
    Ok(subject)
}

/// The descriptor that the referrers list shows (specification, section "Listing Referrers").
fn referrer(stored: &Stored) -> Descriptor {
    let mut descriptor = Descriptor::of(&stored.media_type, &stored.bytes);
    if let Document::Manifest(manifest) = &stored.document {
        let fallback = || manifest.config.media_type.clone();
        descriptor.artifact_type = Some(manifest.artifact_type.clone().unwrap_or_else(fallback));
        descriptor.annotations = manifest.annotations.clone();
    }
    descriptor
}
