//! leno: write, build, push, attach and run filters; see what the mesh does.
//!
//! Each command is one module with a `run` function; what a command prints goes to stdout, everything about its
//! progress to stderr, both through [`output`]. Errors carry what to try next.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod options;

mod new;

mod build;

mod test;

mod artifact;

mod run;

mod demo;

mod validate;

mod status;

mod proxy;

mod completion;

mod failure;

mod output;

mod package;

mod progress;

mod toolchain;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::options::{Command, Options};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a shell reports of a program that SIGPIPE has ended: 128 and the signal's number.
const PIPE_CLOSED: u8 = 141;

fn main() -> ExitCode {
    let done = match Options::try_parse() {
        Ok(options) => run(options),
        Err(said) => help(&said),
    };
    match done {
        Ok(code) => code,
        Err(error) if error.is::<output::Closed>() => ExitCode::from(PIPE_CLOSED),
        Err(error) => {
            failure::print(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints what clap says instead of running a command: help to stdout, what is wrong to stderr.
fn help(said: &clap::Error) -> anyhow::Result<ExitCode> {
    let printed = said.print().and_then(|()| std::io::stdout().flush());
    if !said.use_stderr() {
        output::check_written(printed)?;
    }
    Ok(ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(u8::MAX)))
}

fn run(options: Options) -> anyhow::Result<ExitCode> {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match options.command {
        Command::New(command) => new::run(&command),
        Command::Build(command) => build::run(&command),
        Command::Test(command) => test::run(&command),
        Command::Push(command) => runtime()?.block_on(artifact::push::run(command)),
        Command::Pull(command) => runtime()?.block_on(artifact::pull::run(command)),
        Command::Inspect(command) => runtime()?.block_on(artifact::inspect::run(command)),
        Command::Verify(command) => runtime()?.block_on(artifact::verify::run(command)),
        Command::Tags(command) => runtime()?.block_on(artifact::tags(command)),
        Command::Login(command) => artifact::login(&command),
        Command::Run(command) => {
            log();
            runtime()?.block_on(run::run(command))
        }
        Command::Demo(command) => demo::run(&command, runtime()?),
        Command::Validate(command) => validate::run(&command),
        Command::ProxyStatus(command) => runtime()?.block_on(status::run(command)),
        Command::ProxyConfig(command) => runtime()?.block_on(proxy::config::run(command)),
        Command::Completion(command) => completion::run(&command),
        Command::Version(command) => output::version(&command),
    }
}

/// Commands that serve write a log; `LENO_LOG` says what, as tracing's EnvFilter reads it.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LENO_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // It would say so on stderr, which is what is broken then.
        .log_internal_errors(false)
        .init();
}
