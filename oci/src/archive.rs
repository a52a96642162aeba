//! Layers as the OCI image specification stacks them: the module of one, unless a layer above deletes or replaces it.
//!
//! image-spec, layer.md: `.wh.NAME` deletes NAME of the layers below, `.wh..wh..opq` all that they have in its folder;
//! neither touches its own layer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::unpack::{UnpackError, classify, read_all};

/// Archives with more entries than this are not somebody's filter.
const MAX_ENTRIES: usize = 100_000;
/// What all names of the layers above may take in memory; arbitrary, far above any image.
const MAX_NAMES: usize = 32 * 1024 * 1024;
/// A link may lead to a link; a chain longer than this is a loop.
const MAX_LINKS: usize = 8;
const MODULE_NAME: &str = "plugin.wasm";
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// What the layers above hide of those below.
#[derive(Debug, Default)]
pub(crate) struct Above {
    /// Names that are deleted or taken; true where all below the name is hidden too: all but folders.
    taken: BTreeMap<PathBuf, bool>,
    /// Folders of which nothing shows.
    opaque: BTreeSet<PathBuf>,
    size: usize,
}

impl Above {
    fn hides(&self, path: &Path) -> bool {
        // Names sort by their components: what stands below `path` follows it directly.
        let at_or_below = self.taken.range(path.to_owned()..).next();
        at_or_below.is_some_and(|(taken, _)| taken.starts_with(path))
            || path.ancestors().skip(1).any(|folder| {
                self.opaque.contains(folder) || self.taken.get(folder).is_some_and(|whole| *whole)
            })
    }

