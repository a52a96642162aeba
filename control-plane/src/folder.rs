//! A folder of YAML as the world: reads every document, keeps the last good version of those that are wrong.

pub mod document;

mod round;

mod scalar;

mod scan;

pub mod watch;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::world::{Problem, World};
use round::{Held, Id, Round};

/// A file that became empty keeps its objects for this long: tools that save in two steps empty it first. Arbitrary.
const GRACE: Duration = Duration::from_secs(2);

/// What a folder holds: reads again and again, and remembers what was good.
#[derive(Debug, Default)]
pub struct Folder {
    /// The last good version of each object, and where it stood.
    good: BTreeMap<Id, Held>,
    /// Files that held something and are empty since then.
    emptied: BTreeMap<PathBuf, Instant>,
}

/// One reading of a folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// All objects, wrong ones by their last good version.
    pub world: World,
    /// How many documents were good.
    pub taken: usize,
    /// What was wrong, in order of file and line.
    pub problems: Vec<Problem>,
    /// What stands where documents do and was not read, in order of path.
    pub skipped: Vec<Skipped>,
}

/// What looks like a document or a folder of them, and was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Below the folder.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.path.display(), self.reason)
    }
}

impl Folder {
    /// Reads every `.yaml`, `.yml` and `.json` file below `root`, in order of path. Hidden files are left out.
    ///
    /// # Errors
    /// The folder itself cannot be listed. A file that cannot be read is a [`Problem`].
    pub fn read(&mut self, root: &Path) -> io::Result<Reading> {
        self.read_at(root, Instant::now())
    }

    /// When a reading may differ though nothing changed: a file has been empty for long enough.
    pub fn due(&self) -> Option<Instant> {
        self.emptied.values().min().map(|since| *since + GRACE)
    }

    fn read_at(&mut self, root: &Path, now: Instant) -> io::Result<Reading> {
        let emptied = std::mem::take(&mut self.emptied);
        let found = scan::scan(root)?;
        let mut round = Round::new(root, &self.good);
        for file in &found.files {
            match std::fs::read_to_string(file) {
                Ok(text) if text.trim().is_empty() => {
                    let held = self.good.values().filter(|held| held.file == *file).count();
                    let since = emptied.get(file).copied().unwrap_or(now);
                    if held > 0 && now < since + GRACE {
                        self.emptied.insert(file.clone(), since);
                        round.may_hold_all(file, false);
                    } else if held > 0 {
                        tracing::warn!(file = %shown(root, file).display(), objects = held, "the file is empty; its objects are removed");
                    }
                }
                Ok(text) => round.text(file, &text),
                // It went between the two looks: as if it had not been there.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && std::fs::symlink_metadata(file).is_err() => {}
                Err(error) => round.unreadable(file, &error),
            }
        }
        let ended = round.end();
        self.good = ended.objects;
        let mut world = World::default();
        for held in self.good.values() {
            held.parsed.clone().insert_into(&mut world);
        }
        let skipped = found.skipped.into_iter().map(|(path, reason)| Skipped {
            path: shown(root, &path),
            reason,
        });
        Ok(Reading {
            world,
            taken: ended.taken,
            problems: ended.problems,
            skipped: skipped.collect(),
        })
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

#[cfg(test)]
mod tests;
