//! Completion scripts.

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::options::{Completion, Options};

pub(crate) fn run(command: &Completion) -> anyhow::Result<ExitCode> {
    clap_complete::generate(
        command.shell,
        &mut Options::command(),
        "leno",
        &mut std::io::stdout(),
    );
    Ok(ExitCode::SUCCESS)
}
