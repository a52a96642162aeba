//! Answers that are errors, in the words of whoever gave them.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::RETRY_AFTER;

use crate::error::{Error, is_transient_status};

/// Error documents are short; more than this is not worth reading.
const MAX_ERROR_BODY: u64 = 16 * 1024;

/// An answer that means neither success nor anything more specific.
pub(crate) async fn status_error(response: Response) -> Error {
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Error::Status {
        url: without_query(response.url().as_str()),
        status: response.status().as_u16(),
        retry_after: retry_after
            .filter(|_| is_transient_status(response.status().as_u16()))
            .map(Duration::from_secs),
        reason: error_words(response).await,
    }
}

/// The registry's own words: codes and messages of its error document, else the beginning of its text.
pub(crate) async fn error_words(mut response: Response) -> String {
    #[derive(serde::Deserialize)]
    struct Document {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() as u64 > MAX_ERROR_BODY {
            break;
        }
    }
    let words = match serde_json::from_slice::<Document>(&body) {
        Ok(document) if !document.errors.is_empty() => {
            let entries = document.errors.iter().map(|entry| match entry.message.as_str() {
                "" => entry.code.clone(),
                message => format!("{} ({message})", entry.code),
            });
            entries.collect::<Vec<_>>().join(", ")
        }
        _ => String::from_utf8_lossy(&body).into_owned(),
    };
    let words: String = words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect();
    match words.trim() {
        "" => status.canonical_reason().unwrap_or("no reason given").to_owned(),
        words => words.to_owned(),
    }
}

/// Queries carry upload state and signatures; they do not belong in messages.
pub(crate) fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or(url).to_owned()
}
