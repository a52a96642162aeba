//! The registry's folder.
//!
//! ```text
//! blobs/HEX                              content of every repository
//! repositories/A+B/blobs/HEX             empty: the repository has this blob
//! repositories/A+B/manifests/HEX         media type of a manifest whose bytes are the blob HEX
//! repositories/A+B/tags/TAG              digest
//! repositories/A+B/referrers/HEX/HEX     descriptor of a manifest about the first one
//! repositories/A+B/uploads/ID            bytes of an upload that goes on
//! ```

use std::collections::HashSet;
use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use leno_oci::digest::{Digest, Hasher};
use leno_oci::manifest::Descriptor;

use super::path::Repository;

pub(super) struct Folder {
    root: PathBuf,
    /// Uploads that a request is writing to right now.
    busy: Mutex<HashSet<String>>,
}

impl Folder {
    pub(super) fn open(root: PathBuf) -> std::io::Result<Folder> {
        std::fs::create_dir_all(root.join("blobs"))?;
        std::fs::create_dir_all(root.join("repositories"))?;
        Ok(Folder {
            root,
            busy: Mutex::default(),
        })
    }

    pub(super) fn repositories(&self) -> std::io::Result<Vec<String>> {
        let names = names_in(&self.root.join("repositories"))?;
        let mut found: Vec<String> = names
            .iter()
            .filter(|name| self.root.join("repositories").join(name).join("tags").is_dir())
            .filter_map(|name| Some(Repository::from_folder(name)?.as_str().to_owned()))
            .collect();
        found.sort();
        Ok(found)
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    /// The content of a blob that `repository` has.
    pub(super) fn blob(&self, repository: &Repository, digest: &Digest) -> Option<PathBuf> {
        let path = self.blob_path(digest);
        (self.part(repository, "blobs").join(digest.hex()).is_file() && path.is_file()).then_some(path)
    }

    /// Makes a blob of one repository visible in another, without a copy.
    pub(super) fn mount(&self, from: &Repository, to: &Repository, digest: &Digest) -> std::io::Result<bool> {
        match self.blob(from, digest) {
            None => Ok(false),
            Some(_) => self.link(to, digest).map(|()| true),
        }
    }

    /// Keeps bytes whose digest the caller computed.
    pub(super) fn put_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        self.write(&self.blob_path(digest), bytes)?;
        self.link(repository, digest)
    }

    /// Turns a finished upload into a blob if its digest is right; else says what it is.
    pub(super) fn finish_upload(
        &self,
        repository: &Repository,
        id: &str,
        expected: &Digest,
    ) -> std::io::Result<Result<(), Digest>> {
        let path = self.upload(repository, id);
        let actual = hash_file(&path)?;
        if actual != *expected {
            return Ok(Err(actual));
        }
        std::fs::File::open(&path)?.sync_all()?;
        let blob = self.blob_path(expected);
        std::fs::rename(&path, &blob)?;
        sync_parent(&blob)?;
        self.link(repository, expected)?;
        Ok(Ok(()))
    }

    pub(super) fn manifest_type(&self, repository: &Repository, digest: &Digest) -> Option<String> {
        std::fs::read_to_string(self.part(repository, "manifests").join(digest.hex())).ok()
    }

    pub(super) fn put_manifest_type(
        &self,
        repository: &Repository,
        digest: &Digest,
        media_type: &str,
    ) -> std::io::Result<()> {
        self.write(
            &self.part(repository, "manifests").join(digest.hex()),
            media_type.as_bytes(),
        )
    }

    pub(super) fn tag(&self, repository: &Repository, tag: &str) -> Option<Digest> {
        let text = std::fs::read_to_string(self.part(repository, "tags").join(tag)).ok()?;
        Digest::parse(text.trim()).ok()
    }

    pub(super) fn put_tag(&self, repository: &Repository, tag: &str, digest: &Digest) -> std::io::Result<()> {
        self.write(
            &self.part(repository, "tags").join(tag),
            digest.to_string().as_bytes(),
        )
    }

    /// The tags in lexical order; `None` when there is no such repository.
    pub(super) fn tags(&self, repository: &Repository) -> std::io::Result<Option<Vec<String>>> {
        if !self.root.join("repositories").join(repository.folder()).is_dir() {
            return Ok(None);
        }
        let mut tags = names_in(&self.part(repository, "tags"))?;
        tags.sort();
        Ok(Some(tags))
    }

    pub(super) fn put_referrer(
        &self,
        repository: &Repository,
        subject: &Digest,
        referrer: &Descriptor,
    ) -> std::io::Result<()> {
        let name = referrer
            .digest()
            .map_err(|error| Error::new(ErrorKind::InvalidData, error))?
            .hex();
        let path = self.part(repository, "referrers").join(subject.hex()).join(name);
        self.write(&path, &serde_json::to_vec(referrer)?)
    }

    pub(super) fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> std::io::Result<Vec<Descriptor>> {
        let folder = self.part(repository, "referrers").join(subject.hex());
        let mut names = names_in(&folder)?;
        names.sort();
        let read = |name: &String| serde_json::from_slice(&std::fs::read(folder.join(name)).ok()?).ok();
        Ok(names.iter().filter_map(read).collect())
    }

    /// Begins an upload and returns its id; forgets those of this repository that nobody goes on with.
    pub(super) fn begin_upload(&self, repository: &Repository, expiry: Duration) -> std::io::Result<String> {
        let folder = self.part(repository, "uploads");
        std::fs::create_dir_all(&folder)?;
        let now = SystemTime::now();
        for name in names_in(&folder)? {
            let path = folder.join(&name);
            let used = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
            let expired = used.is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age > expiry));
            if expired && !self.is_busy(&name) {
                // A request that came meanwhile may have finished it.
                let _ = std::fs::remove_file(&path);
            }
        }
        let (_, path) = tempfile::Builder::new()
            .prefix("")
            .rand_bytes(32)
            .tempfile_in(&folder)?
            .keep()?;
        let name = path.file_name().and_then(|name| name.to_str());
        name.map(str::to_owned)
            .ok_or_else(|| Error::other("upload without a name"))
    }

    pub(super) fn upload(&self, repository: &Repository, id: &str) -> PathBuf {
        self.part(repository, "uploads").join(id)
    }

    /// The right to write to an upload, until dropped; `None` while another request has it.
    pub(super) fn claim(&self, id: &str) -> Option<Claim<'_>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(id.to_owned()).then(|| Claim {
            folder: self,
            id: id.to_owned(),
        })
    }

    fn is_busy(&self, id: &str) -> bool {
        self.busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(id)
    }

    fn link(&self, repository: &Repository, digest: &Digest) -> std::io::Result<()> {
        self.write(&self.part(repository, "blobs").join(digest.hex()), b"")
    }

    fn part(&self, repository: &Repository, part: &str) -> PathBuf {
        self.root
            .join("repositories")
            .join(repository.folder())
            .join(part)
    }

    /// Whole or not at all, also after a crash.
    fn write(&self, path: &Path, content: &[u8]) -> std::io::Result<()> {
        let parent = path.parent().ok_or_else(|| Error::other("no parent folder"))?;
        std::fs::create_dir_all(parent)?;
        // Beside the blobs, where no listing looks for names that begin with a dot.
        let mut file = tempfile::Builder::new().prefix(".tmp").tempfile_in(&self.root)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_parent(path)
    }
}

/// See [`Folder::claim`].
pub(super) struct Claim<'a> {
    folder: &'a Folder,
    id: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.folder
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

fn hash_file(path: &Path) -> std::io::Result<Digest> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    Ok(names)
}
