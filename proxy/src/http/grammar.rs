//! The message grammar that holds on every connection, in both directions (RFC 9110 §5, RFC 9112 §3, RFC 9113 §8).
//!
//! Stricter than the RFCs only where leniency has let requests mean two things: what a policy saw must be what the
//! upstream gets.

use crate::http::error::Unsendable;
use crate::http::headers::Headers;

/// `tchar` of RFC 9110 §5.6.2.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let tchar = b"!#$%&'*+-.^_`|~";
        let mut index = 0;
        while index < tchar.len() {
            table[tchar[index] as usize] = true;
            index += 1;
        }
        table[byte] |= (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

/// HTAB, SP, VCHAR and obs-text of RFC 9110 §5.5.
const VALUE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte == 9 || (byte >= 32 && byte != 127);
        byte += 1;
    }
    table
};

/// Whether `bytes` is a token.
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// Whether a field may have this value.
#[must_use]
pub fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| VALUE[usize::from(*byte)])
}

/// Without blanks at both ends (OWS of RFC 9110 §5.6.3).
#[must_use]
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether `method` is a token, and not a standard method in another case: those are other methods to every rule
/// that names one, and the same method to many a server.
#[must_use]
pub fn is_method(method: &[u8]) -> bool {
    const STANDARD: [&[u8]; 9] = [
        b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE",
    ];
    match STANDARD.iter().find(|known| known.eq_ignore_ascii_case(method)) {
        Some(known) => *known == method,
        None => is_token(method),
    }
}

/// Whether `path` can be the target of `method`: `/...` in visible ASCII without fragment, or the `*` of OPTIONS.
#[must_use]
pub fn is_path(method: &[u8], path: &[u8]) -> bool {
    match path {
        [b'/', rest @ ..] => rest.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#'),
        b"*" => method == b"OPTIONS",
        _ => false,
    }
}

/// Whether `authority` is a host with an optional port (RFC 3986 §3.2.2, §3.2.3), without user information.
#[must_use]
pub fn is_authority(authority: &[u8]) -> bool {
    let (host, port) = if authority.starts_with(b"[") {
        let Some(end) = memchr::memchr(b']', authority) else {
            return false;
        };
        let inside = std::str::from_utf8(&authority[1..end]).ok();
        if inside.is_none_or(|text| text.parse::<std::net::Ipv6Addr>().is_err()) {
            return false;
        }
        (&authority[..=end], &authority[end + 1..])
    } else {
        let end = memchr::memchr(b':', authority).unwrap_or(authority.len());
        let (host, port) = authority.split_at(end);
        if !is_reg_name(host) {
            return false;
        }
        (host, port)
    };
    let is_port = |digits: &[u8]| number(digits).is_some_and(|number| number <= 65535);
    !host.is_empty() && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
}

fn is_reg_name(mut host: &[u8]) -> bool {
    loop {
        host = match host {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
}

/// A decimal number: digits only, no sign, no blank.
#[must_use]
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether a field belongs to one HTTP/1 connection (RFC 9110 §7.6.1) and is never forwarded. `te` is apart.
#[must_use]
pub fn is_connection_field(name: &[u8]) -> bool {
    match name.len() {
        7 => name == b"upgrade",
        10 => name == b"connection" || name == b"keep-alive",
        14 => name == b"http2-settings",
        16 => name == b"proxy-connection",
        17 => name == b"transfer-encoding",
        _ => false,
    }
}

/// Whether trailers cannot have this field: framing, routing, and what is read before the body (RFC 9110 §6.5.1).
#[must_use]
pub fn is_forbidden_trailer(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 12] = [
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"max-forwards",
        b"proxy-authorization",
        b"te",
        b"trailer",
    ];
    is_connection_field(name) || name.starts_with(b":") || NAMES.contains(&name)
}

/// Whether a list of coding names (`te`) holds `trailers`.
#[must_use]
pub fn takes_trailers(te: &[u8]) -> bool {
    te.split(|byte| *byte == b',')
        .any(|coding| trim(coding).eq_ignore_ascii_case(b"trailers"))
}

/// Whether every field can be written.
///
/// # Errors
/// The first that cannot.
pub fn check_fields(headers: &Headers) -> Result<(), Unsendable> {
    for (name, value) in headers.fields() {
        if !is_token(name) {
            return Err(Unsendable::FieldName(name.into()));
        }
        if !is_value(value) {
            return Err(Unsendable::FieldValue(name.into()));
        }
    }
    Ok(())
}

/// Whether method, path and authority of a request can be written.
///
/// # Errors
/// The first that cannot.
pub fn check_request(headers: &Headers) -> Result<(), Unsendable> {
    let pseudo = |name: &'static str| headers.get(name.as_bytes()).ok_or(Unsendable::Missing(name));
    let method = pseudo(":method")?;
    if !is_method(method) || method == b"CONNECT" {
        return Err(Unsendable::Invalid(":method"));
    }
    if !is_path(method, pseudo(":path")?) {
        return Err(Unsendable::Invalid(":path"));
    }
    if !is_authority(pseudo(":authority")?) {
        return Err(Unsendable::Invalid(":authority"));
    }
    check_fields(headers)
}

#[cfg(test)]
mod tests {
    use super::{is_authority, is_forbidden_trailer, is_method, is_path, is_token, is_value, number, trim};

    #[test]
    fn authorities_are_hosts_with_optional_ports() {
        for good in [
            "a.test",
            "a.test:80",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:443",
            "%61.test",
            "a_b",
            "a,b",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:b",
            "a:65536",
            "a:",
            "u@a",
            "[::1",
            "::1",
            "[x]",
            "a b",
            "a/b",
            "a\\b",
            "a%zz",
            "[::1]x",
            "a:1:2",
            "\u{e9}.test",
            "a?b",
            "a#b",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn methods_are_tokens_in_their_own_case() {
        assert!(is_method(b"GET") && is_method(b"M-SEARCH") && is_method(b"purge"));
        assert!(!is_method(b"get") && !is_method(b"Post") && !is_method(b"") && !is_method(b"G@T"));
    }

    #[test]
    fn paths_are_visible_ascii() {
        assert!(is_path(b"GET", b"/") && is_path(b"GET", b"/a?b=%20|\"") && is_path(b"OPTIONS", b"*"));
        for bad in ["", "a", "*", "/a b", "/a#b", "/\u{e9}", "/\x7f", "//a\n"] {
            assert!(!is_path(b"GET", bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn values_hold_no_control_characters() {
        assert!(is_value(b"a\tb c\xff") && is_value(b""));
        for bad in [0, 1, 10, 11, 13, 27, 127] {
            assert!(!is_value(&[b'a', bad]), "{bad}");
        }
        assert!(is_token(b"x-a_b") && !is_token(b"a b") && !is_token(b"a:") && !is_token(b"\xe9"));
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(number(b"0042"), Some(42));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616", "1,1"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(trim(b" \t a b\t "), b"a b");
    }

    #[test]
    fn framing_is_no_trailer() {
        for name in [
            "content-length",
            "transfer-encoding",
            "host",
            "connection",
            ":path",
            "authorization",
        ] {
            assert!(is_forbidden_trailer(name.as_bytes()), "{name}");
        }
        assert!(!is_forbidden_trailer(b"grpc-status"));
    }
}
