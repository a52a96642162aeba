//! `leno-proxy`: the data plane as a program.

use std::process::ExitCode;

use clap::Parser as _;
use leno_proxy::options::Options;
use leno_proxy::server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Options::try_parse() {
        Ok(options) if options.accepted.hot_restart_version => {
            println!("disabled");
            ExitCode::SUCCESS
        }
        Ok(options) => server::run(options, Vec::new()),
        Err(error) => {
            // Where not even that can be told, the code says it. It is Envoy's.
            let _ = error.print();
            ExitCode::from(u8::from(error.use_stderr()))
        }
    }
}
