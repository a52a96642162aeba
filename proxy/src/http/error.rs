//! How an exchange can fail: who did it, and what exactly.

use std::fmt;
use std::io;

/// The peer an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who sent the request.
    Downstream,
    /// Who was sent the request.
    Upstream,
}

/// Why an exchange cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// On which connection.
    pub side: Side,
    /// What happened there.
    pub kind: StreamErrorKind,
}

/// What ended an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamErrorKind {
    /// The peer reset this exchange and may have worked on it.
    Reset(ResetReason),
    /// The peer says that it has not worked on it (`REFUSED_STREAM`, or above the last stream of a `GOAWAY`): any
    /// request may be sent again.
    Refused,
    /// The connection ended before the exchange did.
    Closed,
    /// The connection failed.
    Io(io::ErrorKind),
    /// Nothing moved for as long as the caller allows.
    Timeout,
    /// The peer sent what HTTP does not allow.
    Malformed(Malformed),
    /// We were asked to send what HTTP does not allow. Nothing of it was sent.
    Unsendable(Unsendable),
    /// We reset it, or a half of it was dropped before its end.
    Cancelled,
}

impl StreamError {
    /// On the downstream connection.
    #[must_use]
    pub fn downstream(kind: StreamErrorKind) -> Self {
        Self {
            side: Side::Downstream,
            kind,
        }
    }

    /// On the upstream connection.
    #[must_use]
    pub fn upstream(kind: StreamErrorKind) -> Self {
        Self {
            side: Side::Upstream,
            kind,
        }
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Downstream => "downstream",
            Side::Upstream => "upstream",
        };
        match &self.kind {
            StreamErrorKind::Reset(reason) => write!(out, "{side} reset the stream: {reason}"),
            StreamErrorKind::Refused => write!(out, "{side} refused the stream unseen"),
            StreamErrorKind::Closed => write!(out, "{side} closed the connection"),
            StreamErrorKind::Io(kind) => write!(out, "{side} connection: {kind}"),
            StreamErrorKind::Timeout => write!(out, "{side} timed out"),
            StreamErrorKind::Malformed(reason) => write!(out, "{side} sent {reason}"),
            StreamErrorKind::Unsendable(reason) => write!(out, "not sent to {side}: {reason}"),
            StreamErrorKind::Cancelled => write!(out, "cancelled by us towards {side}"),
        }
    }
}

impl std::error::Error for StreamError {}

/// An error code of RFC 9113 §7, also where HTTP/1 has nothing but closing the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResetReason(pub u32);

impl ResetReason {
    /// Nothing is wrong; the rest of the request is not wanted.
    pub const NO_ERROR: Self = Self(0);
    /// The peer broke a rule.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// We could not go on.
    pub const INTERNAL_ERROR: Self = Self(2);
    /// Nothing of the request was worked on.
    pub const REFUSED_STREAM: Self = Self(7);
    /// The answer is not wanted any more.
    pub const CANCEL: Self = Self(8);
    /// The peer makes too much work.
    pub const ENHANCE_YOUR_CALM: Self = Self(11);
}

impl fmt::Display for ResetReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        match usize::try_from(self.0).ok().and_then(|code| NAMES.get(code)) {
            Some(name) => out.write_str(name),
            None => write!(out, "code {:#x}", self.0),
        }
    }
}

impl fmt::Debug for ResetReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// What a filter wrote and HTTP does not allow (RFC 9110 §5, RFC 9113 §8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// Not a token.
    FieldName(Box<[u8]>),
    /// The value of this field holds CR, LF, NUL or another control character.
    FieldValue(Box<[u8]>),
    /// This pseudo header is needed and absent.
    Missing(&'static str),
    /// This pseudo header is there and not valid.
    Invalid(&'static str),
    /// More or fewer bytes of body than `content-length` announced.
    Length {
        /// What the head said.
        announced: u64,
        /// What was to be written in all.
        written: u64,
    },
    /// A body, or trailers, where the message has ended already or cannot have any.
    AfterEnd,
}

impl fmt::Display for Unsendable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldName(name) => write!(out, "invalid header name: {}", name.escape_ascii()),
            Self::FieldValue(name) => write!(out, "invalid header value for: {}", name.escape_ascii()),
            Self::Missing(name) => write!(out, "missing required header: {name}"),
            Self::Invalid(name) => write!(out, "invalid header value for: {name}"),
            Self::Length { announced, written } => {
                write!(out, "content-length is {announced}, the body has {written} bytes")
            }
            Self::AfterEnd => out.write_str("body or trailers after the end of the message"),
        }
    }
}

