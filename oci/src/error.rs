//! What can go wrong between a reference and a verified module, and what an operator can do about it.

use crate::digest::Digest;
use crate::reference::InvalidReference;

/// Why a pull, a push or an inspection failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text names no module.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// Nothing answers at that host.
    #[error("{host} is unreachable: {reason}")]
    Unreachable {
        /// Host and port that were tried.
        host: String,
        /// What the connection attempt said, innermost cause included.
        reason: String,
    },
    /// The other side did not answer in time.
    #[error("{url} did not answer within {after:?}")]
    Timeout {
        /// What was asked.
        url: String,
        /// The limit that passed.
        after: std::time::Duration,
    },
    /// The registry wants (other) credentials.
    #[error("denied by registry {registry}: {reason}")]
    Denied {
        /// The registry, as written in the reference.
        registry: String,
        /// What it answered.
        reason: String,
        /// True when credentials were sent.
        with_credentials: bool,
    },
    /// The registry has no such thing.
    #[error("{what} not found: {reason}")]
    NotFound {
        /// The thing that was asked for.
        what: String,
        /// What the registry answered.
        reason: String,
    },
    /// An HTTP answer that means neither success nor one of the above.
    #[error("{url} answered {status}: {reason}")]
    Status {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The pause that the other side asked for.
        retry_after: Option<std::time::Duration>,
        /// The registry's words, shortened.
        reason: String,
    },
    /// The other side does not speak as a registry should.
    #[error("{url}: {reason}")]
    Protocol {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The bytes are not those that were named.
    #[error("{what}: digest is {actual}, want {expected}")]
    Digest {
        /// What was downloaded.
        what: String,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// There are more or fewer bytes than announced.
    #[error("{what}: got {actual} bytes, its descriptor says {expected}")]
    Size {
        /// What was downloaded.
        what: String,
        /// The announced size.
        expected: u64,
        /// The size of what came; for a body cut off at the first excess byte, one more than announced.
        actual: u64,
    },
    /// More bytes than the limit allows.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What was downloaded or unpacked.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The artifact holds no module in any known layout.
    #[error("{what} holds no Wasm module: {reason}")]
    Layout {
        /// The artifact.
        what: String,
        /// What was looked for and what was found.
        reason: String,
    },
    /// The bytes are no Wasm.
    #[error("{what} is not a Wasm module: {reason}")]
    NotWasm {
        /// Where the bytes came from.
        what: String,
        /// What they look like instead.
        reason: String,
    },
    /// The credentials cannot be read.
    #[error("credentials: {0}")]
    Credentials(String),
    /// The options of the client cannot work.
    #[error("registry client: {0}")]
    Options(String),
    /// A file on this machine.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

impl Error {
    /// What to try next, as one imperative sentence without a full stop; not every error has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Denied {
                registry,
                with_credentials: false,
                ..
            } => Some(format!("run `docker login {registry}`, or name a pull secret")),
            Error::Denied { registry, .. } => Some(format!(
                "check that the account may use this repository, or run `docker login {registry}` with another one"
            )),
            Error::Unreachable { host, .. } => Some(format!(
                "check that {host} is the right host and port and that it is up"
            )),
            Error::Timeout { .. } => Some("try again, or raise the timeout".to_owned()),
            Error::NotFound { .. } => Some("check the repository and the tag".to_owned()),
            Error::Digest { .. } | Error::Size { .. } => {
                Some("do not use this content; ask who runs the registry, or correct the digest".to_owned())
            }
            Error::TooLarge { .. } => Some("raise the size limit if this module is really meant".to_owned()),
            Error::Layout { .. } => Some("push it with `leno push`, `wkg oci push` or `oras`".to_owned()),
            _ => None,
        }
    }

    /// True when the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Timeout { .. } => true,
            Error::Status { status, .. } => is_transient_status(*status),
            _ => false,
        }
    }
}

/// Request Timeout, Too Many Requests and every server error.
pub(crate) fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

/// An error and all its causes, joined by `: ` and without repetitions.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
