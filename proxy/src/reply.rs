//! What the proxy answers itself: the one table from a reason to status, response flag, details and body.
//!
//! Words and numbers are those of Envoy ("Response Code Details" and "Access log format strings" in its
//! documentation), because dashboards and alerts are written against them.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::http::error::Malformed;
use crate::http::headers::Headers;

/// Why an exchange ends without the upstream's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No virtual host or route takes the request.
    NoRoute,
    /// The route names a cluster that is not there.
    NoCluster,
    /// The cluster has nobody to ask.
    NoHealthyUpstream,
    /// The request never left, or the response never began.
    Upstream(UpstreamFailure, Attempt),
    /// The upstream failed in the middle of its response.
    UpstreamBrokeOff(UpstreamFailure),
    /// The route's time is over.
    RouteTimeout,
    /// The time of the last try is over.
    TryTimeout,
    /// `request_timeout`: the request did not end in time.
    RequestTimeout,
    /// `request_headers_timeout`: the head did not end in time.
    HeadersTimeout,
    /// `stream_idle_timeout`: nothing moved, and the request has not ended.
    StreamIdle,
    /// `stream_idle_timeout`: nothing moved since the request ended.
    ResponseIdle,
    /// The client has gone.
    DownstreamGone,
    /// The client broke the protocol.
    DownstreamProtocol,
    /// The request body outgrew a filter's buffer.
    RequestTooLarge,
    /// The response body outgrew a filter's buffer.
    ResponseTooLarge,
    /// The head of the request is larger than allowed.
    HeadersTooLarge,
    /// A filter broke and fails closed.
    FilterFailed,
    /// A filter ended the exchange.
    FilterReset,
    /// What filters made of the request cannot be sent: the text says why, as in `invalid header value for: x-b`.
    BadRequestHead(String),
    /// What filters or the upstream made of the response cannot be sent.
    BadResponseHead(String),
    /// Filters left the request another body than its head announces; the text says which.
    BadRequestBody(String),
    /// The same of a response: it is cut off.
    BadResponseBody,
    /// A route that answers by itself.
    Direct,
}

/// How an upstream failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// Nobody took the connection; the text is the system's.
    Connect(String),
    /// Nobody took it in time.
    ConnectTimeout,
    /// It closed before it answered.
    Closed,
    /// It reset the exchange.
    Reset,
    /// It did not take the exchange (HTTP/2 `REFUSED_STREAM`).
    Refused,
    /// It broke the protocol.
    Protocol,
    /// A circuit breaker is open.
    Overflow,
}

/// Which try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The only one.
    First,
    /// A further one.
    Retried,
    /// The last that the policy allows, after others.
    Exhausted,
}

/// Response flags: a set, written as in `URX,UF`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

/// Short names by bit, in the order in which they are written.
const FLAGS: [&str; 19] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DC", "UAEX", "RL", "URX", "SI", "IH", "DPE",
    "UPE", "OM", "NC",
];

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Flags { $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)* }
    };
}

