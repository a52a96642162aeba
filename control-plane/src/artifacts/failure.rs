//! Why an artifact does not serve: at which step it failed, and in which words.

use leno_oci::error::Error;

/// What is done with an artifact, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// It is asked for and brought here.
    Pull,
    /// It is compared with its digest and size, and its module is found in it.
    Verify,
    /// Its module is read and translated.
    Compile,
    /// The filter is started with the plugin's configuration.
    Configure,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pull, Self::Verify, Self::Compile, Self::Configure];

    /// As in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Verify => "verify",
            Self::Compile => "compile",
            Self::Configure => "configure",
        }
    }
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub step: Step,
    /// What went wrong, and what to do.
    pub reason: String,
}

impl Failure {
    /// A failure at `step`.
    pub fn new(step: Step, reason: String) -> Self {
        Self { step, reason }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.reason)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let step = match &error {
            Error::Digest { .. }
            | Error::Size { .. }
            | Error::TooLarge { .. }
            | Error::Layout { .. }
            | Error::NotWasm { .. } => Step::Verify,
            _ => Step::Pull,
        };
        let reason = match error.hint() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        };
        Self { step, reason }
    }
}
