//! The task runner: `cargo xtask demo | test | tidy | gen | guests | new-filter | bench`.

mod demo;
mod guests;
mod new_filter;
mod prerequisites;
mod shell;
mod suite;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask TASK

  demo [--check] [--release]  the main job with embedded defaults; leaves the mesh running unless --check
  test [--quick]              format, tidy, lints, docs and every test; --quick leaves out demo and examples
  tidy                        edges between crates, licences, sources, unused dependencies, layout
  gen [--check]               derives what is generated; --check fails when it is not up to date
  guests                      builds the stage filters to Wasm, for both ABIs
  new-filter NAME             a new crate in filters/ from the template of `leno new`
  bench [leno-bench flags]    micro benches, and peers side by side under load
  install                     what test needs besides cargo: wasm targets, Debian packages, a venv with Envoy
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["demo", flags @ ..] => demo::demo(flags),
        ["test", flags @ ..] => suite::test(flags),
        ["tidy"] => tidy::tidy(),
        ["gen", flags @ ..] => suite::generate(flags),
        ["guests"] => guests::build().map(drop),
        ["new-filter", name] => new_filter::new_filter(name),
        ["bench", flags @ ..] => suite::bench(flags),
        ["install"] => prerequisites::for_tests().map(drop),
        _ => {
            eprint!("{USAGE}");
            return if words.is_empty() || words == ["help"] || words == ["--help"] {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(2)
            };
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