flags! {
    /// `UH`: no healthy upstream.
    NO_HEALTHY_UPSTREAM = 1;
    /// `UT`: upstream request timeout.
    UPSTREAM_TIMEOUT = 2;
    /// `LR`: reset by us.
    LOCAL_RESET = 3;
    /// `UR`: reset by the upstream.
    UPSTREAM_RESET = 4;
    /// `UF`: connection failure.
    UPSTREAM_CONNECT = 5;
    /// `UC`: the upstream ended the connection.
    UPSTREAM_CLOSED = 6;
    /// `UO`: circuit breaker.
    UPSTREAM_OVERFLOW = 7;
    /// `NR`: no route.
    NO_ROUTE = 8;
    /// `DC`: the downstream has gone.
    DOWNSTREAM_GONE = 9;
    /// `UAEX`: refused by an authorisation service.
    UNAUTHORIZED = 10;
    /// `RL`: rate limited.
    RATE_LIMITED = 11;
    /// `URX`: retries are used up.
    RETRIES_EXHAUSTED = 12;
    /// `SI`: idle for too long.
    STREAM_IDLE = 13;
    /// `DPE`: the downstream broke the protocol.
    DOWNSTREAM_PROTOCOL = 15;
    /// `UPE`: the upstream broke the protocol.
    UPSTREAM_PROTOCOL = 16;
    /// `NC`: no such cluster.
    NO_CLUSTER = 18;
}

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// There is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its flags one by one, as Envoy writes them: in the order in which they come up. That retries are used up is
    /// known before why the last one failed.
    pub fn ordered(self) -> impl Iterator<Item = Self> {
        let rest = (0..FLAGS.len()).map(|bit| Self(1 << bit));
        let rest = rest.filter(|flag| *flag != Self::RETRIES_EXHAUSTED);
        std::iter::once(Self::RETRIES_EXHAUSTED)
            .chain(rest)
            .filter(move |flag| self.contains(*flag))
    }

    /// The set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// As Envoy's attribute `response.flags`: its bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return out.write_str("-");
        }
        for (position, flag) in self.ordered().enumerate() {
            if position > 0 {
                out.write_str(",")?;
            }
            out.write_str(FLAGS.get(flag.0.trailing_zeros() as usize).unwrap_or(&"?"))?;
        }
        Ok(())
    }
}

/// An answer of the proxy itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status of an answer that is not gRPC.
    pub status: u16,
    /// Further fields, in order.
    pub headers: Vec<(Bytes, Bytes)>,
    /// `text/plain` unless a field says otherwise; the message of a gRPC answer.
    pub body: Bytes,
    /// The status of a gRPC answer; taken from `status` when `None`.
    pub grpc_status: Option<u32>,
    /// For the access log.
    pub flags: Flags,
    /// For the access log: no blanks.
    pub details: Cow<'static, str>,
}

/// What the answer must look like to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A body may follow.
    Plain,
    /// The answer to `HEAD`: the length of the body, without it.
    Head,
    /// Trailers only (the gRPC protocol over HTTP/2, "Responses").
    Grpc,
}

impl Dialect {
    /// What a request with these headers expects.
    #[must_use]
    pub fn of(request: &Headers) -> Self {
        if request.get(b"content-type").is_some_and(is_grpc) {
            Self::Grpc
        } else if request.get(b":method") == Some(b"HEAD") {
            Self::Head
        } else {
            Self::Plain
        }
    }
}

/// A `content-type` of gRPC, and neither gRPC-Web nor anything else that only begins alike.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'+' || rest[0] == b';')
}