/// What a peer sent and we do not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Request line: not three parts with one blank between them.
    RequestLine,
    /// Not a token, or a standard method in the wrong case.
    Method,
    /// A request target that RFC 9112 §3.2 does not allow for this method.
    Target,
    /// A request line longer than the limit for the head.
    TargetTooLong,
    /// Not `HTTP/` digit `.` digit.
    Version,
    /// A version other than 1.0 and 1.1.
    UnsupportedVersion,
    /// HTTP/1.0, which the listener does not take.
    OldVersion,
    /// Not `HTTP/1.x` and three digits.
    StatusLine,
    /// A line that does not end in CR LF, or a CR elsewhere.
    LineEnd,
    /// A continued field line (RFC 9112 §5.2).
    Folding,
    /// A field name that is no token, or is followed by a blank.
    FieldName,
    /// A control character in a value; in HTTP/2 also a blank at either end.
    FieldValue,
    /// The head has too many bytes.
    HeadTooLarge,
    /// The head has too many fields.
    TooManyFields,
    /// No `host`.
    MissingHost,
    /// More than one `host`.
    SeveralHosts,
    /// Not `host` or `host:port`, or with user information.
    Host,
    /// Not one decimal number.
    ContentLength,
    /// Both ways of framing at once.
    ContentLengthAndTransferEncoding,
    /// Several, or ending in another coding than `chunked`, or in a message that cannot have it.
    TransferEncoding,
    /// A coding other than `chunked`.
    UnknownTransferEncoding,
    /// `connection` is no list of tokens, or names a field that is not the connection's.
    Connection,
    /// Something else than `100-continue`.
    Expectation,
    /// A chunk size, extension or end of chunk.
    Chunk,
    /// A field that trailers cannot have (RFC 9110 §6.5.1).
    Trailer,
    /// Trailers with too many bytes or fields.
    TrailersTooLarge,
    /// More or fewer bytes of body than announced.
    BodyLength,
    /// A pseudo header that is missing, doubled, unknown or misplaced.
    PseudoHeader,
    /// A field of HTTP/1 connections in HTTP/2 (RFC 9113 §8.2.2).
    ConnectionField,
    /// A request for another protocol, which is not offered.
    Upgrade,
    /// A tunnel, which is not offered.
    Connect,
    /// `101` that nobody asked for, or too many heads before the final one.
    Informational,
    /// The head did not arrive in time.
    HeadTimeout,
    /// A frame or frame sequence that HTTP/2 does not allow.
    Frames,
}

