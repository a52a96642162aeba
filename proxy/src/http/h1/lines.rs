//! Finds the empty line that ends a head or trailers, looking at every byte once however they arrive.

use crate::http::error::Malformed;

/// What an empty line means where the first line is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// One is skipped (RFC 9112 §2.2), for old clients that send one after a body.
    Skip,
    /// The section is empty: trailers.
    Ends,
    /// Refused.
    Refuse,
}

/// A complete section of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Where the first line starts.
    pub(super) start: usize,
    /// After the empty line.
    pub(super) end: usize,
}

/// How far the lines of a section have been looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines {
    /// First byte not looked at.
    at: usize,
    /// Where the current line starts.
    line: usize,
    /// Where the first line starts.
    start: usize,
}

impl Lines {
    /// Whether the section is complete in `bytes`, which is what came so far.
    pub(super) fn find(
        &mut self,
        bytes: &[u8],
        first: FirstLine,
        limit: usize,
    ) -> Result<Option<Section>, Malformed> {
        while let Some(distance) = memchr::memchr(b'\n', &bytes[self.at..]) {
            let end = self.at + distance;
            if end + 1 - self.start > limit {
                return Err(self.too_large());
            }
            if end == self.line || bytes[end - 1] != b'\r' {
                return Err(Malformed::LineEnd);
            }
            let (line, empty) = (self.line, end == self.line + 1);
            self.at = end + 1;
            self.line = end + 1;
            if empty {
                match first {
                    FirstLine::Skip if line == 0 => self.start = self.line,
                    FirstLine::Skip | FirstLine::Refuse if line == self.start => {
                        return Err(Malformed::LineEnd);
                    }
                    FirstLine::Skip | FirstLine::Refuse | FirstLine::Ends => {
                        let section = Section {
                            start: self.start,
                            end: self.line,
                        };
                        *self = Self::default();
                        return Ok(Some(section));
                    }
                }
            }
        }
        self.at = bytes.len();
        if self.at - self.start > limit {
            Err(self.too_large())
        } else {
            Ok(None)
        }
    }

    fn too_large(&self) -> Malformed {
        if self.line == self.start {
            Malformed::TargetTooLong
        } else {
            Malformed::HeadTooLarge
        }
    }
}

/// The lines of a complete section, without their ends and without the empty line.
pub(super) fn split(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = section.strip_suffix(b"\r\n").unwrap_or(section);
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

#[cfg(test)]
mod tests {
    use super::{FirstLine, Lines, Section, split};
    use crate::http::error::Malformed;

    fn check(bytes: &str, first: FirstLine, expected: Result<Option<Section>, Malformed>) {
        let bytes = bytes.as_bytes();
        assert_eq!(
            Lines::default().find(bytes, first, 20),
            expected,
            "at once: {}",
            bytes.escape_ascii()
        );
        let mut lines = Lines::default();
        let by_byte = (0..=bytes.len())
            .map(|end| lines.find(&bytes[..end], first, 20))
            .find(|found| !matches!(found, Ok(None)))
            .unwrap_or(Ok(None));
        assert_eq!(by_byte, expected, "byte by byte: {}", bytes.escape_ascii());
    }

    #[test]
    fn ends_at_the_first_empty_line() {
        let found = |start, end| Ok(Some(Section { start, end }));
        check("a\r\nb\r\n\r\n", FirstLine::Refuse, found(0, 8));
        check("a\r\n\r\nmore\r\n", FirstLine::Refuse, found(0, 5));
        check("\r\na\r\n\r\n", FirstLine::Skip, found(2, 7));
        check("\r\nbody", FirstLine::Ends, found(0, 2));
        check("a\r\nb\r\n", FirstLine::Refuse, Ok(None));
        assert_eq!(split(b"a\r\nbc\r\n\r\n").collect::<Vec<_>>(), [&b"a"[..], b"bc"]);
        assert_eq!(split(b"\r\n").count(), 0);
    }

    #[test]
    fn refuses_other_line_ends_and_long_sections() {
        check("a\n\n", FirstLine::Refuse, Err(Malformed::LineEnd));
        check("a\r\n\n", FirstLine::Refuse, Err(Malformed::LineEnd));
        check("\n", FirstLine::Skip, Err(Malformed::LineEnd));
        check("\r\n\r\na", FirstLine::Skip, Err(Malformed::LineEnd));
        check("\r\na", FirstLine::Refuse, Err(Malformed::LineEnd));
        check(
            "0123456789012345678901234",
            FirstLine::Refuse,
            Err(Malformed::TargetTooLong),
        );
        check(
            "0123\r\n0123456789012345678901",
            FirstLine::Refuse,
            Err(Malformed::HeadTooLarge),
        );
        check(
            "0123456789012345678\r\n\r\n",
            FirstLine::Refuse,
            Err(Malformed::TargetTooLong),
        );
    }
}
