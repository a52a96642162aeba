//! Heads, bodies and trailers of HTTP/1 as bytes. Framing is always ours; the grammar is checked before a byte is
//! written, so that a refused message leaves nothing behind.

use crate::http::error::Unsendable;
use crate::http::grammar::{
    check_fields, check_request, is_connection_field, is_forbidden_trailer, number, takes_trailers,
};
use crate::http::headers::Headers;
use crate::http::message::{Protocol, RequestHead, ResponseHead};

/// How the body of a message that we send is delimited, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyWriter {
    /// So many bytes were announced, so many are left.
    Length {
        /// In the head.
        announced: u64,
        /// Not yet written.
        left: u64,
    },
    /// Chunks, then trailers.
    Chunked,
    /// Everything until the connection is closed.
    UntilClose,
    /// The message cannot have a body (HEAD, 204, 304): what is written is dropped.
    Dropped,
    /// Nothing can follow.
    End,
}

/// What a piece of body is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// Whether the piece itself is sent.
    pub sent: bool,
    /// Follows the piece.
    pub after: &'static [u8],
}

/// What a response head has to fit.
#[derive(Clone, Copy, Debug)]
pub struct ResponseContext {
    /// Of the request.
    pub protocol: Protocol,
    /// The request was HEAD.
    pub to_head: bool,
    /// The connection ends with this response.
    pub close: bool,
}