impl Malformed {
    /// The status that tells a client.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::HeadTimeout => 408,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::OldVersion => 426,
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => 431,
            Self::Upgrade => 403,
            Self::UnknownTransferEncoding | Self::Connect => 501,
            Self::UnsupportedVersion => 505,
            Self::RequestLine
            | Self::Method
            | Self::Target
            | Self::Version
            | Self::StatusLine
            | Self::LineEnd
            | Self::Folding
            | Self::FieldName
            | Self::FieldValue
            | Self::MissingHost
            | Self::SeveralHosts
            | Self::Host
            | Self::ContentLength
            | Self::ContentLengthAndTransferEncoding
            | Self::TransferEncoding
            | Self::Connection
            | Self::Chunk
            | Self::Trailer
            | Self::BodyLength
            | Self::PseudoHeader
            | Self::ConnectionField
            | Self::Informational
            | Self::Frames => 400,
        }
    }

    /// For the access log: Envoy's response code detail where it has one for this.
    #[must_use]
    pub fn details(self) -> &'static str {
        match self {
            Self::RequestLine | Self::Version | Self::StatusLine | Self::LineEnd | Self::Folding => {
                "http1.codec_error"
            }
            Self::Chunk | Self::FieldName | Self::ContentLength | Self::Connection => "http1.codec_error",
            Self::Method => "http1.invalid_method",
            Self::Target => "http1.invalid_url",
            Self::TargetTooLong | Self::HeadTooLarge => "http1.headers_too_large",
            Self::UnsupportedVersion => "http1.unsupported_version",
            Self::OldVersion => "low_version",
            Self::FieldValue => "http1.invalid_characters",
            Self::TooManyFields => "http1.too_many_headers",
            Self::MissingHost => "missing_host_header",
            Self::SeveralHosts | Self::Host => "http1.invalid_host",
            Self::ContentLengthAndTransferEncoding => "http1.content_length_and_chunked_not_allowed",
            Self::TransferEncoding => "http1.transfer_encoding_not_allowed",
            Self::UnknownTransferEncoding => "http1.invalid_transfer_encoding",
            Self::Expectation => "http1.unknown_expectation",
            Self::Trailer => "http1.invalid_trailer",
            Self::TrailersTooLarge => "http1.trailers_too_large",
            Self::BodyLength | Self::PseudoHeader => "http2.violation.of.messaging.rule",
            Self::ConnectionField => "http2.invalid.header.field",
            Self::Upgrade => "upgrade_failed",
            Self::Connect => "connect_not_supported",
            Self::Informational => "http1.unexpected_informational",
            Self::HeadTimeout => "request_header_timeout",
            Self::Frames => "http2.protocol_error",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::RequestLine => "a malformed request line",
            Self::Method => "an invalid method",
            Self::Target => "an invalid request target",
            Self::TargetTooLong => "a request line above the limit",
            Self::Version => "a malformed HTTP version",
            Self::UnsupportedVersion => "an HTTP version other than 1.0 and 1.1",
            Self::OldVersion => "HTTP/1.0, which is switched off here",
            Self::StatusLine => "a malformed status line",
            Self::LineEnd => "a line that does not end in CR LF",
            Self::Folding => "a folded field line",
            Self::FieldName => "an invalid field name",
            Self::FieldValue => "an invalid field value",
            Self::HeadTooLarge => "a head above the limit of bytes",
            Self::TooManyFields => "a head above the limit of fields",
            Self::MissingHost => "no host",
            Self::SeveralHosts => "several hosts",
            Self::Host => "an invalid host",
            Self::ContentLength => "an invalid content-length",
            Self::ContentLengthAndTransferEncoding => "both content-length and transfer-encoding",
            Self::TransferEncoding => "an invalid transfer-encoding",
            Self::UnknownTransferEncoding => "a transfer coding other than chunked",
            Self::Connection => "an invalid connection field",
            Self::Expectation => "an unknown expectation",
            Self::Chunk => "a malformed chunk",
            Self::Trailer => "a field that is not allowed in trailers",
            Self::TrailersTooLarge => "trailers above the limit",
            Self::BodyLength => "a body of another length than announced",
            Self::PseudoHeader => "a missing or invalid pseudo header",
            Self::ConnectionField => "a field of HTTP/1 connections",
            Self::Upgrade => "a request to change the protocol, which is not offered",
            Self::Connect => "a CONNECT request, which is not offered",
            Self::Informational => "an unexpected informational response",
            Self::HeadTimeout => "no complete head in time",
            Self::Frames => "frames that HTTP/2 does not allow",
        })
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::{Malformed, ResetReason, StreamError, StreamErrorKind, Unsendable};

    #[test]
    fn errors_say_who_and_what() {
        let check = |error: StreamError, text: &str| assert_eq!(error.to_string(), text);
        check(
            StreamError::upstream(StreamErrorKind::Reset(ResetReason::CANCEL)),
            "upstream reset the stream: CANCEL",
        );
        check(
            StreamError::downstream(StreamErrorKind::Malformed(Malformed::Chunk)),
            "downstream sent a malformed chunk",
        );
        let name = b"x-b".as_slice().into();
        check(
            StreamError::upstream(StreamErrorKind::Unsendable(Unsendable::FieldValue(name))),
            "not sent to upstream: invalid header value for: x-b",
        );
        assert_eq!(ResetReason(99).to_string(), "code 0x63");
    }
}
