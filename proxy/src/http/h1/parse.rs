//! Request and response heads of HTTP/1 (RFC 9112 §3-§6): bytes in, a head out, no IO.

use std::borrow::Cow;

use crate::http::error::Malformed;
use crate::http::grammar::{is_authority, is_method, is_path};
use crate::http::h1::fields::{self, Role, Said};
use crate::http::h1::lines::{FirstLine, Lines, split};
use crate::http::headers::Headers;
use crate::http::message::{Protocol, RequestHead, ResponseHead};
use crate::http::settings::Limits;

/// How the body after a head is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; zero is no body.
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// Everything until the connection ends; responses only.
    UntilClose,
}

/// A request head and what it says about the connection.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestStart {
    /// What is forwarded.
    pub head: RequestHead,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether another request may follow.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub expects_continue: bool,
}

/// A response head and what it says about the connection.
#[derive(Debug, PartialEq, Eq)]
pub struct ResponseStart {
    /// What is forwarded.
    pub head: ResponseHead,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether another request may follow.
    pub keep_alive: bool,
}

/// How requests are read.
#[derive(Clone, Copy, Debug)]
pub struct RequestRules {
    /// Bytes and fields.
    pub limits: Limits,
    /// Take HTTP/1.0.
    pub accept_http_10: bool,
    /// `:scheme` of a target without scheme.
    pub encrypted: bool,
}

/// Reads heads one after the other, and remembers how far an incomplete one was looked at.
#[derive(Debug, Default)]
pub struct HeadReader {
    lines: Lines,
}

impl HeadReader {
    /// A request head at the start of `bytes`, and how many bytes it takes. `None`: call again with more.
    ///
    /// # Errors
    /// This is not a request head. Nothing more can be read from the connection.
    pub fn request(
        &mut self,
        bytes: &[u8],
        rules: &RequestRules,
    ) -> Result<Option<(RequestStart, usize)>, Malformed> {
        // Bytes of another protocol show at once instead of waiting for a line end that never comes.
        match bytes {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => {}
            [first, ..] if first.is_ascii_graphic() => {}
            _ => return Err(Malformed::RequestLine),
        }
        let Some(section) = self.lines.find(bytes, FirstLine::Skip, rules.limits.bytes)? else {
            return Ok(None);
        };
        let start = request(&bytes[section.start..section.end], rules)?;
        Ok(Some((start, section.end)))
    }

    /// A response head at the start of `bytes`, for a request of method HEAD or any other.
    ///
    /// # Errors
    /// This is not a response head. Nothing more can be read from the connection.
    pub fn response(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        to_head: bool,
    ) -> Result<Option<(ResponseStart, usize)>, Malformed> {
        if !b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]) {
            return Err(Malformed::StatusLine);
        }
        let found = self.lines.find(bytes, FirstLine::Refuse, limits.bytes);
        let Some(section) = found.map_err(|reason| match reason {
            Malformed::TargetTooLong => Malformed::HeadTooLarge,
            other => other,
        })?
        else {
            return Ok(None);
        };
        let start = response(&bytes[..section.end], limits, to_head)?;
        Ok(Some((start, section.end)))
    }
}

fn request(section: &[u8], rules: &RequestRules) -> Result<RequestStart, Malformed> {
    let mut lines = split(section);
    let line = lines.next().ok_or(Malformed::RequestLine)?;
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Malformed::RequestLine);
    };
    if !is_method(method) {
        return Err(Malformed::Method);
    }
    let protocol = self::version(version)?;
    if protocol == Protocol::Http10 && !rules.accept_http_10 {
        return Err(Malformed::OldVersion);
    }
    if method == b"CONNECT" {
        return Err(if is_authority(target) {
            Malformed::Connect
        } else {
            Malformed::Target
        });
    }
    let default_scheme: &[u8] = if rules.encrypted { b"https" } else { b"http" };
    let target = Target::parse(method, target).ok_or(Malformed::Target)?;
    let mut headers = Headers::new();
    // Order as in Envoy: filters that list all fields see it.
    headers.append(b":authority", b"");
    headers.append(b":path", &target.path);
    headers.append(b":method", method);
    headers.append(b":scheme", target.scheme.unwrap_or(default_scheme));
    let said = fields::read(lines, Role::Request, &rules.limits, &mut headers)?;
    if !said.host {
        return Err(Malformed::MissingHost);
    }
    // RFC 9112 §3.2.2: the target replaces what `host` says.
    if let Some(authority) = target.authority {
        headers.set_first(authority);
    }
    if said.chunked && protocol == Protocol::Http10 {
        return Err(Malformed::TransferEncoding);
    }
    if said.wants_upgrade() && protocol == Protocol::Http11 {
        return Err(Malformed::Upgrade);
    }
    let framing = if said.chunked {
        Framing::Chunked
    } else {
        Framing::Length(said.content_length.unwrap_or(0))
    };
    Ok(RequestStart {
        head: RequestHead { headers, protocol },
        framing,
        keep_alive: keeps_alive(protocol, &said),
        expects_continue: said.expects_continue
            && protocol == Protocol::Http11
            && framing != Framing::Length(0),
    })
}

