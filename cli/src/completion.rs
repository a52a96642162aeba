//! Completion scripts.

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::options::{Completion, Options};
use crate::output::say;

pub(crate) fn run(command: &Completion) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Options::command(), "leno", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
