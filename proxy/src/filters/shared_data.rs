//! Values that all workers of a name space share, with compare-and-swap.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use foldhash::fast::RandomState;
use leno_sdk::host::HostError;

/// Name spaces that live as long as a filter uses them.
#[derive(Default)]
pub struct NameSpaces {
    spaces: Mutex<HashMap<String, Weak<NameSpace>>>,
}

/// Values by key.
pub struct NameSpace {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// Of all keys and values.
    bytes: AtomicUsize,
    limit: usize,
}

type Shard = HashMap<Box<[u8]>, Entry, RandomState>;

struct Entry {
    value: Box<[u8]>,
    version: u32,
}

/// Arbitrary; well above the number of workers that meet at one moment.
const SHARDS: usize = 16;

/// Of one name space. Arbitrary; a guest has not much more memory itself.
const LIMIT: usize = 64 << 20;

/// Versions count up over the whole process, so that none comes back soon. Zero is never used: guests take it for
/// "no version".
static NEXT_VERSION: AtomicU32 = AtomicU32::new(1);

impl NameSpaces {
    /// The name space of this name; it begins empty if nobody holds it.
    pub fn open(&self, name: &str) -> Arc<NameSpace> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = spaces.get(name).and_then(Weak::upgrade) {
            return space;
        }
        spaces.retain(|_, space| space.strong_count() > 0);
        let space = Arc::new(NameSpace::new(LIMIT));
        spaces.insert(name.to_owned(), Arc::downgrade(&space));
        space
    }
}

impl NameSpace {
    /// An empty one that takes so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
            bytes: AtomicUsize::new(0),
            limit,
        }
    }

    /// Appends the value of `key` to `value` and returns its version.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, HostError> {
        let shard = self.shard(key);
        let entry = shard.get(key).ok_or(HostError::NotFound)?;
        value.extend_from_slice(&entry.value);
        Ok(entry.version)
    }

    /// Writes a value; with `expected`, only over that version. A new key ignores `expected`.
    ///
    /// # Errors
    /// `Conflict`; `Limit` when there is no room.
    pub fn set(&self, key: &[u8], value: &[u8], expected: Option<u32>) -> Result<(), HostError> {
        let mut shard = self.shard(key);
        let old = shard.get_mut(key);
        if let (Some(old), Some(expected)) = (&old, expected)
            && old.version != expected
        {
            return Err(HostError::Conflict);
        }
        let (before, after) = match &old {
            Some(old) => (old.value.len(), value.len()),
            None => (0, key.len() + value.len()),
        };
        self.account(before, after)?;
        let entry = Entry {
            value: value.into(),
            version: next_version(),
        };
        match old {
            Some(old) => *old = entry,
            None => {
                shard.insert(key.into(), entry);
            }
        }
        Ok(())
    }

    fn account(&self, before: usize, after: usize) -> Result<(), HostError> {
        let fits = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
                let bytes = bytes - before + after;
                (after <= before || bytes <= self.limit).then_some(bytes)
            });
        fits.map(|_| ()).map_err(|_| HostError::Limit)
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next_version() -> u32 {
    loop {
        let version = NEXT_VERSION.fetch_add(1, Ordering::Relaxed);
        if version != 0 {
            return version;
        }
    }
}

#[cfg(test)]
mod tests {
    use leno_sdk::host::HostError;

    use super::{NameSpace, NameSpaces};

    fn get(space: &NameSpace, key: &str) -> Result<(String, u32), HostError> {
        let mut value = Vec::new();
        let version = space.get(key.as_bytes(), &mut value)?;
        Ok((String::from_utf8(value).unwrap(), version))
    }

    #[test]
    fn writes_only_over_the_expected_version() {
        let space = NameSpace::new(1000);
        assert_eq!(get(&space, "k"), Err(HostError::NotFound));
        space.set(b"k", b"1", Some(99)).unwrap();
        let (value, version) = get(&space, "k").unwrap();
        assert_eq!(value, "1");
        assert_eq!(
            space.set(b"k", b"2", Some(version.wrapping_add(1))),
            Err(HostError::Conflict)
        );
        space.set(b"k", b"2", Some(version)).unwrap();
        assert_eq!(space.set(b"k", b"3", Some(version)), Err(HostError::Conflict));
        space.set(b"k", b"", None).unwrap();
        assert_eq!(get(&space, "k").unwrap().0, "");
    }

    #[test]
    fn threads_that_swap_lose_no_update() {
        let space = NameSpace::new(1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        loop {
                            let current = get(&space, "count");
                            let (number, version) = match &current {
                                Ok((text, version)) => (text.parse::<u32>().unwrap(), Some(*version)),
                                Err(_) => (0, None),
                            };
                            // The first write of a key cannot be guarded: only one thread may begin with it.
                            if version.is_none() && space.set(b"begun", b"", Some(0)).is_err() {
                                continue;
                            }
                            if space
                                .set(b"count", (number + 1).to_string().as_bytes(), version)
                                .is_ok()
                            {
                                break;
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(get(&space, "count").unwrap().0, "2000");
    }

    #[test]
    fn a_full_name_space_says_so_and_keeps_what_it_has() {
        let space = NameSpace::new(10);
        space.set(b"key", b"1234567", None).unwrap();
        assert_eq!(space.set(b"k", b"", None), Err(HostError::Limit));
        assert_eq!(space.set(b"key", b"12345678", None), Err(HostError::Limit));
        space.set(b"key", b"12345", None).unwrap();
        space.set(b"k", b"1", None).unwrap();
        assert_eq!(get(&space, "key").unwrap().0, "12345");
    }

    #[test]
    fn a_name_space_lives_as_long_as_somebody_holds_it() {
        let spaces = NameSpaces::default();
        let space = spaces.open("a");
        space.set(b"k", b"v", None).unwrap();
        assert_eq!(get(&spaces.open("a"), "k").unwrap().0, "v");
        assert_eq!(get(&spaces.open("b"), "k"), Err(HostError::NotFound));
        drop(space);
        assert_eq!(get(&spaces.open("a"), "k"), Err(HostError::NotFound));
    }
}
