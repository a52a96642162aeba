//! One reading in the making: who defines which object, and who may when several do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{Parsed, Refused, read_document, split};
use super::shown;
use crate::api::meta::Key;
use crate::world::{Place, Problem};

/// Kind and key.
pub(super) type Id = (String, Key);

/// An object, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) parsed: Parsed,
}

/// A place that may mean an object though it does not define it.
#[derive(Debug)]
struct Claim {
    file: PathBuf,
    line: usize,
    /// The place is the one that serves: nobody else takes its object meanwhile.
    is_firm: bool,
}

/// Files in, objects and problems out.
#[derive(Debug)]
pub(super) struct Round<'a> {
    root: &'a Path,
    /// What serves.
    good: &'a BTreeMap<Id, Held>,
    defined: BTreeMap<Id, Vec<Held>>,
    claims: BTreeMap<Id, Claim>,
    problems: Vec<Problem>,
}

/// What a round leads to.
#[derive(Debug)]
pub(super) struct Ended {
    /// By the place that serves where several define one.
    pub(super) objects: BTreeMap<Id, Held>,
    /// How many of them stand in good documents.
    pub(super) taken: usize,
    /// In order of place.
    pub(super) problems: Vec<Problem>,
}

impl<'a> Round<'a> {
    pub(super) fn new(root: &'a Path, good: &'a BTreeMap<Id, Held>) -> Self {
        Self {
            root,
            good,
            defined: BTreeMap::new(),
            claims: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// A file that could be read.
    pub(super) fn text(&mut self, file: &Path, text: &str) {
        let mut is_unidentified = false;
        for (first_line, text) in split(text) {
            match read_document(text) {
                Ok(None) => {}
                Ok(Some(parsed)) => self.defined.entry(parsed.id()).or_default().push(Held {
                    file: file.to_owned(),
                    line: first_line,
                    parsed,
                }),
                Err(refused) => is_unidentified |= !self.refused(file, first_line, refused),
            }
        }
        if is_unidentified {
            self.may_hold_all(file, true);
        }
    }

    /// A document that is not taken. Gives whether it is known which object it is.
    fn refused(&mut self, file: &Path, first_line: usize, refused: Refused) -> bool {
        let Refused {
            object,
            line,
            message,
        } = refused;
        let good = object.as_ref().and_then(|id| self.good.get(id));
        if let (Some(id), Some(good)) = (&object, good) {
            self.claim(id, file, first_line, good.file == file);
        }
        // A document that is not known by its name may be any of those that its file held: its kind or its name may be
        // what is wrong.
        let keeps_last_good = good.is_some() || self.good.values().any(|held| held.file == file);
        self.problems.push(Problem {
            place: self.place(file, first_line + line.saturating_sub(1)),
            keeps_last_good,
            object,
            message,
        });
        good.is_some()
    }

    /// A file that could not be read.
    pub(super) fn unreadable(&mut self, file: &Path, error: &std::io::Error) {
        self.may_hold_all(file, true);
        self.problems.push(Problem {
            place: self.place(file, 1),
            object: None,
            message: format!("cannot be read: {error}"),
            keeps_last_good: self.good.values().any(|held| held.file == file),
        });
    }

    /// What stood in this file last stays, unless (not `is_firm`) another file defines it now.
    pub(super) fn may_hold_all(&mut self, file: &Path, is_firm: bool) {
        let good = self.good;
        for (id, held) in good.iter().filter(|(_, held)| held.file == file) {
            self.claim(id, file, held.line, is_firm);
        }
    }

    fn claim(&mut self, id: &Id, file: &Path, line: usize, is_firm: bool) {
        let claim = Claim {
            file: file.to_owned(),
            line,
            is_firm,
        };
        match self.claims.get_mut(id) {
            Some(earlier) if earlier.is_firm || !is_firm => {}
            Some(earlier) => *earlier = claim,
            None => drop(self.claims.insert(id.clone(), claim)),
        }
    }

    pub(super) fn end(mut self) -> Ended {
        let mut objects = BTreeMap::new();
        let mut taken = 0;
        for (id, mut defined) in std::mem::take(&mut self.defined) {
            let good = self.good.get(&id);
            let claim = self.claims.get(&id).filter(|claim| claim.is_firm);
            let used = match (incumbent(good, &defined), good, claim) {
                (None, Some(good), Some(claim)) => claim.keeps(good),
                (at, ..) => {
                    taken += 1;
                    defined.remove(at.unwrap_or_default())
                }
            };
            for other in &defined {
                self.problems.push(Problem {
                    place: self.place(&other.file, other.line),
                    message: format!(
                        "is defined twice; the one at {} is used, remove one of them",
                        self.place(&used.file, used.line)
                    ),
                    object: Some(id.clone()),
                    keeps_last_good: false,
                });
            }
            objects.insert(id, used);
        }
        for (id, claim) in self.claims {
            if let Some(good) = self.good.get(&id) {
                objects.entry(id).or_insert_with(|| claim.keeps(good));
            }
        }
        self.problems.sort_by(|one, other| one.place.cmp(&other.place));
        Ended {
            objects,
            taken,
            problems: self.problems,
        }
    }

    fn place(&self, file: &Path, line: usize) -> Place {
        Place {
            file: shown(self.root, file),
            line,
        }
    }
}

impl Claim {
    fn keeps(&self, good: &Held) -> Held {
        Held {
            file: self.file.clone(),
            line: self.line,
            parsed: good.parsed.clone(),
        }
    }
}

/// Which of these is the one that serves: it stands in the same file, and says the same if several there do.
fn incumbent(good: Option<&Held>, defined: &[Held]) -> Option<usize> {
    let good = good?;
    let same_file = |held: &Held| held.file == good.file;
    defined
        .iter()
        .position(|held| same_file(held) && held.parsed == good.parsed)
        .or_else(|| defined.iter().position(same_file))
}
