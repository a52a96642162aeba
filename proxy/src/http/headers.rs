//! An ordered list of fields: pseudo headers first, then fields in wire order with duplicates at their places.
//!
//! Names and values lie back to back in one buffer, so that building, reading and dropping a list allocates nothing
//! once a thread is warm: dropped lists leave their storage to the next one of the same thread.
//!
//! This is storage, not grammar: any bytes are taken. The grammar is checked where fields are read from a
//! connection and where they are written to one ([`grammar`](crate::http::grammar)).

use std::cell::RefCell;
use std::fmt;

/// Fields in order. Names are kept in lower case; those that start with `:` stand before all others.
pub struct Headers {
    /// Name and value of each entry, adjacent. Removed entries leave a gap.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// So many entries at the front are pseudo headers.
    pseudo: usize,
    /// Bytes of removed entries.
    garbage: usize,
    /// One bit per hash of the names ever added: most lookups of absent names end here.
    seen: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    name: usize,
    value: usize,
}

impl Headers {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        let (bytes, entries) = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        Self {
            bytes,
            entries,
            pseudo: 0,
            garbage: 0,
            seen: 0,
        }
    }

    /// The first value of this name, compared without regard to ASCII case.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.position(name).map(|index| self.value(self.entries[index]))
    }

    /// All values of this name, in order.
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + 'a {
        let entries: &[Entry] = if self.seen & bit(name) == 0 {
            &[]
        } else {
            &self.entries
        };
        entries
            .iter()
            .filter(move |entry| self.is_named(**entry, name))
            .map(|entry| self.value(*entry))
    }

    /// Whether there is a field of this name.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.position(name).is_some()
    }

    /// Name and value of every field, pseudo headers first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + '_ {
        self.entries
            .iter()
            .map(|entry| (self.name(*entry), self.value(*entry)))
    }

    /// Name and value of every field that is not a pseudo header.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + '_ {
        self.entries[self.pseudo..]
            .iter()
            .map(|entry| (self.name(*entry), self.value(*entry)))
    }

    /// Name and value of every pseudo header.
    pub fn pseudo(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + '_ {
        self.entries[..self.pseudo]
            .iter()
            .map(|entry| (self.name(*entry), self.value(*entry)))
    }

    /// How many fields, pseudo headers included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no field at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all names and values.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.bytes.len() - self.garbage
    }

    /// One more field at the end: of the list, or of the pseudo headers if the name starts with `:`.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        let entry = self.store(name, value);
        if name.first() == Some(&b':') {
            self.entries.insert(self.pseudo, entry);
            self.pseudo += 1;
        } else {
            self.entries.push(entry);
        }
    }

    /// The only field of this name: all others are removed, this one is [appended](Self::append).
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }

    /// Removes every field of this name; whether there was one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        if self.seen & bit(name) == 0 {
            return false;
        }
        let before = self.entries.len();
        self.retain(|other, _| !other.eq_ignore_ascii_case(name));
        before != self.entries.len()
    }

    /// Keeps the fields for which `keep(name, value)` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let Self {
            bytes,
            entries,
            pseudo,
            garbage,
            ..
        } = self;
        let (mut index, first_field) = (0, *pseudo);
        entries.retain(|entry| {
            let (name, value) = bytes[entry.start..][..entry.name + entry.value].split_at(entry.name);
            let kept = keep(name, value);
            if !kept {
                *garbage += entry.name + entry.value;
                *pseudo -= usize::from(index < first_field);
            }
            index += 1;
            kept
        });
        if self.entries.is_empty() {
            self.clear();
        } else if self.garbage > self.bytes.len() / 2 && self.garbage > 1024 {
            self.compact();
        }
    }

    /// Exactly these fields. Pseudo headers move to the front, both groups keep their order.
    pub fn replace_all<'a>(&mut self, fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) {
        self.clear();
        for (name, value) in fields {
            self.append(name, value);
        }
    }

    /// Gives the first entry another value. There must be one.
    pub(crate) fn set_first(&mut self, value: &[u8]) {
        let Some(first) = self.entries.first().copied() else {
            return;
        };
        let start = self.bytes.len();
        self.bytes
            .extend_from_within(first.start..first.start + first.name);
        self.bytes.extend_from_slice(value);
        self.entries[0] = Entry {
            start,
            name: first.name,
            value: value.len(),
        };
        self.garbage += first.name + first.value;
    }

    /// Removes everything and keeps the storage.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.pseudo = 0;
        self.garbage = 0;
        self.seen = 0;
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        if self.seen & bit(name) == 0 {
            return None;
        }
        self.entries.iter().position(|entry| self.is_named(*entry, name))
    }

    fn is_named(&self, entry: Entry, name: &[u8]) -> bool {
        entry.name == name.len() && self.name(entry).eq_ignore_ascii_case(name)
    }

    fn name(&self, entry: Entry) -> &[u8] {
        &self.bytes[entry.start..][..entry.name]
    }

    fn value(&self, entry: Entry) -> &[u8] {
        &self.bytes[entry.start + entry.name..][..entry.value]
    }

    fn store(&mut self, name: &[u8], value: &[u8]) -> Entry {
        let start = self.bytes.len();
        self.bytes.reserve(name.len() + value.len());
        self.bytes.extend_from_slice(name);
        self.bytes[start..].make_ascii_lowercase();
        self.bytes.extend_from_slice(value);
        self.seen |= bit(name);
        Entry {
            start,
            name: name.len(),
            value: value.len(),
        }
    }

    /// Closes the gaps of removed entries.
    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.byte_size());
        for entry in &mut self.entries {
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[entry.start..][..entry.name + entry.value]);
            entry.start = start;
        }
        self.bytes = bytes;
        self.garbage = 0;
    }
}