/// Appends a request head.
///
/// # Errors
/// It cannot be sent; `out` is as before.
pub fn request(out: &mut Vec<u8>, head: &RequestHead, end: bool) -> Result<BodyWriter, Unsendable> {
    check_request(&head.headers)?;
    for part in [
        head.method(),
        b" ",
        head.path(),
        b" HTTP/1.1\r\nhost: ",
        head.authority(),
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
    fields(out, &head.headers, |name| {
        matches!(name, b"host" | b"expect" | b"te")
    });
    if head.headers.get_all(b"te").any(takes_trailers) {
        // RFC 9110 §10.1.4: `te` is for one connection and says so.
        out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    let announced = content_length(&head.headers);
    let body = match announced {
        _ if end => BodyWriter::End,
        Some(announced) => BodyWriter::Length {
            announced,
            left: announced,
        },
        None => BodyWriter::Chunked,
    };
    match body {
        BodyWriter::Length { announced, .. } => length_field(out, announced),
        BodyWriter::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // RFC 9110 §8.6: a method that usually has a body says so when it has none.
        BodyWriter::End if announced.is_some() || matches!(head.method(), b"POST" | b"PUT" | b"PATCH") => {
            length_field(out, 0);
        }
        BodyWriter::End | BodyWriter::UntilClose | BodyWriter::Dropped => {}
    }
    out.extend_from_slice(b"\r\n");
    Ok(body)
}

/// Appends the final head of a response.
///
/// # Errors
/// It cannot be sent; `out` is as before.
pub fn response(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    end: bool,
    context: ResponseContext,
) -> Result<BodyWriter, Unsendable> {
    if head.is_informational() {
        return Err(Unsendable::Invalid(":status"));
    }
    let status = status_line(out, head)?;
    fields(out, &head.headers, |_| false);
    let announced = content_length(&head.headers);
    let bodiless = context.to_head || status == 204 || status == 304;
    let body = match announced {
        _ if bodiless => BodyWriter::Dropped,
        _ if end => BodyWriter::Length {
            announced: 0,
            left: 0,
        },
        Some(announced) => BodyWriter::Length {
            announced,
            left: announced,
        },
        None if context.protocol == Protocol::Http10 => BodyWriter::UntilClose,
        None => BodyWriter::Chunked,
    };
    match (body, announced) {
        (BodyWriter::Length { announced, .. }, _) => length_field(out, announced),
        (BodyWriter::Chunked, _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // What the body would have been.
        (BodyWriter::Dropped, Some(announced)) if status != 204 => length_field(out, announced),
        (BodyWriter::Dropped | BodyWriter::UntilClose | BodyWriter::End, _) => {}
    }
    if context.close || body == BodyWriter::UntilClose {
        out.extend_from_slice(b"connection: close\r\n");
    } else if context.protocol == Protocol::Http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(if end { BodyWriter::End } else { body })
}

/// Appends a 1xx head.
///
/// # Errors
/// It cannot be sent; `out` is as before.
pub fn informational(out: &mut Vec<u8>, head: &ResponseHead) -> Result<(), Unsendable> {
    if !head.is_informational() || head.status() == Some(101) {
        return Err(Unsendable::Invalid(":status"));
    }
    status_line(out, head)?;
    fields(out, &head.headers, |_| false);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

impl BodyWriter {
    /// Appends what stands before a piece of `length` bytes, and says what stands after it.
    ///
    /// # Errors
    /// The body does not fit what the head announced; `out` is as before.
    pub fn data(&mut self, out: &mut Vec<u8>, length: usize, end: bool) -> Result<Wrapped, Unsendable> {
        let plain = Wrapped {
            sent: true,
            after: b"",
        };
        let wrapped = match self {
            Self::End if length == 0 && end => {
                return Ok(Wrapped {
                    sent: false,
                    after: b"",
                });
            }
            Self::End => return Err(Unsendable::AfterEnd),
            Self::Dropped => Wrapped {
                sent: false,
                after: b"",
            },
            Self::UntilClose => plain,
            Self::Length { announced, left } => {
                let length = length as u64;
                if length > *left || (end && length < *left) {
                    return Err(Unsendable::Length {
                        announced: *announced,
                        written: *announced - *left + length,
                    });
                }
                *left -= length;
                plain
            }
            Self::Chunked if length == 0 => Wrapped {
                sent: false,
                after: if end { b"0\r\n\r\n" } else { b"" },
            },
            Self::Chunked => {
                hexadecimal(out, length);
                out.extend_from_slice(b"\r\n");
                Wrapped {
                    sent: true,
                    after: if end { b"\r\n0\r\n\r\n" } else { b"\r\n" },
                }
            }
        };
        if end {
            *self = Self::End;
        }
        Ok(wrapped)
    }

    /// Appends the end of the body with trailers. Only chunked bodies have them: after any other they are left out,
    /// as RFC 9110 §6.5.1 allows.
    ///
    /// # Errors
    /// They cannot be sent, or the body is shorter than announced; `out` is as before.
    pub fn trailers(&mut self, out: &mut Vec<u8>, trailers: &Headers) -> Result<(), Unsendable> {
        check_fields(trailers)?;
        match self {
            Self::End => return Err(Unsendable::AfterEnd),
            Self::Length { announced, left } if *left > 0 => {
                return Err(Unsendable::Length {
                    announced: *announced,
                    written: *announced - *left,
                });
            }
            Self::Length { .. } | Self::UntilClose | Self::Dropped => {}
            Self::Chunked => {
                out.extend_from_slice(b"0\r\n");
                fields(out, trailers, is_forbidden_trailer);
                out.extend_from_slice(b"\r\n");
            }
        }
        *self = Self::End;
        Ok(())
    }
}

/// Appends all but connection-specific fields, framing, and those that `skipped` names.
fn fields(out: &mut Vec<u8>, headers: &Headers, skipped: impl Fn(&[u8]) -> bool) {
    for (name, value) in headers.fields() {
        let ours = is_connection_field(name) || name == b"content-length" || skipped(name);
        if ours || (name == b"te" && !takes_trailers(value)) {
            continue;
        }
        let value = if name == b"te" { b"trailers" } else { value };
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

fn status_line(out: &mut Vec<u8>, head: &ResponseHead) -> Result<u16, Unsendable> {
    let status = match (head.status(), head.headers.contains(b":status")) {
        (Some(status), _) => status,
        (None, true) => return Err(Unsendable::Invalid(":status")),
        (None, false) => return Err(Unsendable::Missing(":status")),
    };
    check_fields(&head.headers)?;
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.headers.get(b":status").unwrap_or_default());
    out.push(b' ');
    out.extend_from_slice(reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    Ok(status)
}

/// What the head announces, if that is one number. Anything else is as good as nothing: we frame the body ourselves.
fn content_length(headers: &Headers) -> Option<u64> {
    let mut values = headers.get_all(b"content-length");
    let first = values.next().and_then(number);
    if values.next().is_some() { None } else { first }
}

fn length_field(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = length;
    while {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        rest > 0
    } {}
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

fn hexadecimal(out: &mut Vec<u8>, number: usize) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
    out.extend(
        (0..digits)
            .rev()
            .map(|digit| b"0123456789abcdef"[number >> (4 * digit) & 15]),
    );
}
