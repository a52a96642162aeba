//! Bodies of HTTP/1 (RFC 9112 §6, §7.1): bytes in, frames out, no IO.

use bytes::{Buf, Bytes, BytesMut};

use crate::http::error::Malformed;
use crate::http::grammar::{is_token, is_value, trim};
use crate::http::h1::fields;
use crate::http::h1::lines::{FirstLine, Lines};
use crate::http::h1::parse::Framing;
use crate::http::headers::Headers;
use crate::http::settings::Limits;

/// A size line with its extensions may have this many bytes. Nobody uses extensions; floods do.
const SIZE_LINE: usize = 256;

/// What comes next in a body.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyEvent {
    /// Never empty.
    Data(Bytes),
    /// Never empty. The end follows.
    Trailers(Headers),
    /// The message is complete.
    End,
}

/// Reads one body.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    limits: Limits,
    lines: Lines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    End,
}

impl BodyReader {
    /// For a body with this framing.
    #[must_use]
    pub fn new(framing: Framing, limits: Limits) -> Self {
        let state = match framing {
            Framing::Length(0) => State::End,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            limits,
            lines: Lines::default(),
        }
    }

    /// Whether the message is complete.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// The connection has ended. Whether that completes the message.
    pub fn ends_with_connection(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::End;
        }
        self.is_end()
    }

    /// Takes the next event from the front of `bytes`. `None`: call again with more.
    ///
    /// # Errors
    /// This is no body of this framing. Nothing more can be read from the connection.
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<BodyEvent>, Malformed> {
        loop {
            match self.state {
                State::End => return Ok(Some(BodyEvent::End)),
                State::Length(left) => {
                    let Some((data, left)) = take(bytes, left) else {
                        return Ok(None);
                    };
                    self.state = if left == 0 {
                        State::End
                    } else {
                        State::Length(left)
                    };
                    return Ok(Some(BodyEvent::Data(data)));
                }
                State::UntilClose => {
                    let Some((data, _)) = take(bytes, u64::MAX) else {
                        return Ok(None);
                    };
                    return Ok(Some(BodyEvent::Data(data)));
                }
                State::ChunkSize => {
                    let Some(size) = size_line(bytes)? else {
                        return Ok(None);
                    };
                    self.state = if size == 0 {
                        State::Trailers
                    } else {
                        State::ChunkData(size)
                    };
                }
                State::ChunkData(left) => {
                    let Some((data, left)) = take(bytes, left) else {
                        return Ok(None);
                    };
                    self.state = if left == 0 {
                        State::ChunkEnd
                    } else {
                        State::ChunkData(left)
                    };
                    return Ok(Some(BodyEvent::Data(data)));
                }
                State::ChunkEnd => match bytes.first_chunk::<2>() {
                    Some(b"\r\n") => {
                        bytes.advance(2);
                        self.state = State::ChunkSize;
                    }
                    None if bytes.is_empty() || bytes[..] == b"\r"[..] => return Ok(None),
                    _ => return Err(Malformed::Chunk),
                },
                State::Trailers => {
                    let found = self.lines.find(bytes, FirstLine::Ends, self.limits.bytes);
                    let Some(section) = found.map_err(|reason| match reason {
                        Malformed::TargetTooLong | Malformed::HeadTooLarge => Malformed::TrailersTooLarge,
                        other => other,
                    })?
                    else {
                        return Ok(None);
                    };
                    let trailers = fields::read_trailers(&bytes.split_to(section.end), &self.limits)?;
                    self.state = State::End;
                    if !trailers.is_empty() {
                        return Ok(Some(BodyEvent::Trailers(trailers)));
                    }
                }
            }
        }
    }
}

/// At most `left` bytes from the front, and how many are left then.
fn take(bytes: &mut BytesMut, left: u64) -> Option<(Bytes, u64)> {
    if bytes.is_empty() {
        return None;
    }
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    Some((bytes.split_to(length).freeze(), left - length as u64))
}

/// The size of a chunk, from a complete line.
fn size_line(bytes: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    let looked_at = &bytes[..bytes.len().min(SIZE_LINE)];
    let digits = looked_at
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    // Sixteen digits are 64 bits; more are either too much or zeros that nobody needs.
    if digits > 16 || (digits == 0 && !looked_at.is_empty()) {
        return Err(Malformed::Chunk);
    }
    let Some(end) = memchr::memchr(b'\n', looked_at) else {
        let may_end = |byte: &u8| matches!(byte, b'\r' | b';' | b' ' | b'\t');
        let fits = looked_at.len() < SIZE_LINE && looked_at.get(digits).is_none_or(may_end);
        return if fits { Ok(None) } else { Err(Malformed::Chunk) };
    };
    let extensions = looked_at[digits..end]
        .strip_suffix(b"\r")
        .ok_or(Malformed::Chunk)?;
    if !is_extensions(extensions) {
        return Err(Malformed::Chunk);
    }
    let size = looked_at[..digits].iter().fold(0_u64, |size, digit| {
        size << 4 | u64::from((*digit as char).to_digit(16).unwrap_or(0))
    });
    bytes.advance(end + 1);
    Ok(Some(size))
}

/// `chunk-ext` of RFC 9112 §7.1.1: blanks stand before a `;`, never alone. Quoted strings cannot hold `;`: that has
/// been read in two ways.
fn is_extensions(extensions: &[u8]) -> bool {
    let Some(first) = memchr::memchr(b';', extensions) else {
        return extensions.is_empty();
    };
    let (before, extensions) = extensions.split_at(first);
    let mut parts = extensions[1..].split(|byte| *byte == b';');
    let is_quoted = |value: &[u8]| {
        let inside = value
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""));
        inside.is_some_and(|inside| is_value(inside) && !inside.contains(&b'"') && !inside.contains(&b'\\'))
    };
    trim(before).is_empty()
        && parts.all(|part| {
            let (name, value) = match memchr::memchr(b'=', part) {
                Some(equals) => (&part[..equals], Some(trim(&part[equals + 1..]))),
                None => (part, None),
            };
            is_token(trim(name)) && value.is_none_or(|value| is_token(value) || is_quoted(value))
        })
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{BodyEvent, BodyReader};
    use crate::http::error::Malformed;
    use crate::http::h1::parse::Framing;
    use crate::http::settings::Limits;

    #[test]
    fn blanks_behind_a_size_need_an_extension() {
        let read = |bytes: &str| BodyReader::new(Framing::Chunked, Limits::default()).next(&mut bytes.into());
        let data = |text: &'static str| Ok(Some(BodyEvent::Data(BytesMut::from(text).freeze())));
        assert_eq!(read("2\r\nhi"), data("hi"));
        assert_eq!(read("2 ; a\r\nhi"), data("hi"));
        assert_eq!(read("2 \r\nhi"), Err(Malformed::Chunk));
        assert_eq!(read("2\t\r\nhi"), Err(Malformed::Chunk));
    }
}
