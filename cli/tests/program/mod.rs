//! Runs the program and looks at what it says.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a run said and how it ended.
pub(crate) struct Run {
    pub(crate) stdout: String,
    stderr: String,
    success: bool,
}

/// Runs `leno` in `folder`, where nobody's configuration is seen.
pub(crate) fn leno<'a>(folder: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leno"));
    run(command.args(arguments), folder)
}

/// Runs `leno` with a stdout that the test has made.
#[allow(dead_code, reason = "as below")]
pub(crate) fn leno_to<'a>(
    stdout: impl Into<Stdio>,
    folder: &Path,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leno"));
    let command = command.args(arguments).current_dir(folder);
    let command = command.env("DOCKER_CONFIG", folder.join("no-docker"));
    // Not `output`, which would put a pipe of its own in place.
    let child = command.stdout(stdout).stderr(Stdio::piped()).spawn();
    child.unwrap().wait_with_output().unwrap()
}

/// Runs any program as `leno` is run; what cargo builds goes to one folder below the workspace's.
pub(crate) fn run(command: &mut Command, folder: &Path) -> Run {
    let output = command
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

/// The registry that is part of the control plane, served until the runtime ends.
#[allow(dead_code, reason = "as below")]
pub(crate) fn registry(folder: &Path) -> (String, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let options = leno_control_plane::registry::Options::default();
    let router = leno_control_plane::registry::router(folder.to_owned(), options).unwrap();
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(listening).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    runtime.spawn(async move { axum::serve(listener, router).await });
    (host, runtime)
}

#[allow(
    dead_code,
    reason = "each test file compiles this module for itself, and not all need it"
)]
impl Run {
    #[track_caller]
    pub(crate) fn succeeds(self) -> Run {
        assert!(self.success, "{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn fails(self) -> Run {
        assert!(!self.success, "{}{}", self.stdout, self.stderr);
        // Colours are for terminals. Before it may stand what cargo says.
        let is_error = |line: &str| line.starts_with("error: ");
        assert!(self.stderr.lines().any(is_error), "{}", self.stderr);
        self
    }

    /// With words on stdout only.
    #[track_caller]
    pub(crate) fn fails_quietly(self) -> Run {
        assert!(!self.success, "{}{}", self.stdout, self.stderr);
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
    pub(crate) fn succeeds_with_json(self) -> serde_json::Value {
        let run = self.succeeds();
        serde_json::from_str(&run.stdout).unwrap()
    }
}
