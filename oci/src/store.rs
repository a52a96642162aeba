//! Content on disk, found by digest: verified when written and again when read, bounded in size.
//!
//! Calls block on the disk; async callers put them on a blocking thread, as [`crate::fetch`] does. Several
//! processes may share one folder: files appear whole by rename, and a file that vanished is merely absent.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Leftovers of a crashed writer; a living one is done long before.
const STALE: Duration = Duration::from_secs(3600);

/// A folder of blobs and of names for them.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    max_bytes: u64,
    /// Held by whoever collects, so that two writers do not both evict.
    collecting: Mutex<()>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// What was asked for.
    pub name: String,
    /// The module's digest.
    pub module: String,
    /// Digest that the tag pointed to, when it came from a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<String>,
    /// Digest of the manifest, when it came from a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Name of the layout, when it came from a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// The manifest's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Seconds since 1970 of the fetch.
    pub fetched: u64,
}

/// Why the store could not keep or find something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room on the disk. What was stored before is still there.
    #[error("{path}: no space left on the disk; free some or choose another store folder")]
    Full {
        /// The file that was being written.
        path: String,
    },
    /// Anything else that the system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Store {
    /// Opens or creates a store that holds about `max_bytes` of blobs.
    pub fn open(folder: impl Into<PathBuf>, max_bytes: u64) -> Result<Store, StoreError> {
        let folder = folder.into();
        for part in ["blobs", "names", "tmp"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
        }
        let store = Store {
            folder,
            max_bytes,
            collecting: Mutex::new(()),
        };
        store.remove_stale(SystemTime::now());
        Ok(store)
    }

    /// Keeps `content` and returns its digest. When this returns, it is on the disk.
    pub fn put(&self, content: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(content);
        let path = self.blob(&digest);
        // Written again even if present: what is there may be damaged, and the rename heals it.
        if self.get(&digest)?.is_none() {
            self.write(&path, content)?;
        }
        self.collect(&digest);
        Ok(digest)
    }

    /// The content, verified. A damaged file is removed and absent.
    pub fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        let path = self.blob(digest);
        let content = match std::fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, error)),
        };
        if Digest::of(&content) != *digest {
            tracing::warn!(path = %path.display(), "stored content is damaged, removing it");
            std::fs::remove_file(&path).map_err(|error| failed(&path, error))?;
            return Ok(None);
        }
        touch(&path);
        Ok(Some(content.into()))
    }

    /// Where the content of a digest is kept, if it is there; the content is not verified.
    pub fn path(&self, digest: &Digest) -> Option<PathBuf> {
        Some(self.blob(digest)).filter(|path| path.is_file())
    }

    /// Remembers what `key` stands for.
    pub fn set_record(&self, key: &str, record: &Record) -> Result<(), StoreError> {
        let path = self.name(key);
        let json = serde_json::to_vec(record).map_err(|error| failed(&path, error.into()))?;
        self.write(&path, &json)
    }

    /// What `key` stood for last. A damaged record is absent.
    pub fn record(&self, key: &str) -> Option<Record> {
        let path = self.name(key);
        let record = serde_json::from_slice(&std::fs::read(&path).ok()?);
        if record.is_err() {
            tracing::warn!(path = %path.display(), "stored record is damaged, ignoring it");
        }
        touch(&path);
        record.ok()
    }

    /// The bytes that all blobs take.
    pub fn size(&self) -> u64 {
        self.entries("blobs").iter().map(|entry| entry.size).sum()
    }

    /// Removes the least recently used blobs until the rest fits, but never `keep`.
    fn collect(&self, keep: &Digest) {
        let _guard = self
            .collecting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut entries = self.entries("blobs");
        let mut size: u64 = entries.iter().map(|entry| entry.size).sum();
        if size <= self.max_bytes {
            return;
        }
        entries.sort_by_key(|entry| entry.used);
        let keep = self.blob(keep);
        for entry in entries.into_iter().filter(|entry| entry.path != keep) {
            if size <= self.max_bytes {
                break;
            }
            if std::fs::remove_file(&entry.path).is_ok() {
                size -= entry.size;
                tracing::info!(path = %entry.path.display(), size = entry.size, "removed least recently used module");
            }
        }
    }

    fn remove_stale(&self, now: SystemTime) {
        for entry in self.entries("tmp") {
            if now.duration_since(entry.used).is_ok_and(|age| age > STALE) {
                // Another process may have removed it first.
                let _ = std::fs::remove_file(&entry.path);
            }
        }
    }

    /// Temporary file, sync, rename, sync of the folder: after a crash there is the old content or the new.
    fn write(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(self.folder.join("tmp"))?;
            file.write_all(content)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            match path.parent() {
                Some(parent) => std::fs::File::open(parent)?.sync_all(),
                None => Ok(()),
            }
        };
        write().map_err(|error| failed(path, error))
    }

    fn entries(&self, part: &str) -> Vec<Entry> {
        let Ok(folder) = std::fs::read_dir(self.folder.join(part)) else {
            return Vec::new();
        };
        let entry = |entry: std::fs::DirEntry| {
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some(Entry {
                path: entry.path(),
                size: metadata.len(),
                used: metadata.modified().ok()?,
            })
        };
        folder.filter_map(|found| entry(found.ok()?)).collect()
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.hex())
    }

    /// Names come from users; their digest is safe as a file name.
    fn name(&self, key: &str) -> PathBuf {
        self.folder.join("names").join(Digest::of(key.as_bytes()).hex())
    }
}

