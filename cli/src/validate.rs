//! `leno validate`: reads documents as the control plane would, and says what it would refuse.

use std::process::ExitCode;

use anyhow::Context as _;
use leno_control_plane::folder::Folder;
use serde::Serialize;

use crate::options::Validate;
use crate::output;

#[derive(Serialize)]
struct Verdict {
    objects: usize,
    problems: Vec<Problem>,
    skipped: Vec<Skipped>,
}

#[derive(Serialize)]
struct Skipped {
    path: String,
    reason: String,
}

#[derive(Serialize)]
struct Problem {
    file: String,
    line: usize,
    object: Option<String>,
    message: String,
}

/// Exit code 0 when every document is good.
pub(crate) fn run(command: &Validate) -> anyhow::Result<ExitCode> {
    let mut verdict = Verdict {
        objects: 0,
        problems: Vec::new(),
        skipped: Vec::new(),
    };
    for path in &command.files {
        let reading = Folder::default()
            .read(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let world = &reading.world;
        verdict.objects += world.wasm_plugins.len()
            + world.gateways.len()
            + world.virtual_services.len()
            + world.service_entries.len()
            + world.destination_rules.len()
            + world.sidecars.len()
            + world.pull_secrets.len();
        verdict
            .problems
            .extend(reading.problems.iter().map(|problem| Problem {
                file: path.join(&problem.place.file).display().to_string(),
                line: problem.place.line,
                object: problem.object.as_ref().map(|(kind, key)| format!("{kind} {key}")),
                message: problem.message.clone(),
            }));
        verdict
            .skipped
            .extend(reading.skipped.iter().map(|skipped| Skipped {
                path: path.join(&skipped.path).display().to_string(),
                reason: skipped.reason.clone(),
            }));
    }
    output::print(command.output.output, &verdict, |verdict| {
        let mut lines: Vec<String> = verdict
            .problems
            .iter()
            .map(|problem| {
                let object = problem
                    .object
                    .as_ref()
                    .map(|object| format!("{object}: "))
                    .unwrap_or_default();
                format!("{}:{}: {object}{}", problem.file, problem.line, problem.message)
            })
            .collect();
        let skipped = verdict.skipped.iter();
        lines.extend(skipped.map(|skipped| format!("{}: {}", skipped.path, skipped.reason)));
        lines.push(format!(
            "{} objects are good, {} documents are refused",
            verdict.objects,
            verdict.problems.len()
        ));
        lines.join("\n")
    })?;
    Ok(if verdict.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
