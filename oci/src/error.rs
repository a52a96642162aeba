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
    /// The certificate of that host is not one to trust.
    #[error("the certificate of {host} is not trusted: {reason}")]
    Untrusted {
        /// Host and port that were tried.
        host: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The other side began an exchange and did not end it.
    #[error("{url}: the answer broke off: {reason}")]
    Broken {
        /// What was asked.
        url: String,
        /// What the connection said.
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
    /// Bytes that anybody on the way could replace, and no digest to tell.
    #[error("{url}: plain http without a sha256: anybody on the way could replace the module")]
    Unpinned {
        /// What was asked for.
        url: String,
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
    /// The program that Docker's configuration leaves credentials to.
    #[error("credential helper {helper}, which {path} names for {server}: {reason}")]
    Helper {
        /// The program.
        helper: String,
        /// Docker's configuration.
        path: String,
        /// Whose credentials were asked for.
        server: String,
        /// What became of it.
        reason: String,
    },
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
    /// What to try next, as one imperative sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Denied {
                registry,
                with_credentials: false,
                ..
            } => return Some(format!("run `docker login {registry}`, or name a pull secret")),
            Error::Denied { registry, .. } => {
                return Some(format!(
                    "check that the account may use this repository, or run `docker login {registry}` with another one"
                ));
            }
            Error::Unreachable { host, reason } => return Some(hint_unreachable(host, reason)),
            Error::Untrusted { host, reason } => return Some(hint_untrusted(host, reason)),
            Error::Status {
                status, retry_after, ..
            } => return Some(hint_status(*status, *retry_after)),
            Error::Helper { helper, path, .. } => {
                return Some(format!("install {helper} in PATH, or remove it from {path}"));
            }
            Error::Reference(_) => "write HOST/REPOSITORY:TAG, or file:///PATH for a file",
            Error::Broken { .. } => "try again; if it stays so, ask who runs the server",
            Error::Timeout { .. } => "try again when server and network are faster; commands have --timeout",
            Error::NotFound { .. } => "check the repository and the tag",
            Error::Protocol { .. } => "check the address; if it is right, ask who runs the server",
            Error::Unpinned { .. } => "use https, or give the module's sha256",
            Error::Digest { .. } | Error::Size { .. } => {
                "do not use this content; ask who runs the registry, or correct the digest"
            }
            Error::TooLarge { .. } => {
                "make the module smaller: `leno build` leaves names and debug information out"
            }
            Error::Layout { .. } => "push it with `leno push`, `wkg oci push` or `oras`",
            Error::NotWasm { .. } => "name a Wasm module, such as `leno build` makes",
            Error::Credentials(_) => "correct it, or run `docker login` again",
            Error::Options(_) => "check the options, such as --ca-file",
            Error::File { .. } => "check the path and who may read it",
            Error::Store(_) => "check the store's folder: its disk, and who may write to it",
        };
        Some(hint.to_owned())
    }

    /// True when the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Broken { .. } | Error::Timeout { .. } => true,
            Error::Status { status, .. } => is_transient_status(*status),
            _ => false,
        }
    }
}

fn hint_unreachable(host: &str, reason: &str) -> String {
    // What rustls says of an answer that is no TLS.
    match reason.contains("InvalidContentType") {
        true => format!("let it be spoken to without TLS, if that is meant: --insecure-registry {host}"),
        false => format!("check that {host} is the right host and port and that it is up"),
    }
}

/// rustls tells what is wrong with a certificate in words only.
fn hint_untrusted(host: &str, reason: &str) -> String {
    if reason.contains("not valid for name") {
        return format!("use a name that the certificate of {host} has");
    }
    if reason.contains("expired") || reason.contains("not valid yet") {
        return format!("renew the certificate of {host}, or correct the clock of this machine");
    }
    format!("name the PEM certificate of the authority of {host} with --ca-file")
}

fn hint_status(status: u16, retry_after: Option<std::time::Duration>) -> String {
    match (status, retry_after) {
        (429, Some(pause)) => format!(
            "wait {} s: the registry limits how often it may be asked; an account may have a higher limit",
            pause.as_secs()
        ),
        (429, None) => {
            "wait: the registry limits how often it may be asked; an account may have a higher limit"
                .to_owned()
        }
        (status, _) if is_transient_status(status) => {
            "try again later; if it stays so, ask who runs the registry".to_owned()
        }
        _ => "check that the address is that of a registry".to_owned(),
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
