//! Runs the program and looks at what it says.

use std::path::Path;
use std::process::Command;

/// What a run said and how it ended.
pub(crate) struct Run {
    pub(crate) stdout: String,
    stderr: String,
    success: bool,
}

/// Runs `leno` in `folder`, where nobody's configuration is seen.
pub(crate) fn leno<'a>(folder: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_leno"))
        .args(arguments)
        .current_dir(folder)
        .env("DOCKER_CONFIG", folder.join("no-docker"))
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests"),
        )
        .output()
        .unwrap();
    Run {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        success: output.status.success(),
    }
}

impl Run {
    #[track_caller]
    pub(crate) fn succeeds(self) -> Run {
        assert!(self.success, "{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn fails(self) -> Run {
        assert!(!self.success, "{}{}", self.stdout, self.stderr);
        // Colours are for terminals.
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Run {
        assert!(self.stdout.contains(text), "{text} is not in:\n{}", self.stdout);
        self
    }

    #[track_caller]
    pub(crate) fn complains(self, text: &str) -> Run {
        assert!(self.stderr.contains(text), "{text} is not in:\n{}", self.stderr);
        self
    }

    #[track_caller]
    #[allow(
        dead_code,
        reason = "each test file compiles this module for itself, and not all need it"
    )]
    pub(crate) fn succeeds_with_json(self) -> serde_json::Value {
        let run = self.succeeds();
        serde_json::from_str(&run.stdout).unwrap()
    }
}