impl Reply {
    /// The answer to give for `reason`. Those that nobody will receive have a status for the log all the same.
    #[must_use]
    pub fn to(reason: &Reason) -> Self {
        let (status, flags, details, body): (u16, Flags, &'static str, &'static str) = match reason {
            Reason::NoRoute => (404, Flags::NO_ROUTE, "route_not_found", ""),
            Reason::NoCluster => (503, Flags::NO_CLUSTER, "cluster_not_found", ""),
            Reason::NoHealthyUpstream => (
                503,
                Flags::NO_HEALTHY_UPSTREAM,
                "no_healthy_upstream",
                "no healthy upstream",
            ),
            Reason::Upstream(failure, attempt) => return Self::to_upstream_failure(failure, *attempt),
            Reason::UpstreamBrokeOff(failure) => {
                let mut reply = Self::to_upstream_failure(failure, Attempt::First);
                reply.details = reply.details.replacen("_before_", "_after_", 1).into();
                return reply;
            }
            Reason::RouteTimeout => (
                504,
                Flags::UPSTREAM_TIMEOUT,
                "response_timeout",
                "upstream request timeout",
            ),
            Reason::TryTimeout => (
                504,
                Flags::UPSTREAM_TIMEOUT,
                "upstream_per_try_timeout",
                "upstream request timeout",
            ),
            Reason::RequestTimeout => (408, Flags::NONE, "request_overall_timeout", "request timeout"),
            Reason::HeadersTimeout => (
                408,
                Flags::NONE,
                "request_header_timeout",
                "request header timeout",
            ),
            Reason::StreamIdle => (408, Flags::STREAM_IDLE, "stream_idle_timeout", "stream timeout"),
            Reason::ResponseIdle => (504, Flags::STREAM_IDLE, "stream_idle_timeout", "stream timeout"),
            Reason::DownstreamGone => (0, Flags::DOWNSTREAM_GONE, "downstream_remote_disconnect", ""),
            Reason::DownstreamProtocol => (
                400,
                Flags::DOWNSTREAM_PROTOCOL,
                "http1.codec_error",
                "Bad Request",
            ),
            Reason::RequestTooLarge => (413, Flags::NONE, "request_payload_too_large", "Payload Too Large"),
            Reason::ResponseTooLarge => (
                500,
                Flags::NONE,
                "response_payload_too_large",
                "Internal Server Error",
            ),
            Reason::HeadersTooLarge => (431, Flags::NONE, "request_headers_too_large", ""),
            Reason::FilterFailed => (503, Flags::NONE, "wasm_fail_stream", ""),
            Reason::FilterReset => (0, Flags::NONE, "wasm_close_stream", ""),
            Reason::BadRequestHead(why) => {
                return Self {
                    details: Cow::Borrowed("filter_removed_required_request_headers"),
                    ..Self::text(503, why.clone())
                };
            }
            Reason::BadResponseHead(why) => {
                return Self {
                    flags: Flags::UPSTREAM_PROTOCOL,
                    details: Cow::Borrowed("filter_removed_required_response_headers"),
                    ..Self::text(502, why.clone())
                };
            }
            Reason::BadRequestBody(why) => {
                return Self {
                    details: Cow::Borrowed("filter_changed_request_length"),
                    ..Self::text(500, why.clone())
                };
            }
            Reason::BadResponseBody => (0, Flags::LOCAL_RESET, "filter_changed_response_length", ""),
            Reason::Direct => (200, Flags::NONE, "direct_response", ""),
        };
        Self {
            status,
            flags,
            details: Cow::Borrowed(details),
            body: Bytes::from_static(body.as_bytes()),
            ..Self::default()
        }
    }

    /// The answer to a request that HTTP or the listener's limits do not allow, as Envoy gives it.
    #[must_use]
    pub fn refusing(reason: Malformed) -> Self {
        if reason == Malformed::HeadTimeout {
            return Self::to(&Reason::HeadersTimeout);
        }
        let status = reason.status();
        let understood = reason == Malformed::MissingHost;
        let phrase = http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .filter(|_| !understood);
        Self {
            flags: if understood {
                Flags::NONE
            } else {
                Flags::DOWNSTREAM_PROTOCOL
            },
            details: Cow::Borrowed(reason.details()),
            ..Self::text(status, phrase.unwrap_or_default())
        }
    }

