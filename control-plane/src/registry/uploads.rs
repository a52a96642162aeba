//! Uploads of blobs: in one piece, in pieces, or none because another repository has the blob.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;

use super::error::{Code, Refusal};
use super::path::{Repository, parse_digest};
use super::{Call, Registry, empty};

/// POST: begins an upload; mounts, or takes the whole blob, when the query asks for it.
pub(super) async fn begin(
    registry: &Arc<Registry>,
    call: &Call,
    body: Body,
    repository: Repository,
) -> Result<Response, Refusal> {
    if let (Some(digest), Some(from)) = (call.parameter("mount"), call.parameter("from")) {
        let (digest, from, to) = (
            parse_digest(&digest)?,
            Repository::parse(&from)?,
            repository.clone(),
        );
        let mounted = registry
            .on_disk(move |registry| Ok(registry.folder.mount(&from, &to, &digest)?))
            .await?;
        if mounted {
            return Ok(empty(
                StatusCode::CREATED,
                &blob_location(&repository, &digest),
                Some(&digest),
            ));
        }
    }
    let expiry = registry.options.upload_expiry;
    let name = repository.clone();
    let id = registry
        .on_disk(move |registry| Ok(registry.folder.begin_upload(&name, expiry)?))
        .await?;
    match call.parameter("digest") {
        Some(_) => complete(registry, call, body, repository, id).await,
        None => Ok(accepted(StatusCode::ACCEPTED, &repository, &id, 0)),
    }
}

/// GET: how far an upload is.
pub(super) async fn status(
    registry: &Arc<Registry>,
    repository: Repository,
    id: String,
) -> Result<Response, Refusal> {
    let size = size_of(registry, &repository, &id).await?;
    Ok(accepted(StatusCode::NO_CONTENT, &repository, &id, size))
}

/// PATCH: one more piece.
pub(super) async fn append(
    registry: &Arc<Registry>,
    call: &Call,
    body: Body,
    repository: Repository,
    id: String,
) -> Result<Response, Refusal> {
    let _claim = registry.folder.claim(&id).ok_or_else(busy)?;
    let size = size_of(registry, &repository, &id).await?;
    check_position(call, size)?;
    let size = receive(registry, body, &repository, &id, size).await?;
    Ok(accepted(StatusCode::ACCEPTED, &repository, &id, size))
}

/// PUT: the last piece, which may be empty or everything, and the digest of the whole.
pub(super) async fn complete(
    registry: &Arc<Registry>,
    call: &Call,
    body: Body,
    repository: Repository,
    id: String,
) -> Result<Response, Refusal> {
    let missing = || Refusal::new(Code::DigestInvalid, "the query parameter `digest` is missing");
    let digest = parse_digest(&call.parameter("digest").ok_or_else(missing)?)?;
    let _claim = registry.folder.claim(&id).ok_or_else(busy)?;
    let size = size_of(registry, &repository, &id).await?;
    check_position(call, size)?;
    receive(registry, body, &repository, &id, size).await?;
    let name = repository.clone();
    registry
        .on_disk(
            move |registry| match registry.folder.finish_upload(&name, &id, &digest)? {
                Ok(()) => Ok(()),
                Err(actual) => {
                    // The content is not what was named; going on with it makes no sense.
                    std::fs::remove_file(registry.folder.upload(&name, &id))?;
                    let message = format!("the content's digest is {actual}, not {digest}");
                    Err(Refusal::new(Code::DigestInvalid, message))
                }
            },
        )
        .await?;
    Ok(empty(
        StatusCode::CREATED,
        &blob_location(&repository, &digest),
        Some(&digest),
    ))
}

/// DELETE: forgets an upload.
pub(super) async fn cancel(
    registry: &Arc<Registry>,
    repository: Repository,
    id: String,
) -> Result<Response, Refusal> {
    let _claim = registry.folder.claim(&id).ok_or_else(busy)?;
    size_of(registry, &repository, &id).await?;
    tokio::fs::remove_file(registry.folder.upload(&repository, &id)).await?;
    Ok(empty(StatusCode::NO_CONTENT, "", None))
}

async fn size_of(registry: &Registry, repository: &Repository, id: &str) -> Result<u64, Refusal> {
    match tokio::fs::metadata(registry.folder.upload(repository, id)).await {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Refusal::new(
            Code::BlobUploadUnknown,
            "no such upload: begin a new one",
        )),
        Err(error) => Err(error.into()),
    }
}

/// A piece that names its place must continue where the last one ended.
fn check_position(call: &Call, size: u64) -> Result<(), Refusal> {
    let Some(range) = call.header(header::CONTENT_RANGE) else {
        return Ok(());
    };
    let range = range.strip_prefix("bytes ").unwrap_or(range);
    let ends = range.split('/').next().and_then(|range| range.split_once('-'));
    let numbers =
        ends.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    let length = call
        .header(header::CONTENT_LENGTH)
        .and_then(|text| text.parse::<u64>().ok());
    match numbers {
        Some((first, last)) if first == size && last >= first => match length {
            Some(length) if length != last - first + 1 => Err(Refusal::new(
                Code::BlobUploadInvalid,
                format!(
                    "Content-Range covers {} bytes, Content-Length says {length}",
                    last - first + 1
                ),
            )),
            _ => Ok(()),
        },
        _ => Err(Refusal::new(
            Code::RangeInvalid,
            format!("the next piece must begin at byte {size}"),
        )),
    }
}

/// Appends a body to an upload. What came before the connection broke stays: the client may go on from there.
async fn receive(
    registry: &Registry,
    mut body: Body,
    repository: &Repository,
    id: &str,
    mut size: u64,
) -> Result<u64, Refusal> {
    let path = registry.folder.upload(repository, id);
    let mut file = tokio::fs::OpenOptions::new().append(true).open(&path).await?;
    let limit = registry.options.max_blob;
    while let Some(frame) = body.frame().await {
        let broken = |error| Refusal::new(Code::BlobUploadInvalid, format!("the upload broke off: {error}"));
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        size += data.len() as u64;
        if size > limit {
            drop(file);
            tokio::fs::remove_file(&path).await?;
            return Err(Refusal::new(
                Code::SizeInvalid,
                format!("a blob may have at most {limit} bytes"),
            ));
        }
        file.write_all(&data).await?;
    }
    file.flush().await?;
    Ok(size)
}

fn accepted(status: StatusCode, repository: &Repository, id: &str, size: u64) -> Response {
    let location = format!("/v2/{}/blobs/uploads/{id}", repository.as_str());
    let mut response = empty(status, &location, None);
    // The specification has no way to say "nothing yet" but this.
    let range = format!("0-{}", size.saturating_sub(1));
    for (name, value) in [
        (header::RANGE.as_str(), range.as_str()),
        ("docker-upload-uuid", id),
    ] {
        if let (Ok(name), Ok(value)) = (header::HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn blob_location(repository: &Repository, digest: &leno_oci::digest::Digest) -> String {
    format!("/v2/{}/blobs/{digest}", repository.as_str())
}

fn busy() -> Refusal {
    Refusal::new(
        Code::BlobUploadInvalid,
        "another request is writing to this upload",
    )
}
