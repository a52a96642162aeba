//! A process that a suite has started: ended with the suite, its log shown when the suite fails.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::wait::until;

/// How much of a log is shown, in bytes from its end.
const SHOWN: usize = 6000;

/// A running process. Dropping it kills it.
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `program`; what it prints goes to `NAME.log` in `folder`.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        folder: &Path,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::start_command(name, folder, command)
    }

    /// Starts `command`, as [`Running::start`] does.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_command(name: &str, folder: &Path, mut command: Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let errors = file
            .try_clone()
            .unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Fails when the process has ended.
    ///
    /// # Errors
    /// How it ended, with its log.
    pub fn alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} ended with {status}:\n{}", self.name, self.log())),
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in KiB.
    ///
    /// # Panics
    /// It has ended.
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{path} has no VmRSS: {text}"))
    }

    /// Ends it at once, as a crash does.
    ///
    /// # Panics
    /// It cannot be ended.
    pub fn kill(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Panics
    /// It does not end.
    pub async fn terminate(mut self) -> ExitStatus {
        let pid = self.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "{}: no signal can be sent",
            self.name
        );
        let child = &mut self.child;
        let name = self.name.clone();
        let mut ended = move || child.try_wait().ok().flatten();
        until(&format!("{name} ends"), || {
            std::future::ready(ended().ok_or("it runs"))
        })
        .await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let start = log.ceil_char_boundary(log.len().saturating_sub(SHOWN));
            eprintln!("---- log of {}:\n{}\n----", self.name, &log[start..]);
        }
    }
}

/// Runs a program to its end; gives what it printed.
///
/// # Panics
/// It cannot be started, or fails.
pub async fn output<A: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = A>) -> String {
    let done = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = done
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let (text, errors) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(
        done.status.success(),
        "{} ended with {}:\n{text}\n{errors}",
        program.display(),
        done.status
    );
    text.into_owned()
}
