//! A folder of YAML as the world: reads every document, keeps the last good version of those that are wrong.

pub mod document;

mod scalar;

pub mod watch;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::api::meta::Key;
use crate::world::{Place, Problem, World};
use document::{Parsed, Refused, read_document, split};

/// What a folder holds: reads again and again, and remembers what was good.
#[derive(Debug, Default)]
pub struct Folder {
    /// The last good version of each object, and the file it came from.
    good: BTreeMap<(String, Key), (PathBuf, Parsed)>,
}

/// One reading of a folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// All objects, wrong ones by their last good version.
    pub world: World,
    /// What was wrong, in order of file and line.
    pub problems: Vec<Problem>,
}

impl Folder {
    /// Reads every `.yaml`, `.yml` and `.json` file below `root`, in order of path. Hidden files are left out.
    ///
    /// # Errors
    /// The folder itself cannot be listed. A file that cannot be read is a [`Problem`].
    pub fn read(&mut self, root: &Path) -> io::Result<Reading> {
        let mut files = Vec::new();
        list(root, &mut files)?;
        files.sort();
        let mut seen: BTreeMap<(String, Key), (PathBuf, Parsed, usize)> = BTreeMap::new();
        let mut problems = Vec::new();
        for file in &files {
            match std::fs::read_to_string(file) {
                Ok(text) => self.read_file(root, file, &text, &mut seen, &mut problems),
                Err(error) => {
                    self.keep_all_of(file, &mut seen);
                    problems.push(Problem {
                        place: Place {
                            file: shown(root, file),
                            line: 1,
                        },
                        object: None,
                        message: format!("cannot be read: {error}"),
                        keeps_last_good: seen.values().any(|(from, ..)| from == file),
                    });
                }
            }
        }
        self.good = seen
            .iter()
            .map(|(id, (file, parsed, _))| (id.clone(), (file.clone(), parsed.clone())))
            .collect();
        let mut world = World::default();
        for (file, parsed, _) in seen.into_values() {
            let _ = file;
            parsed.insert_into(&mut world);
        }
        problems.sort_by(|one, other| one.place.cmp(&other.place));
        Ok(Reading { world, problems })
    }

    fn read_file(
        &self,
        root: &Path,
        file: &Path,
        text: &str,
        seen: &mut BTreeMap<(String, Key), (PathBuf, Parsed, usize)>,
        problems: &mut Vec<Problem>,
    ) {
        let mut unidentified = false;
        for (first_line, text) in split(text) {
            let place = |line: usize| Place {
                file: shown(root, file),
                line,
            };
            match read_document(text) {
                Ok(None) => {}
                Ok(Some(parsed)) => {
                    let id = parsed.id();
                    if let Some((other, _, line)) = seen.get(&id) {
                        problems.push(Problem {
                            place: place(first_line),
                            message: format!(
                                "is defined twice; the one at {}:{line} is used, remove one of them",
                                shown(root, other).display()
                            ),
                            object: Some(id),
                            keeps_last_good: false,
                        });
                        continue;
                    }
                    seen.insert(id, (file.to_owned(), parsed, first_line));
                }
                Err(Refused {
                    object,
                    line,
                    message,
                }) => {
                    let last_good = object.as_ref().and_then(|id| self.good.get(id));
                    unidentified |= last_good.is_none();
                    if let (Some(id), Some((_, parsed))) = (&object, last_good)
                        && !seen.contains_key(id)
                    {
                        seen.insert(id.clone(), (file.to_owned(), parsed.clone(), first_line));
                    }
                    // A document that is not known by its name may be any of those that its file held: its kind or its
                    // name may be what is wrong.
                    let held = || self.good.values().any(|(from, _)| from == file);
                    problems.push(Problem {
                        place: place(first_line + line.saturating_sub(1)),
                        keeps_last_good: last_good.is_some() || held(),
                        object,
                        message,
                    });
                }
            }
        }
        if unidentified {
            self.keep_all_of(file, seen);
        }
    }

    fn keep_all_of(&self, file: &Path, seen: &mut BTreeMap<(String, Key), (PathBuf, Parsed, usize)>) {
        for (id, (from, parsed)) in &self.good {
            if from == file && !seen.contains_key(id) {
                seen.insert(id.clone(), (from.clone(), parsed.clone(), 1));
            }
        }
    }
}

/// The path as a user knows it: below the folder that was named.
fn shown(root: &Path, file: &Path) -> PathBuf {
    let below = file.strip_prefix(root).unwrap_or(file);
    if below.as_os_str().is_empty() {
        file.to_owned()
    } else {
        below.to_owned()
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if folder.is_file() {
        files.push(folder.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            list(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
        {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