impl Default for Headers {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Headers {
    fn clone(&self) -> Self {
        self.iter().collect()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |(name, value): (&[u8], &[u8])| {
            (name.escape_ascii().to_string(), value.escape_ascii().to_string())
        };
        out.debug_list().entries(self.iter().map(text)).finish()
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(fields: I) -> Self {
        let mut headers = Self::new();
        headers.replace_all(fields);
        headers
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(fields: I) -> Self {
        fields
            .into_iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect()
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        if self.bytes.capacity() == 0
            || self.bytes.capacity() > SPARE_BYTES
            || self.entries.capacity() > SPARE_BYTES / 8
        {
            return;
        }
        self.clear();
        let storage = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.entries));
        // Fails only while the thread ends; then the storage is simply freed.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_LISTS {
                spare.push(storage);
            }
        });
    }
}

thread_local! {
    /// Storage of dropped lists. Bounded: at most 64 lists of 16 KiB.
    static SPARE: RefCell<Vec<(Vec<u8>, Vec<Entry>)>> = const { RefCell::new(Vec::new()) };
}

const SPARE_LISTS: usize = 64;
const SPARE_BYTES: usize = 16 << 10;

/// One of 64 bits, by length and two letters of the name. Both letters are folded to lower case.
fn bit(name: &[u8]) -> u64 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return 1;
    };
    let hash = name.len() ^ usize::from(first | 0x20) << 1 ^ usize::from(last | 0x20) << 3;
    1 << (hash & 63)
}

#[cfg(test)]
mod tests {
    use super::Headers;

    fn list(headers: &Headers) -> Vec<String> {
        headers
            .iter()
            .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
            .collect()
    }

    fn sample() -> Headers {
        [
            (":method", "GET"),
            ("A", "1"),
            ("b", "2"),
            ("a", "3"),
            (":path", "/"),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn keeps_order_and_duplicates_with_pseudo_headers_first() {
        assert_eq!(list(&sample()), [":method=GET", ":path=/", "a=1", "b=2", "a=3"]);
        assert_eq!(sample().byte_size(), ":methodGET:path/a1b2a3".len());
    }

    #[test]
    fn finds_names_in_any_case() {
        let headers = sample();
        assert_eq!(headers.get(b"A"), Some(&b"1"[..]));
        assert_eq!(headers.get_all(b"a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(headers.get(b"c"), None);
        assert_eq!(headers.get(b""), None);
        assert_eq!(headers.get_all(b"zzz").count(), 0);
    }

    #[test]
    fn set_moves_to_the_end_of_its_block() {
        let mut headers = sample();
        headers.set(b"a", b"4");
        headers.set(b":Method", b"PUT");
        assert_eq!(list(&headers), [":path=/", ":method=PUT", "b=2", "a=4"]);
    }

    #[test]
    fn remove_tells_whether_there_was_one() {
        let mut headers = sample();
        assert!(headers.remove(b"A"));
        assert!(!headers.remove(b"a"));
        assert!(headers.remove(b":method"));
        assert_eq!(list(&headers), [":path=/", "b=2"]);
        assert_eq!(headers.pseudo().count(), 1);
        assert_eq!(headers.byte_size(), ":path/b2".len());
        headers.append(b":method", b"GET");
        assert_eq!(list(&headers), [":path=/", ":method=GET", "b=2"]);
    }

    #[test]
    fn many_edits_do_not_grow_the_storage_without_bound() {
        let mut headers = sample();
        for round in 0..10_000_u32 {
            headers.set(b"x-round", round.to_string().as_bytes());
        }
        assert!(headers.bytes.capacity() < 8 << 10, "{}", headers.bytes.capacity());
        assert_eq!(headers.get(b"x-round"), Some(&b"9999"[..]));
        assert_eq!(headers.get(b":path"), Some(&b"/"[..]));
    }

    #[test]
    fn dropped_storage_is_used_again() {
        let headers = sample();
        let storage = headers.bytes.as_ptr();
        drop(headers);
        let next = sample();
        assert_eq!(next.bytes.as_ptr(), storage);
        assert_eq!(next, sample());
    }

    #[test]
    fn replace_all_sorts_pseudo_headers_to_the_front() {
        let mut headers = sample();
        headers.replace_all([(&b"x"[..], &b"1"[..]), (b":status", b"200"), (b"y", b"")]);
        assert_eq!(list(&headers), [":status=200", "x=1", "y="]);
    }
}