    /// An answer in plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            ..Self::default()
        }
    }

    fn to_upstream_failure(failure: &UpstreamFailure, attempt: Attempt) -> Self {
        let (status, flag, reset, transport) = match failure {
            UpstreamFailure::Connect(error) => (
                503,
                Flags::UPSTREAM_CONNECT,
                "remote connection failure",
                Some(format!("delayed connect error: {error}")),
            ),
            UpstreamFailure::ConnectTimeout => (503, Flags::UPSTREAM_CONNECT, "connection timeout", None),
            UpstreamFailure::Closed => (503, Flags::UPSTREAM_CLOSED, "connection termination", None),
            UpstreamFailure::Reset => (503, Flags::UPSTREAM_RESET, "remote reset", None),
            UpstreamFailure::Refused => (503, Flags::UPSTREAM_RESET, "remote refused stream reset", None),
            UpstreamFailure::Protocol => (502, Flags::UPSTREAM_PROTOCOL, "protocol error", None),
            UpstreamFailure::Overflow => (503, Flags::UPSTREAM_OVERFLOW, "overflow", None),
        };
        let retried = match attempt {
            Attempt::First => "",
            Attempt::Retried | Attempt::Exhausted => "retried and the latest ",
        };
        // Why a connection failed is for the operator, not for the client (as in Envoy 1.40).
        let body = format!(
            "upstream connect error or disconnect/reset before headers. {retried}reset reason: {reset}"
        );
        let mut details = format!("upstream_reset_before_response_started{{{reset}");
        if let Some(transport) = transport {
            details.push('|');
            details.push_str(&transport);
        }
        details.push('}');
        let flags = match attempt {
            Attempt::First | Attempt::Retried => flag,
            Attempt::Exhausted => flag.with(Flags::RETRIES_EXHAUSTED),
        };
        let mut reply = Self::text(status, body);
        reply.flags = flags;
        reply.details = Cow::Owned(details.replace(char::is_whitespace, "_"));
        if *failure == UpstreamFailure::Overflow {
            reply.headers.push((
                Bytes::from_static(b"x-envoy-overloaded"),
                Bytes::from_static(b"true"),
            ));
        }
        reply
    }

    /// Writes the head of this answer, and returns the body that must follow it (empty: nothing follows).
    pub fn write(&self, dialect: Dialect, head: &mut Headers) -> Bytes {
        head.clear();
        if dialect == Dialect::Grpc {
            self.write_grpc(head);
            return Bytes::new();
        }
        let status = if (200..600).contains(&self.status) {
            self.status
        } else {
            500
        };
        head.append(b":status", decimal(u64::from(status)).as_slice());
        let mut typed = false;
        for (name, value) in self.own_headers() {
            typed |= &name[..] == b"content-type";
            head.append(name, value);
        }
        if status == 204 || status == 304 {
            return Bytes::new();
        }
        head.append(b"content-length", decimal(self.body.len() as u64).as_slice());
        if !typed && !self.body.is_empty() {
            head.append(b"content-type", b"text/plain");
        }
        match dialect {
            Dialect::Head => Bytes::new(),
            Dialect::Plain | Dialect::Grpc => self.body.clone(),
        }
    }

    fn write_grpc(&self, head: &mut Headers) {
        head.append(b":status", b"200");
        for (name, value) in self.own_headers() {
            if &name[..] != b"content-type" {
                head.append(name, value);
            }
        }
        head.append(b"content-type", b"application/grpc");
        let status = self.grpc_status.unwrap_or_else(|| grpc_status_of(self.status));
        head.append(b"grpc-status", decimal(u64::from(status)).as_slice());
        if !self.body.is_empty() {
            head.append(b"grpc-message", percent_encoded(&self.body).as_bytes());
        }
    }

    /// The fields that are not ours to compute.
    fn own_headers(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let ours =
            |name: &[u8]| name == b":status" || name == b"content-length" || name == b"transfer-encoding";
        self.headers
            .iter()
            .filter(move |(name, _)| !ours(name))
            .map(|(name, value)| (name, value))
    }
}

/// The gRPC status for an HTTP status ("HTTP to gRPC Status Code Mapping" of the gRPC documentation).
#[must_use]
pub fn grpc_status_of(http: u16) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// `grpc-message`: everything but printable ASCII, and `%`, as `%XX`.
fn percent_encoded(text: &[u8]) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A number in decimal digits, without an allocation.
pub(crate) fn decimal(mut number: u64) -> Decimal {
    let mut digits = Decimal {
        bytes: [0; 20],
        start: 20,
    };
    loop {
        digits.start -= 1;
        digits.bytes[digits.start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            return digits;
        }
    }
}

/// See [`decimal`].
pub(crate) struct Decimal {
    bytes: [u8; 20],
    start: usize,
}

impl Decimal {
    /// The digits.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests;
