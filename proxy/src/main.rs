//! `leno-proxy`: the data plane as a program.

use std::process::ExitCode;

use clap::Parser as _;
use leno_proxy::options::Options;
use leno_proxy::server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    server::run(Options::parse(), Vec::new())
}
