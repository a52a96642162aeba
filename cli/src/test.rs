//! `leno test`: the crate's own tests natively, then its transcripts on what Envoy and Leno would run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Context as _;
use leno_sdk::host::PluginHost;
use leno_sdk::plugin::Plugin;
use leno_sdk::testing::{Transcript, transcripts};
use leno_wasm::{Engine, Limits, Module, PluginOptions, VmOptions, Worker};

use crate::build::{Built, build};
use crate::failure::failure;
use crate::options::Test;
use crate::output::say;
use crate::package::Package;
use crate::toolchain::{cargo, missing_tool};

/// Where a filter keeps its transcripts.
const FOLDER: &str = "transcripts";

pub(crate) fn run(command: &Test) -> anyhow::Result<ExitCode> {
    let package = Package::find(&command.package)?;
    let mut test = cargo();
    test.args(["test", "--manifest-path"])
        .arg(&package.manifest)
        .arg("--")
        .args(&command.arguments);
    let status = test
        .status()
        .map_err(|error| missing_tool(error, test.get_program()))?;
    if !status.success() {
        return Err(failure(
            format!("the tests of {} fail", package.name),
            "correct what cargo says above",
        ));
    }
    let folder = package.folder().join(FOLDER);
    let transcripts = if folder.is_dir() {
        transcripts(&folder).map_err(|error| failure(error, "correct it, and test again"))?
    } else {
        Vec::new()
    };
    if transcripts.is_empty() {
        say(format!(
            "there are no transcripts in {}: the Wasm builds are not tested",
            folder.display()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut failed = 0;
    for built in build(&package, command.abi, package.profile)? {
        failed += play(&built, &transcripts)?;
    }
    match failed {
        0 => Ok(ExitCode::SUCCESS),
        _ => Err(failure(
            format!("{failed} transcripts fail"),
            "compare them with what the filter does",
        )),
    }
}

/// Plays every transcript on one build; returns how many failed.
fn play(built: &Built, transcripts: &[(PathBuf, Transcript)]) -> anyhow::Result<usize> {
    let bytes = std::fs::read(&built.path).with_context(|| built.path.display().to_string())?;
    let engine = Engine::new(Limits::default())?;
    let module = engine
        .compile(&bytes)
        .with_context(|| built.path.display().to_string())?;
    say(format!("\ntranscripts on {}", built.abi))?;
    let mut failed = 0;
    for (path, transcript) in transcripts {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let worker = Worker::new(engine.clone());
        match transcript.run(|configuration, host| start(&worker, &module, configuration, host)) {
            Ok(()) => say(format!("  {name}: ok"))?,
            Err(differences) => {
                failed += 1;
                say(format!("  {name}: FAILED"))?;
                for difference in differences {
                    say(format!("    {difference}"))?;
                }
            }
        }
    }
    Ok(failed)
}

fn start(
    worker: &Worker,
    module: &Module,
    configuration: &[u8],
    host: Rc<dyn PluginHost>,
) -> Result<Rc<dyn Plugin>, String> {
    let options = PluginOptions {
        configuration: configuration.to_vec(),
        ..PluginOptions::default()
    };
    worker
        .plugin(module, &VmOptions::default(), &options, host)
        .map_err(|error| error.to_string())
}
