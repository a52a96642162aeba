//! leno: write, build, push, attach and run filters; see what the mesh does.
//!
//! Each command is one module with a `run` function; what a command prints goes to stdout, everything about its
//! progress to stderr. Errors carry what to try next.

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

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::options::{Command, Options};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(code) => code,
        Err(error) => {
            failure::print(&error);
            ExitCode::FAILURE
        }
    }
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
        Command::Demo(command) => runtime()?.block_on(demo::run(command)),
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
        .init();
}
