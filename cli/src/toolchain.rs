//! cargo and rustup: found, asked, and made to have a target.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::Context as _;

use crate::failure::failure;
use crate::output::note;

/// The target of Proxy-Wasm modules.
pub(crate) const PROXY_WASM_TARGET: &str = "wasm32-wasip1";
/// The target of the core modules that become components.
pub(crate) const COMPONENT_TARGET: &str = "wasm32-unknown-unknown";

/// cargo, as the one that runs us if we are run by one.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Starts a tool and says how to get it when it is missing.
pub(crate) fn missing_tool(error: std::io::Error, tool: &OsStr) -> anyhow::Error {
    let tool = tool.to_string_lossy();
    match error.kind() {
        std::io::ErrorKind::NotFound => failure(
            format!("{tool} is not installed or not in PATH"),
            "install Rust from https://rustup.rs",
        ),
        _ => anyhow::Error::new(error).context(format!("cannot start {tool}")),
    }
}

/// Runs a tool to its end and gives its output; its stderr is the error.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<Output> {
    let output = command
        .output()
        .map_err(|error| missing_tool(error, command.get_program()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!(
            "{} failed ({}): {}",
            command.get_program().to_string_lossy(),
            output.status,
            words.trim()
        );
    }
    Ok(output)
}

/// Adds a target to the toolchain unless it has it.
pub(crate) fn ensure_target(target: &str) -> anyhow::Result<()> {
    if sysroot()?.join("lib/rustlib").join(target).join("lib").is_dir() {
        return Ok(());
    }
    note(format!("adding the Rust target {target}"));
    let mut rustup = Command::new("rustup");
    let result = output(rustup.args(["target", "add", target]));
    result.map(|_| ()).map_err(|error| {
        failure(
            format!("the Rust target {target} is missing and could not be added: {error}"),
            format!("run `rustup target add {target}`, or install it with your system's packages"),
        )
    })
}

fn sysroot() -> anyhow::Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = output(Command::new(rustc).args(["--print", "sysroot"]))?;
    let path =
        String::from_utf8(output.stdout).context("rustc names its folder in something else than UTF-8")?;
    Ok(PathBuf::from(path.trim()))
}
