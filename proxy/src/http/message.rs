//! What an exchange is made of, whatever the version of HTTP: heads and frames.

use bytes::Bytes;

use crate::http::headers::Headers;

/// The version a message came in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// As access logs write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// The head of a request.
///
/// `:authority`, `:path`, `:method` and `:scheme` stand for request line and `host`, which is never a field.
/// Connection-specific fields (RFC 9110 §7.6.1) and `expect: 100-continue` are not in the list either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Pseudo headers and fields.
    pub headers: Headers,
    /// How it came in. Does not say how it goes out.
    pub protocol: Protocol,
}

impl RequestHead {
    /// `:method`; empty if a filter has removed it.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.headers.get(b":method").unwrap_or_default()
    }

    /// `:path`, with the query; empty if a filter has removed it.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.headers.get(b":path").unwrap_or_default()
    }

    /// `:authority`; empty if a filter has removed it.
    #[must_use]
    pub fn authority(&self) -> &[u8] {
        self.headers.get(b":authority").unwrap_or_default()
    }

    /// `:scheme`; empty if a filter has removed it.
    #[must_use]
    pub fn scheme(&self) -> &[u8] {
        self.headers.get(b":scheme").unwrap_or_default()
    }
}

/// The head of a response: `:status` and fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Pseudo header and fields.
    pub headers: Headers,
}

impl ResponseHead {
    /// A head without fields.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let mut headers = Headers::new();
        let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + (digit % 10) as u8);
        headers.append(b":status", &digits);
        Self { headers }
    }

    /// `:status`; `None` if a filter has removed it or written something else than three digits.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.headers.get(b":status")? {
            [a @ b'1'..=b'9', b, c] if b.is_ascii_digit() && c.is_ascii_digit() => {
                Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
            }
            _ => None,
        }
    }

    /// 1xx: another head follows.
    #[must_use]
    pub fn is_informational(&self) -> bool {
        self.status().is_some_and(|status| status < 200)
    }
}

/// What follows a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A piece of the body, never empty when it comes from a connection.
    Data(Bytes),
    /// The fields after the body. Nothing follows.
    Trailers(Headers),
}

#[cfg(test)]
mod tests {
    use super::ResponseHead;

    #[test]
    fn status_is_three_digits() {
        assert_eq!(ResponseHead::new(418).status(), Some(418));
        for bad in ["", "20", "2000", "abc", "099", "+20", "2 0"] {
            let mut head = ResponseHead::new(200);
            head.headers.set(b":status", bad.as_bytes());
            assert_eq!(head.status(), None, "{bad:?}");
        }
        assert!(ResponseHead::new(103).is_informational());
        assert!(!ResponseHead::new(200).is_informational());
    }
}
