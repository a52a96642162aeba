//! Running other programs, and saying what runs.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// What a task gives: nothing, or why it stopped.
pub(crate) type Done<T = ()> = Result<T, String>;

/// The checkout.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(PathBuf::from).unwrap_or(manifest)
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Cargo, in the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command to its end with its output shown.
pub(crate) fn run(command: &mut Command) -> Done {
    let line = line_of(command);
    eprintln!("\x1b[1m$ {line}\x1b[0m");
    let start = Instant::now();
    let status = command.status().map_err(|error| format!("{line}: {error}"))?;
    if status.success() {
        eprintln!("  took {:.1} s", start.elapsed().as_secs_f64());
        return Ok(());
    }
    Err(format!("`{line}` ended with {status}"))
}

/// Runs a command to its end and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Done<String> {
    let line = line_of(command);
    let output = command.output().map_err(|error| format!("{line}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "`{line}` ended with {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Whether a program can be started.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
