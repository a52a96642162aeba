//! Serving blobs, whole or in part.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leno_oci::digest::Digest;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom};
use tokio_util::io::ReaderStream;

use super::error::{Code, Refusal};
use super::path::Repository;
use super::{Call, Registry, digest_value};

/// GET and HEAD of a blob.
pub(super) async fn serve_blob(
    registry: &Arc<Registry>,
    call: &Call,
    repository: Repository,
    digest: Digest,
) -> Result<Response, Refusal> {
    let unknown = || Refusal::new(Code::BlobUnknown, format!("this repository has no blob {digest}"));
    let path = registry
        .on_disk(move |registry| Ok(registry.folder.blob(&repository, &digest)))
        .await?;
    let mut file = tokio::fs::File::open(path.ok_or_else(unknown)?).await?;
    let size = file.metadata().await?.len();
    let range = call
        .header(header::RANGE)
        .map_or(Ok(None), |text| parse_range(text, size))?;
    let (status, start, length) = match range {
        None => (StatusCode::OK, 0, size),
        Some((start, end)) => (StatusCode::PARTIAL_CONTENT, start, end - start + 1),
    };
    let body = match call.method == Method::HEAD {
        true => Body::empty(),
        false => {
            file.seek(SeekFrom::Start(start)).await?;
            Body::from_stream(ReaderStream::with_capacity(file.take(length), 64 * 1024))
        }
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert("docker-content-digest", digest_value(&digest));
    if let Some((start, end)) = range
        && let Ok(value) = HeaderValue::from_str(&format!("bytes {start}-{end}/{size}"))
    {
        headers.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// One range of bytes (RFC 9110 section 14.1.2), first and last included. What is not a single byte range is
/// ignored, as the RFC allows; one that lies outside is refused.
fn parse_range(text: &str, size: u64) -> Result<Option<(u64, u64)>, Refusal> {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let outside = || Refusal::new(Code::RangeInvalid, format!("the blob has {size} bytes"));
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, size.saturating_sub(1)),
        (Err(_), Ok(suffix)) if first.trim().is_empty() => {
            if suffix == 0 {
                return Err(outside());
            }
            (size.saturating_sub(suffix), size.saturating_sub(1))
        }
        _ => return Ok(None),
    };
    if range.0 >= size {
        Err(outside())
    } else {
        Ok(Some(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges() {
        let range = |text: &str| parse_range(text, 10).ok();
        assert_eq!(range("bytes=0-3"), Some(Some((0, 3))));
        assert_eq!(range("bytes=4-"), Some(Some((4, 9))));
        assert_eq!(range("bytes=-2"), Some(Some((8, 9))));
        assert_eq!(range("bytes=5-99"), Some(Some((5, 9))));
        assert_eq!(range("bytes=10-"), None);
        assert_eq!(range("bytes=-0"), None);
        assert_eq!(range("bytes=3-1"), Some(None));
        assert_eq!(range("bytes=0-1,3-4"), Some(None));
        assert_eq!(range("lines=0-1"), Some(None));
        assert!(parse_range("bytes=0-", 0).is_err());
    }
}
