//! `leno validate`: reads documents as the control plane would, and says what it would refuse.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use leno_control_plane::api::meta::Key;
use leno_control_plane::folder::Folder;
use leno_control_plane::folder::document::{read_document, split};
use leno_control_plane::world::World;
use serde::Serialize;

use crate::failure::failure;
use crate::options::Validate;
use crate::output;

/// Kind and key of an object.
type Id = (&'static str, Key);

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
    let mut known: BTreeMap<Id, &Path> = BTreeMap::new();
    for path in &command.files {
        let reading = Folder::default().read(path).map_err(|error| {
            failure(
                format!("{} cannot be read: {error}", path.display()),
                "check the path: a file, or a folder of documents",
            )
        })?;
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
        for id in ids(&reading.world) {
            match known.get(&id) {
                None => {
                    known.insert(id, path);
                    verdict.objects += 1;
                }
                Some(before) => verdict.problems.extend(twice(before, path, &id)),
            }
        }
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

/// Every object of a world.
pub(crate) fn ids(world: &World) -> Vec<Id> {
    fn of<'a, T: 'a>(
        kind: &'static str,
        objects: &'a BTreeMap<Key, T>,
    ) -> impl Iterator<Item = Id> + use<'a, T> {
        objects.keys().map(move |key| (kind, key.clone()))
    }
    of("WasmPlugin", &world.wasm_plugins)
        .chain(of("Gateway", &world.gateways))
        .chain(of("VirtualService", &world.virtual_services))
        .chain(of("ServiceEntry", &world.service_entries))
        .chain(of("DestinationRule", &world.destination_rules))
        .chain(of("Sidecar", &world.sidecars))
        .chain(of("Secret", &world.pull_secrets))
        .collect()
}

/// An object that two of the paths define; the same file by two ways is no second definition.
fn twice(before: &Path, path: &Path, id: &Id) -> Option<Problem> {
    let (first, first_line) = find(before, id).unwrap_or((before.to_owned(), 1));
    let (second, line) = find(path, id).unwrap_or((path.to_owned(), 1));
    let same = |one: &Path, other: &Path| one.canonicalize().ok() == other.canonicalize().ok();
    if same(&first, &second) {
        return None;
    }
    Some(Problem {
        file: second.display().to_string(),
        line,
        object: Some(format!("{} {}", id.0, id.1)),
        message: format!(
            "is defined twice; the other one is at {}:{first_line}, remove one of them",
            first.display()
        ),
    })
}

/// The file and the line where an object begins.
fn find(path: &Path, id: &Id) -> Option<(PathBuf, usize)> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        entries.sort();
        let is_hidden = |path: &Path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'))
        };
        let is_document = |path: &Path| {
            let end = path.extension().and_then(|end| end.to_str());
            end.is_some_and(|end| ["yaml", "yml", "json"].contains(&end))
        };
        // A link to a folder may lead around; what it holds is then named by the path that was given.
        return entries
            .iter()
            .filter(|entry| !is_hidden(entry))
            .filter(|entry| match entry.is_dir() {
                true => !entry.is_symlink(),
                false => entry.is_file() && is_document(entry),
            })
            .find_map(|entry| find(entry, id));
    }
    let text = std::fs::read_to_string(path).ok()?;
    let is_it = |text: &str| {
        read_document(text)
            .ok()
            .flatten()
            .is_some_and(|parsed| parsed.id() == (id.0.to_owned(), id.1.clone()))
    };
    let found = split(&text).into_iter().find(|(_, text)| is_it(text));
    found.map(|(line, _)| (path.to_owned(), line))
}