struct Entry {
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

/// The modification time says when a file was used last; access times are often switched off.
fn touch(path: &Path) {
    if let Ok(file) = std::fs::File::open(path) {
        // On a read-only store the order of eviction does not matter.
        let _ = file.set_modified(SystemTime::now());
    }
}

fn failed(path: &Path, source: std::io::Error) -> StoreError {
    let path = path.display().to_string();
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        _ => StoreError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(max_bytes: u64) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store"), max_bytes).unwrap();
        (folder, store)
    }

    fn used(store: &Store, digest: &Digest, seconds: u64) {
        let file = std::fs::File::open(store.blob(digest)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .unwrap();
    }

    #[test]
    fn gives_back_what_it_got() {
        let (_folder, store) = store(1000);
        let digest = store.put(b"hello").unwrap();
        assert_eq!(store.get(&digest).unwrap().unwrap().as_ref(), b"hello");
        assert_eq!(store.put(b"hello").unwrap(), digest);
        assert_eq!(store.get(&Digest::of(b"other")).unwrap(), None);
        assert_eq!(store.entries("tmp").len(), 0);
    }

    #[test]
    fn a_damaged_entry_is_removed_and_can_be_put_again() {
        let (_folder, store) = store(1000);
        let digest = store.put(b"hello").unwrap();
        std::fs::write(store.blob(&digest), b"hellO").unwrap();
        assert_eq!(store.get(&digest).unwrap(), None);
        assert_eq!(store.path(&digest), None);
        store.put(b"hello").unwrap();
        assert_eq!(store.get(&digest).unwrap().unwrap().as_ref(), b"hello");
    }

    #[test]
    fn evicts_the_least_recently_used() {
        let (_folder, store) = store(10);
        let (a, b) = (store.put(b"aaaa").unwrap(), store.put(b"bbbb").unwrap());
        used(&store, &a, 10);
        used(&store, &b, 20);
        store.get(&a).unwrap();
        let c = store.put(b"cccc").unwrap();
        assert_eq!(store.get(&b).unwrap(), None);
        assert!(store.get(&a).unwrap().is_some() && store.get(&c).unwrap().is_some());
    }

    #[test]
    fn keeps_the_newest_even_when_it_alone_is_too_large() {
        let (_folder, store) = store(3);
        let old = store.put(b"aa").unwrap();
        let big = store.put(b"bbbbbb").unwrap();
        assert!(store.get(&big).unwrap().is_some() && store.get(&old).unwrap().is_none());
    }

    #[test]
    fn a_failed_write_loses_nothing() {
        let (_folder, store) = store(1000);
        let old = store.put(b"old").unwrap();
        std::fs::remove_dir(store.folder.join("tmp")).unwrap();
        std::fs::write(store.folder.join("tmp"), b"in the way").unwrap();
        let error = store.put(b"new").unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
        assert!(store.get(&old).unwrap().is_some());
    }

    #[test]
    fn a_full_disk_is_called_so() {
        let error = failed(Path::new("/store/x"), std::io::ErrorKind::StorageFull.into());
        assert!(error.to_string().contains("/store/x: no space left"), "{error}");
    }

    #[test]
    fn remembers_names() {
        let (_folder, store) = store(1000);
        let record = Record {
            name: "oci://r.example/a:v1".into(),
            module: Digest::of(b"m").to_string(),
            resolved: None,
            manifest: None,
            layout: None,
            annotations: BTreeMap::new(),
            fetched: 7,
        };
        store.set_record("../../etc/passwd", &record).unwrap();
        assert_eq!(store.record("../../etc/passwd"), Some(record));
        assert_eq!(store.record("other"), None);
        std::fs::write(store.name("../../etc/passwd"), b"{").unwrap();
        assert_eq!(store.record("../../etc/passwd"), None);
    }

    #[test]
    fn many_writers_agree() {
        let (_folder, store) = store(200);
        std::thread::scope(|scope| {
            for writer in 0..8u8 {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..20u8 {
                        let content = [writer % 2, round, 9, 9];
                        let digest = store.put(&content).unwrap();
                        // Another writer may have evicted it already, but it is never wrong.
                        assert!(
                            store
                                .get(&digest)
                                .unwrap()
                                .is_none_or(|found| found.as_ref() == content)
                        );
                    }
                });
            }
        });
        assert!(store.size() <= 200);
        assert_eq!(store.entries("tmp").len(), 0);
    }

    #[test]
    fn leftovers_of_a_crash_go() {
        let (_folder, store) = store(1000);
        let leftover = store.folder.join("tmp/.tmpX");
        std::fs::write(&leftover, b"half").unwrap();
        store.remove_stale(SystemTime::now());
        assert!(leftover.exists());
        store.remove_stale(SystemTime::now() + 2 * STALE);
        assert!(!leftover.exists());
    }
}
