//! `leno test`: the crate's own tests natively, then its transcripts on what Envoy and Leno would run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Context as _;
use leno_sdk::host::PluginHost;
use leno_sdk::plugin::Plugin;
use leno_sdk::testing::Transcript;
use leno_wasm::{Engine, Limits, Module, PluginOptions, VmOptions, Worker};

use crate::build::{Built, build};
use crate::failure::failure;
use crate::options::Test;
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
    let transcripts = transcripts(&package.folder().join(FOLDER))?;
    if transcripts.is_empty() {
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

fn transcripts(folder: &Path) -> anyhow::Result<Vec<(PathBuf, Transcript)>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
        {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: PathBuf| -> anyhow::Result<(PathBuf, Transcript)> {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let transcript = serde_saphyr::from_str(&text)
            .with_context(|| format!("{} is not a transcript", path.display()))?;
        Ok((path, transcript))
    };
    paths.into_iter().map(read).collect()
}

/// Plays every transcript on one build; returns how many failed.
fn play(built: &Built, transcripts: &[(PathBuf, Transcript)]) -> anyhow::Result<usize> {
    let bytes = std::fs::read(&built.path).with_context(|| built.path.display().to_string())?;
    let engine = Engine::new(Limits::default())?;
    let module = engine
        .compile(&bytes)
        .with_context(|| built.path.display().to_string())?;
    println!("\ntranscripts on {}", built.abi);
    let mut failed = 0;
    for (path, transcript) in transcripts {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let worker = Worker::new(engine.clone());
        match transcript.run(|configuration, host| start(&worker, &module, configuration, host)) {
            Ok(()) => println!("  {name}: ok"),
            Err(differences) => {
                failed += 1;
                println!("  {name}: FAILED");
                for difference in differences {
                    println!("    {difference}");
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