/// RFC 9112 §9.3.
fn keeps_alive(protocol: Protocol, said: &Said) -> bool {
    !said.close && (protocol == Protocol::Http11 || said.keep_alive)
}

fn version(version: &[u8]) -> Result<Protocol, Malformed> {
    match version {
        b"HTTP/1.1" => Ok(Protocol::Http11),
        b"HTTP/1.0" => Ok(Protocol::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Malformed::UnsupportedVersion)
        }
        _ => Err(Malformed::Version),
    }
}

/// A request target (RFC 9112 §3.2), `CONNECT` aside.
struct Target<'a> {
    scheme: Option<&'static [u8]>,
    authority: Option<&'a [u8]>,
    path: Cow<'a, [u8]>,
}

impl<'a> Target<'a> {
    fn parse(method: &[u8], target: &'a [u8]) -> Option<Self> {
        if is_path(method, target) {
            return Some(Self {
                scheme: None,
                authority: None,
                path: Cow::Borrowed(target),
            });
        }
        let (scheme, rest): (&'static [u8], _) = [(&b"http"[..], &b"http://"[..]), (b"https", b"https://")]
            .into_iter()
            .find_map(|(scheme, prefix)| {
                let (start, rest) = target.split_at_checked(prefix.len())?;
                start.eq_ignore_ascii_case(prefix).then_some((scheme, rest))
            })?;
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?'))
            .unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path: Cow<'_, [u8]> = match path {
            [] if method == b"OPTIONS" => Cow::Borrowed(b"*"),
            [] => Cow::Borrowed(b"/"),
            // RFC 9110 §4.2.3: an empty path is the same as `/`.
            [b'?', ..] => Cow::Owned([b"/", path].concat()),
            path => Cow::Borrowed(path),
        };
        (is_authority(authority) && is_path(method, &path)).then_some(Self {
            scheme: Some(scheme),
            authority: Some(authority),
            path,
        })
    }
}

fn response(section: &[u8], limits: &Limits, to_head: bool) -> Result<ResponseStart, Malformed> {
    let mut lines = split(section);
    let line = lines.next().ok_or(Malformed::StatusLine)?;
    let (version, rest) = line.split_at_checked(8).ok_or(Malformed::StatusLine)?;
    let protocol = self::version(version)?;
    let (digits, reason) = rest.split_at_checked(4).ok_or(Malformed::StatusLine)?;
    let [b' ', status @ ..] = digits else {
        return Err(Malformed::StatusLine);
    };
    // The blank after the status is missing in many a server's responses without a reason.
    let reason_fits = matches!(reason, [] | [b' ', ..]) && crate::http::grammar::is_value(reason);
    let mut headers = Headers::new();
    headers.append(b":status", status);
    let status = ResponseHead {
        headers: headers.clone(),
    }
    .status()
    .filter(|_| reason_fits);
    let status = status.ok_or(Malformed::StatusLine)?;
    let said = fields::read(lines, Role::Response, limits, &mut headers)?;
    if said.chunked && (protocol == Protocol::Http10 || status < 200 || status == 204) {
        return Err(Malformed::TransferEncoding);
    }
    if status == 101 {
        return Err(Malformed::Informational);
    }
    let framing = if to_head || status < 200 || status == 204 || status == 304 {
        Framing::Length(0)
    } else if said.chunked {
        Framing::Chunked
    } else {
        said.content_length.map_or(Framing::UntilClose, Framing::Length)
    };
    if status < 200 || status == 204 {
        headers.remove(b"content-length");
    }
    let keep_alive = keeps_alive(protocol, &said) && framing != Framing::UntilClose;
    Ok(ResponseStart {
        head: ResponseHead { headers },
        framing,
        keep_alive,
    })
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn an_empty_path_is_the_root() {
        let check = |method: &str, target: &str, path: &str| {
            let target = Target::parse(method.as_bytes(), target.as_bytes()).unwrap();
            assert_eq!(target.path.escape_ascii().to_string(), path);
        };
        check("GET", "http://a.test", "/");
        check("GET", "http://a.test?b=/c", "/?b=/c");
        check("OPTIONS", "http://a.test", "*");
        check("OPTIONS", "http://a.test?b", "/?b");
    }
}
