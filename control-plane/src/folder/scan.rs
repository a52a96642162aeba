//! Which documents a folder holds: regular files only, and each folder once, whatever the links in it say.

use std::collections::HashMap;
use std::fs::{FileType, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In order of path.
    pub(super) files: Vec<PathBuf>,
    /// What looks like a document or a folder and is not read, and why.
    pub(super) skipped: Vec<(PathBuf, String)>,
}

/// Finds every `.yaml`, `.yml` and `.json` file below `root`, or `root` itself. What is hidden is left out.
///
/// # Errors
/// A folder cannot be listed.
pub(super) fn scan(root: &Path) -> io::Result<Found> {
    let metadata = std::fs::metadata(root)?;
    let mut scan = Scan::default();
    if metadata.is_file() {
        scan.found.files.push(root.to_owned());
        return Ok(scan.found);
    }
    if !metadata.is_dir() {
        let what = name_of(metadata.file_type());
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("is {what}, neither a file nor a folder"),
        ));
    }
    scan.folder(root, &metadata)?;
    // Links last: of two ways to one folder the real one gives the files their names.
    while let Some((link, metadata)) = scan.links.pop() {
        scan.folder(&link, &metadata)?;
    }
    let mut found = scan.found;
    found.files.sort();
    found.skipped.sort();
    Ok(found)
}

/// Differs when a reading may differ. `None` while the folder cannot be listed.
pub(super) fn fingerprint(root: &Path) -> Option<u64> {
    let found = scan(root).ok()?;
    let mut hasher = DefaultHasher::new();
    identity(&std::fs::metadata(root).ok()?).hash(&mut hasher);
    for file in &found.files {
        file.hash(&mut hasher);
        if let Ok(metadata) = std::fs::metadata(file) {
            identity(&metadata).hash(&mut hasher);
            (metadata.len(), metadata.mtime(), metadata.mtime_nsec()).hash(&mut hasher);
            (metadata.ctime(), metadata.ctime_nsec()).hash(&mut hasher);
        }
    }
    found.skipped.hash(&mut hasher);
    Some(hasher.finish())
}

#[derive(Default)]
struct Scan {
    found: Found,
    visited: HashMap<(u64, u64), PathBuf>,
    /// Links to folders that are still to be followed.
    links: Vec<(PathBuf, Metadata)>,
}

impl Scan {
    fn folder(&mut self, folder: &Path, metadata: &Metadata) -> io::Result<()> {
        if let Some(first) = self.visited.get(&identity(metadata)) {
            let reason = format!("leads to {} again, which is read once", first.display());
            self.found.skipped.push((folder.to_owned(), reason));
            return Ok(());
        }
        self.visited.insert(identity(metadata), folder.to_owned());
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("{}: {error}", folder.display());
                return Err(io::Error::new(error.kind(), message));
            }
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            self.entry(entry.path(), entry.file_type()?.is_symlink())?;
        }
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, is_link: bool) -> io::Result<()> {
        let is_document = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() && is_link => self.links.push((path, metadata)),
            Ok(metadata) if metadata.is_dir() => self.folder(&path, &metadata)?,
            Ok(_) if !is_document => {}
            Ok(metadata) if !metadata.is_file() => {
                let what = name_of(metadata.file_type());
                let reason = format!("is {what}, not a regular file, and is not read");
                self.found.skipped.push((path, reason));
            }
            // One that cannot be looked at cannot be read either; the reader says why.
            Ok(_) | Err(_) if is_document => self.found.files.push(path),
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn name_of(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}
