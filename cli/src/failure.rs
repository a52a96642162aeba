//! Errors as people read them: what failed, why, and what to try.

use owo_colors::{OwoColorize as _, Stream};

use crate::output::note;

/// An error that knows what to try next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    message: String,
    hint: String,
}

/// An error with a hint; the hint completes the sentence "try: …".
pub(crate) fn failure(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Failure {
        message: message.into(),
        hint: hint.into(),
    }
    .into()
}

/// Prints an error, its causes and its hint to stderr.
pub(crate) fn print(error: &anyhow::Error) {
    note(format!(
        "{} {error}",
        "error:".if_supports_color(Stream::Stderr, |text| text.red())
    ));
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Libraries like to repeat their cause in their own message.
        if !said.contains(&cause) {
            note(format!(
                "  {} {cause}",
                "because:".if_supports_color(Stream::Stderr, |text| text.dimmed())
            ));
        }
        said = cause;
    }
    if let Some(hint) = hint(error) {
        note(format!(
            "  {} {hint}",
            "try:".if_supports_color(Stream::Stderr, |text| text.green())
        ));
    }
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let ours = cause
            .downcast_ref::<Failure>()
            .map(|failure| failure.hint.clone());
        ours.or_else(|| cause.downcast_ref::<leno_oci::error::Error>()?.hint())
    })
}
