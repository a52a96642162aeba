//! Body bytes as the chunks they came in; copied only when a filter edits them.

use std::collections::VecDeque;

use bytes::Bytes;

/// Bytes in order. A single chunk, the usual case, costs no allocation.
#[derive(Debug, Default)]
pub struct Buffer {
    first: Bytes,
    rest: VecDeque<Bytes>,
    len: usize,
}

impl Buffer {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One more chunk at the end.
    pub fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.len += chunk.len();
        if self.first.is_empty() {
            self.first = chunk;
        } else {
            self.rest.push_back(chunk);
        }
    }

    /// Takes the oldest chunk.
    pub fn pop(&mut self) -> Option<Bytes> {
        if self.first.is_empty() {
            return None;
        }
        let next = self.rest.pop_front().unwrap_or_default();
        let chunk = std::mem::replace(&mut self.first, next);
        self.len -= chunk.len();
        Some(chunk)
    }

    /// Moves all of `other` to the end.
    pub fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        while let Some(chunk) = other.pop() {
            self.push(chunk);
        }
    }

    /// No bytes any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Appends at most `len` bytes from `start` to `bytes`.
    pub fn read(&self, start: usize, len: usize, bytes: &mut Vec<u8>) {
        let (mut skip, mut left) = (start, len);
        for chunk in self.chunks() {
            let skipped = skip.min(chunk.len());
            skip -= skipped;
            let chunk = &chunk[skipped..];
            let taken = chunk.len().min(left);
            bytes.extend_from_slice(&chunk[..taken]);
            left -= taken;
            if left == 0 {
                return;
            }
        }
    }

    /// Replaces `len` bytes from `start` by `bytes`; both are clamped to what is there.
    pub fn splice(&mut self, start: usize, len: usize, bytes: &[u8]) {
        let start = start.min(self.len);
        let len = len.min(self.len - start);
        if start == 0 && len == self.len {
            self.clear();
            self.push(Bytes::copy_from_slice(bytes));
        } else if start == self.len {
            self.push(Bytes::copy_from_slice(bytes));
        } else {
            let mut whole = Vec::with_capacity(self.len - len + bytes.len());
            self.read(0, start, &mut whole);
            whole.extend_from_slice(bytes);
            self.read(start + len, self.len, &mut whole);
            self.clear();
            self.push(Bytes::from(whole));
        }
    }

    fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl From<Bytes> for Buffer {
    fn from(chunk: Bytes) -> Self {
        let mut buffer = Self::default();
        buffer.push(chunk);
        buffer
    }
}

/// Takes the chunks, oldest first.
impl Iterator for Buffer {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    fn buffer(chunks: &[&'static str]) -> Buffer {
        let mut buffer = Buffer::default();
        for chunk in chunks {
            buffer.push((*chunk).into());
        }
        buffer
    }

    fn read(buffer: &Buffer, start: usize, len: usize) -> String {
        let mut bytes = Vec::new();
        buffer.read(start, len, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn reads_across_chunks_and_clamps() {
        let buffer = buffer(&["abc", "", "d", "efg"]);
        for start in 0..9 {
            for len in 0..9 {
                let whole = "abcdefg";
                let from = start.min(whole.len());
                let expected = &whole[from..(from + len).min(whole.len())];
                assert_eq!(read(&buffer, start, len), expected, "{start} {len}");
            }
        }
        assert_eq!(read(&buffer, 5, usize::MAX), "fg");
    }

    #[test]
    fn splices_like_a_vector() {
        for start in 0..8 {
            for len in 0..8 {
                for new in ["", "xy"] {
                    let mut model = b"abcdefg".to_vec();
                    let from = start.min(7);
                    model.splice(from..(from + len).min(7), new.bytes());
                    let mut buffer = buffer(&["abc", "d", "efg"]);
                    buffer.splice(start, len, new.as_bytes());
                    assert_eq!(read(&buffer, 0, 99).as_bytes(), model, "{start} {len} {new}");
                    assert_eq!(buffer.len(), model.len());
                }
            }
        }
    }

    #[test]
    fn gives_chunks_back_as_they_came() {
        let mut whole = buffer(&["a"]);
        whole.append(buffer(&["b", "c"]));
        assert_eq!(whole.len(), 3);
        assert_eq!(whole.collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