    /// Notes what one entry hides; true for a file that is there, false for a mark of what is not.
    fn learn(&mut self, path: &Path, is_folder: bool) -> Result<bool, UnpackError> {
        self.size += path.as_os_str().len();
        if self.size > MAX_NAMES {
            return Err(damaged("the names of its entries are too long"));
        }
        let name = path.file_name().map(|name| name.to_string_lossy());
        let Some(name) = name else {
            return Ok(false);
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        match name.strip_prefix(WHITEOUT) {
            _ if name == OPAQUE => {
                self.opaque.insert(folder.to_owned());
            }
            // `.wh..wh.` are the notes of a file system to itself.
            Some(rest) if rest.is_empty() || rest.starts_with(WHITEOUT) => {}
            Some(deleted) => {
                self.taken.insert(folder.join(deleted), true);
            }
            None => {
                *self.taken.entry(path.to_owned()).or_default() |= !is_folder;
                return Ok(!is_folder);
            }
        }
        Ok(false)
    }

    fn join(&mut self, below: Above) {
        self.opaque.extend(below.opaque);
        self.size += below.size;
        for (path, whole) in below.taken {
            *self.taken.entry(path).or_default() |= whole;
        }
    }
}

/// The module of an archive: `plugin.wasm` in any folder, else the only `.wasm` file; `open` reads it from its start.
pub(crate) fn module<R: Read>(
    open: impl Fn() -> Result<R, UnpackError>,
    limit: u64,
    above: &mut Above,
) -> Result<Bytes, UnpackError> {
    let mut own = Above::default();
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut plugin: Option<Candidate> = None;
    each(open()?, limit, |path, entry| {
        let kind = entry.header().entry_type();
        let is_there = own.learn(&path, kind.is_dir())?;
        if !is_there || above.hides(&path) {
            return Ok(true);
        }
        let named = path.file_name().is_some_and(|name| name == MODULE_NAME);
        // A second one makes the choice impossible: no need for a third.
        let other = path.extension().is_some_and(|extension| extension == "wasm") && candidates.len() < 2;
        if !named && !other {
            return Ok(true);
        }
        let candidate = if kind.is_file() {
            Candidate::File(path, read_entry(entry, limit)?)
        } else if let (true, Some(target)) = (kind.is_hard_link(), entry.link_name().ok().flatten()) {
            Candidate::Link(normal(&target))
        } else {
            return Ok(true);
        };
        match &candidate {
            _ if named => plugin = Some(candidate),
            // Another name of the same file is no other module.
            Candidate::Link(target) if candidates.iter().any(|other| other.is_at(target)) => {}
            _ => candidates.push(candidate),
        }
        Ok(plugin.is_none())
    })?;
    let chosen = match (plugin, candidates.len()) {
        (Some(plugin), _) => Some(plugin),
        (None, 1) => candidates.pop(),
        (None, _) => None,
    };
    match chosen {
        Some(Candidate::File(_, bytes)) => Ok(bytes),
        Some(Candidate::Link(target)) => linked(open, limit, target),
        None => {
            above.join(own);
            Err(UnpackError::Absent)
        }
    }
}

enum Candidate {
    File(PathBuf, Bytes),
    /// A second name for this file of the same archive.
    Link(PathBuf),
}

impl Candidate {
    fn is_at(&self, path: &Path) -> bool {
        match self {
            Candidate::File(own, _) => own == path,
            Candidate::Link(target) => target == path,
        }
    }
}

/// The file that a hard link names; it stands in the same archive, before the link.
fn linked<R: Read>(
    open: impl Fn() -> Result<R, UnpackError>,
    limit: u64,
    mut target: PathBuf,
) -> Result<Bytes, UnpackError> {
    for _ in 0..MAX_LINKS {
        let mut found = None;
        each(open()?, limit, |path, entry| {
            if path != target {
                return Ok(true);
            }
            let kind = entry.header().entry_type();
            if kind.is_file() {
                found = Some(Candidate::File(path, read_entry(entry, limit)?));
            } else if let (true, Some(next)) = (kind.is_hard_link(), entry.link_name().ok().flatten()) {
                found = Some(Candidate::Link(normal(&next)));
            }
            Ok(found.is_none())
        })?;
        match found {
            Some(Candidate::File(_, bytes)) => return Ok(bytes),
            Some(Candidate::Link(next)) => target = next,
            None => break,
        }
    }
    Err(damaged(&format!(
        "the module is a hard link to {}, and the archive has no such file",
        target.display()
    )))
}

/// Tells `visit` each entry until it has seen enough.
fn each<R: Read>(
    stream: R,
    limit: u64,
    mut visit: impl FnMut(PathBuf, &mut tar::Entry<'_, R>) -> Result<bool, UnpackError>,
) -> Result<(), UnpackError> {
    let mut archive = tar::Archive::new(stream);
    for (count, entry) in archive
        .entries()
        .map_err(|error| classify(error, limit))?
        .enumerate()
    {
        let mut entry = entry.map_err(|error| classify(error, limit))?;
        if count >= MAX_ENTRIES {
            return Err(damaged(&format!("more than {MAX_ENTRIES} entries")));
        }
        let path = normal(&entry.path().map_err(|error| classify(error, limit))?);
        if !visit(path, &mut entry)? {
            break;
        }
    }
    Ok(())
}

/// `./a`, `/a` and `a` are the same file of an image; nothing stands above its root.
fn normal(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => whole.push(name),
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    whole
}

/// The tar reader takes the end of an archive inside a file for the end of the file.
fn read_entry(entry: &mut tar::Entry<'_, impl Read>, limit: u64) -> Result<Bytes, UnpackError> {
    let size = entry.size();
    let bytes = read_all(entry, limit)?;
    match bytes.len() as u64 == size {
        true => Ok(bytes),
        false => Err(UnpackError::Damaged(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

fn damaged(reason: &str) -> UnpackError {
    UnpackError::Damaged(std::io::Error::other(reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 64 * 1024;

    /// One entry of an archive, by what it is.
    enum Made<'a> {
        File(&'a str, &'a [u8]),
        Folder(&'a str),
        Hard(&'a str, &'a str),
        Soft(&'a str, &'a str),
    }
    use Made::{File, Folder, Hard, Soft};

    fn tar(entries: &[Made<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(0);
            let mut link = |kind, name: &str, target: &str| {
                header.set_entry_type(kind);
                builder.append_link(&mut header, name, target).unwrap();
            };
            match entry {
                Hard(name, target) => link(tar::EntryType::Link, name, target),
                Soft(name, target) => link(tar::EntryType::Symlink, name, target),
                Folder(name) => {
                    header.set_entry_type(tar::EntryType::Directory);
                    builder.append_data(&mut header, name, std::io::empty()).unwrap();
                }
                File(name, content) => {
                    header.set_size(content.len() as u64);
                    builder.append_data(&mut header, name, *content).unwrap();
                }
            }
        }
        builder.into_inner().unwrap()
    }

    /// The module of an image, whose layers are given from the base up as a manifest has them.
    fn check(layers: &[&[Made<'_>]], expected: Result<&str, &str>) {
        let mut above = Above::default();
        let mut found = Err("no layer".to_owned());
        for layer in layers.iter().rev() {
            let archive = tar(layer);
            found = match module(|| Ok(archive.as_slice()), LIMIT, &mut above) {
                Ok(bytes) => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
                Err(error) => Err(error.to_string()),
            };
            if !matches!(&found, Err(reason) if reason.contains("neither plugin.wasm")) {
                break;
            }
        }
        match (found, expected) {
            (Ok(found), expected) => assert_eq!(Ok(found.as_str()), expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (Err(found), Ok(_)) => panic!("{found}"),
        }
    }

    const ABSENT: Result<&str, &str> = Err("neither plugin.wasm");

    #[test]
    fn a_deleted_module_does_not_serve() {
        let old: &[Made<'_>] = &[File("old.wasm", b"old")];
        check(
            &[old, &[File(".wh.old.wasm", b""), File("new.wasm", b"new")]],
            Ok("new"),
        );
        check(&[old, &[File("readme", b"x")]], Ok("old"));
        check(&[old, &[File(".wh.old.wasm", b"")]], ABSENT);
        check(
            &[old, &[File("./.wh.old.wasm", b"")], &[File("readme", b"x")]],
            ABSENT,
        );
        check(&[&[File(".wh.plugin.wasm", b"")]], ABSENT);
    }

    #[test]
    fn a_deleted_folder_takes_its_module_along() {
        let app: &[Made<'_>] = &[Folder("app/"), File("app/x/plugin.wasm", b"old")];
        check(&[app, &[File(".wh.app", b"")]], ABSENT);
        check(&[app, &[File("app/.wh.x", b"")]], ABSENT);
        check(&[app, &[File("app/.wh.y", b"")]], Ok("old"));
        check(&[app, &[File(".wh.ap", b"")]], Ok("old"));
        // Deleted and made again in one layer: what is below stays hidden.
        check(&[app, &[File(".wh.app", b""), Folder("app/")]], ABSENT);
        check(&[app, &[Folder("app/")]], Ok("old"));
    }

    #[test]
    fn an_opaque_folder_shows_nothing_of_below() {
        let app: &[Made<'_>] = &[File("app/plugin.wasm", b"old"), File("b/x.wasm", b"b")];
        check(&[app, &[File("app/.wh..wh..opq", b"")]], Ok("b"));
        check(&[app, &[File(".wh..wh..opq", b"")]], ABSENT);
        check(&[app, &[File("app/x/.wh..wh..opq", b"")]], Ok("old"));
        // It says nothing about its own layer, wherever it stands in it.
        let own: &[Made<'_>] = &[File("app/new.wasm", b"new"), File("app/.wh..wh..opq", b"")];
        check(&[app, own], Ok("new"));
        check(&[app, &[File("app/.wh..wh.plnk", b"")]], Ok("old"));
    }

    #[test]
    fn a_name_that_is_taken_hides_what_had_it() {
        let app: &[Made<'_>] = &[File("app/plugin.wasm", b"old")];
        check(&[app, &[File("app", b"now a file")]], ABSENT);
        check(&[app, &[Soft("app/plugin.wasm", "/etc/passwd")]], ABSENT);
        check(&[app, &[File("app/plugin.wasm/readme", b"")]], ABSENT);
        check(&[app, &[File("app/plugin.wasm-notes", b"")]], Ok("old"));
    }

    #[test]
    fn does_not_guess_between_modules() {
        check(&[&[File("a.wasm", b"a"), File("b.wasm", b"b")]], ABSENT);
        check(&[&[File("readme", b"x")]], ABSENT);
        check(&[&[Soft("plugin.wasm", "/etc/passwd")]], ABSENT);
    }

    #[test]
    fn a_hard_link_is_the_file_that_it_names() {
        let linked: &[Made<'_>] = &[File("build/out", b"m"), Hard("plugin.wasm", "./build/out")];
        check(&[linked], Ok("m"));
        check(&[&[File("a.wasm", b"a"), Hard("b.wasm", "a.wasm")]], Ok("a"));
        let twice: &[Made<'_>] = &[
            File("out", b"m"),
            Hard("again", "out"),
            Hard("plugin.wasm", "again"),
        ];
        check(&[twice], Ok("m"));
        check(
            &[&[Hard("plugin.wasm", "/etc/passwd")]],
            Err("hard link to etc/passwd"),
        );
        let around: &[Made<'_>] = &[Hard("plugin.wasm", "b"), Hard("b", "plugin.wasm")];
        check(&[around], Err("hard link to"));
    }
}
