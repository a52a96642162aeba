//! Lists: tags, repositories and the manifests that are about another one.

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use leno_oci::digest::Digest;
use leno_oci::manifest::{Index, OCI_INDEX};

use super::error::{Code, Refusal};
use super::path::Repository;
use super::{Call, Registry};

/// The longest page.
const MAX_PAGE: usize = 1000;

/// GET of the tags of a repository.
pub(super) async fn serve_tags(
    registry: &Arc<Registry>,
    call: &Call,
    repository: Repository,
) -> Result<Response, Refusal> {
    let name = repository.clone();
    let tags = registry
        .on_disk(move |registry| Ok(registry.folder.tags(&name)?))
        .await?;
    let unknown = || Refusal::new(Code::NameUnknown, "no such repository");
    let page = page(call, tags.ok_or_else(unknown)?)?;
    let body = serde_json::json!({ "name": repository.as_str(), "tags": page.items });
    let path = format!("/v2/{}/tags/list", repository.as_str());
    Ok(listed(
        "application/json",
        body.to_string(),
        page.next.map(|next| format!("{path}?{next}")),
    ))
}

/// GET of all repositories. Not in the specification any more, but clients ask for it.
pub(super) async fn serve_catalog(registry: &Arc<Registry>, call: &Call) -> Result<Response, Refusal> {
    let names = registry
        .on_disk(|registry| Ok(registry.folder.repositories()?))
        .await?;
    let page = page(call, names)?;
    let body = serde_json::json!({ "repositories": page.items });
    Ok(listed(
        "application/json",
        body.to_string(),
        page.next.map(|next| format!("/v2/_catalog?{next}")),
    ))
}

/// GET of the manifests whose subject is `digest`; an empty list when nobody knows it.
pub(super) async fn serve_referrers(
    registry: &Arc<Registry>,
    call: &Call,
    repository: Repository,
    digest: Digest,
) -> Result<Response, Refusal> {
    let mut found = registry
        .on_disk(move |registry| Ok(registry.folder.referrers(&repository, &digest)?))
        .await?;
    let wanted = call.parameter("artifactType");
    if let Some(wanted) = &wanted {
        found.retain(|entry| entry.artifact_type.as_ref() == Some(wanted));
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(OCI_INDEX.to_owned()),
        manifests: found,
        ..Index::default()
    };
    let body = serde_json::to_string(&index).map_err(|error| Refusal::internal(&error.into()))?;
    let mut response = listed(OCI_INDEX, body, None);
    if wanted.is_some() {
        response
            .headers_mut()
            .insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

struct Page {
    items: Vec<String>,
    /// The query of the next page.
    next: Option<String>,
}

/// `n` and `last` of the specification, section "Listing Tags".
fn page(call: &Call, names: Vec<String>) -> Result<Page, Refusal> {
    let count = match call.parameter("n") {
        None => MAX_PAGE,
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| Refusal::new(Code::RangeInvalid, format!("n is `{text:.20}`, want a number")))?
            .min(MAX_PAGE),
    };
    let last = call.parameter("last").unwrap_or_default();
    let mut rest = names.into_iter().skip_while(|name| *name <= last).peekable();
    let items: Vec<String> = rest.by_ref().take(count).collect();
    let next = match (rest.peek(), items.last()) {
        (Some(_), Some(last)) => Some(format!("n={count}&last={last}")),
        _ => None,
    };
    Ok(Page { items, next })
}

fn listed(media_type: &'static str, body: String, next: Option<String>) -> Response {
    let mut response = (
        [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))],
        body,
    )
        .into_response();
    if let Some(next) = next
        && let Ok(link) = HeaderValue::from_str(&format!("<{next}>; rel=\"next\""))
    {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}
