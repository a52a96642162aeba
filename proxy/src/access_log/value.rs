//! Answers one operator from one exchange, into a buffer of the caller.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::access_log::exchange_record::ExchangeRecord;
use crate::access_log::moment;
use crate::access_log::operator::{Address, Fields, GrpcStyle, Number, Operator, Show, Text, Tls, Told};
use crate::forwarding;
use crate::http::headers::Headers;
use crate::http::message::Protocol;
use crate::reply::Flags;
use crate::tls::session::Session;

/// What was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: there is no such value.
    Missing,
    /// Some text.
    Text,
    /// Decimal digits.
    Number,
}

/// Appends the value of `operator` to `out`.
pub fn write(operator: &Operator, record: &ExchangeRecord<'_>, out: &mut Vec<u8>) -> Kind {
    match operator {
        Operator::StartTime(pattern) => {
            moment::write(pattern, record.started, out);
            Kind::Text
        }
        Operator::Field(fields, names) => field(from(*fields, record), names, out),
        Operator::WithoutQuery(names) => without_query(record.request, names, out),
        Operator::QueryParameter(name) => query_parameter(record.request, name, out),
        Operator::Fixed(value) => text(value.as_deref().unwrap_or_default().as_bytes(), out),
        Operator::Number(which) => number(number_of(*which, record), out),
        Operator::Text(which) => text_of(*which, record, out),
        Operator::Address(whose, show) => address(address_of(*whose, record), *show, out),
        Operator::Tls(what) => record
            .tls
            .map_or(Kind::Missing, |session| tls(*what, session, out)),
        Operator::GrpcStatus(style) => grpc_status(record, *style, out),
        Operator::FilterState(name) => match record.filter_state {
            Some(state) if state(name, out) => Kind::Text,
            _ => Kind::Missing,
        },
    }
}

fn text(value: &[u8], out: &mut Vec<u8>) -> Kind {
    if value.is_empty() {
        return Kind::Missing;
    }
    out.extend_from_slice(value);
    Kind::Text
}

fn number(value: Option<u64>, out: &mut Vec<u8>) -> Kind {
    let Some(value) = value else {
        return Kind::Missing;
    };
    // Writing to a vector cannot fail, here and below.
    let _ = write!(out, "{value}");
    Kind::Number
}

fn from<'a>(fields: Fields, record: &ExchangeRecord<'a>) -> Option<&'a Headers> {
    match fields {
        Fields::Request => Some(record.request),
        Fields::Response => record.response,
        Fields::Trailers => record.trailers,
    }
}

fn find<'a>(headers: Option<&'a Headers>, names: &[Box<[u8]>]) -> Option<&'a [u8]> {
    let headers = headers?;
    names.iter().find_map(|name| headers.get(name))
}

fn field(headers: Option<&Headers>, names: &[Box<[u8]>], out: &mut Vec<u8>) -> Kind {
    text(find(headers, names).unwrap_or_default(), out)
}

fn without_query(headers: &Headers, names: &[Box<[u8]>], out: &mut Vec<u8>) -> Kind {
    let value = find(Some(headers), names).unwrap_or_default();
    text(value.split(|byte| *byte == b'?').next().unwrap_or_default(), out)
}

/// The first parameter of this name, as it was written (no percent-decoding, as in Envoy).
fn query_parameter(headers: &Headers, name: &[u8], out: &mut Vec<u8>) -> Kind {
    let path = headers.get(b":path").unwrap_or_default();
    let Some(at) = path.iter().position(|byte| *byte == b'?') else {
        return Kind::Missing;
    };
    let query = path[at + 1..]
        .split(|byte| *byte == b'#')
        .next()
        .unwrap_or_default();
    let mut parameters = query.split(|byte| *byte == b'&');
    let value = parameters.find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix(b"="));
    text(value.unwrap_or_default(), out)
}

fn number_of(which: Number, record: &ExchangeRecord<'_>) -> Option<u64> {
    let timing = &record.timing;
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match which {
        Number::BytesReceived => Some(record.bytes_received),
        Number::BytesSent => Some(record.bytes_sent),
        Number::RequestHeadersBytes => Some(record.request.byte_size() as u64),
        Number::ResponseHeadersBytes => Some(record.response.map_or(0, Headers::byte_size) as u64),
        Number::ResponseTrailersBytes => Some(record.trailers.map_or(0, Headers::byte_size) as u64),
        Number::ResponseCode => Some(u64::from(record.status)),
        Number::AttemptCount => Some(u64::from(record.attempts)),
        Number::Duration => timing.end.map(milliseconds),
        Number::RequestDuration => timing.request_end.map(milliseconds),
        Number::RequestTxDuration => timing.request_sent.map(milliseconds),
        Number::ResponseDuration => timing.response_begin.map(milliseconds),
        Number::ResponseTxDuration => {
            let (begin, end) = timing.response_begin.zip(timing.end)?;
            Some(milliseconds(end.saturating_sub(begin)))
        }
        Number::ConnectionId => Some(record.connection_id),
    }
}

fn text_of(which: Text, record: &ExchangeRecord<'_>, out: &mut Vec<u8>) -> Kind {
    let upstream = record.upstream.as_ref();
    let value = match which {
        Text::Protocol => protocol(record.protocol),
        Text::UpstreamProtocol => upstream
            .and_then(|upstream| upstream.protocol)
            .map_or("", protocol),
        Text::ResponseCodeDetails => record.details,
        Text::TerminationDetails => record.termination_details,
        Text::ResponseFlags => return flags(record.flags, out),
        Text::ResponseFlagsLong => return long_flags(record.flags, out),
        Text::RouteName => record.route,
        Text::VirtualHostName => record.virtual_host,
        Text::UpstreamHostName => match upstream {
            Some(upstream) if !upstream.hostname.is_empty() => upstream.hostname,
            _ => return address(address_of(Address::Upstream, record), Show::Whole, out),
        },
        Text::UpstreamCluster => record.cluster,
        Text::TransportFailureReason => {
            let reason = upstream.map_or("", |upstream| upstream.transport_failure);
            return text(reason.replace(char::is_whitespace, "_").as_bytes(), out);
        }
        Text::StreamId => match record.request.get(b"x-request-id") {
            Some(id) if !id.is_empty() => return text(id, out),
            _ => {
                let _ = write!(out, "{:016x}", record.exchange_id);
                return Kind::Text;
            }
        },
        Text::UniqueId => return text(&forwarding::random_uuid(fastrand::u128(..)), out),
        Text::FilterChainName => record.filter_chain,
        Text::ServerName => record.server_name,
    };
    text(value.as_bytes(), out)
}

fn tls(what: Tls, session: &Session, out: &mut Vec<u8>) -> Kind {
    let (certificate, told) = match what {
        Tls::Version => return text(session.version.as_bytes(), out),
        Tls::Cipher => return text(session.cipher.as_bytes(), out),
        Tls::Peer(told) => (&session.peer, told),
        Tls::Own(told) => (&session.own, told),
    };
    let Some(certificate) = certificate else {
        return Kind::Missing;
    };
    match told {
        Told::Subject => text(certificate.subject.as_bytes(), out),
        Told::Issuer => text(certificate.issuer.as_bytes(), out),
        Told::Serial => text(certificate.serial.as_bytes(), out),
        Told::Fingerprint256 => text(certificate.sha256.as_bytes(), out),
        Told::UriSan => text(certificate.uris.join(",").as_bytes(), out),
        Told::DnsSan => text(certificate.dns_names.join(",").as_bytes(), out),
        Told::EmailSan => text(certificate.emails.join(",").as_bytes(), out),
        Told::IpSan => {
            let addresses: Vec<_> = certificate.addresses.iter().map(ToString::to_string).collect();
            text(addresses.join(",").as_bytes(), out)
        }
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http10 => "HTTP/1.0",
        Protocol::Http11 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
    }
}

fn flags(flags: Flags, out: &mut Vec<u8>) -> Kind {
    // No flag is `-` for Envoy also where it writes nothing for what is missing.
    let _ = write!(out, "{flags}");
    Kind::Text
}

/// `RESPONSE_FLAGS_LONG`: Envoy's names for its letters.
const LONG_FLAGS: [(Flags, &str); 16] = [
    (Flags::NO_HEALTHY_UPSTREAM, "NoHealthyUpstream"),
    (Flags::UPSTREAM_TIMEOUT, "UpstreamRequestTimeout"),
    (Flags::LOCAL_RESET, "LocalReset"),
    (Flags::UPSTREAM_RESET, "UpstreamRemoteReset"),
    (Flags::UPSTREAM_CONNECT, "UpstreamConnectionFailure"),
    (Flags::UPSTREAM_CLOSED, "UpstreamConnectionTermination"),
    (Flags::UPSTREAM_OVERFLOW, "UpstreamOverflow"),
    (Flags::NO_ROUTE, "NoRouteFound"),
    (Flags::DOWNSTREAM_GONE, "DownstreamConnectionTermination"),
    (Flags::UNAUTHORIZED, "UnauthorizedExternalService"),
    (Flags::RATE_LIMITED, "RateLimited"),
    (Flags::RETRIES_EXHAUSTED, "UpstreamRetryLimitExceeded"),
    (Flags::STREAM_IDLE, "StreamIdleTimeout"),
    (Flags::DOWNSTREAM_PROTOCOL, "DownstreamProtocolError"),
    (Flags::UPSTREAM_PROTOCOL, "UpstreamProtocolError"),
    (Flags::NO_CLUSTER, "NoClusterFound"),
];

fn long_flags(flags: Flags, out: &mut Vec<u8>) -> Kind {
    if flags.is_empty() {
        out.push(b'-');
        return Kind::Text;
    }
    let mut kind = Kind::Missing;
    let names = flags
        .ordered()
        .filter_map(|flag| LONG_FLAGS.iter().find(|(known, _)| *known == flag));
    for (_, name) in names {
        if kind == Kind::Text {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        kind = Kind::Text;
    }
    kind
}

fn address_of(whose: Address, record: &ExchangeRecord<'_>) -> Option<SocketAddr> {
    match whose {
        Address::Upstream => record.upstream.map(|upstream| upstream.address),
        Address::UpstreamLocal => record.upstream.and_then(|upstream| upstream.local),
        Address::Remote => Some(record.remote),
        Address::DirectRemote => Some(record.direct_remote),
        Address::Local => Some(record.local),
    }
}

fn address(address: Option<SocketAddr>, show: Show, out: &mut Vec<u8>) -> Kind {
    let Some(address) = address else {
        return Kind::Missing;
    };
    match show {
        Show::Whole => {
            let _ = write!(out, "{address}");
            Kind::Text
        }
        Show::Ip => {
            let _ = write!(out, "{}", address.ip());
            Kind::Text
        }
        Show::Port => number(Some(u64::from(address.port())), out),
    }
}

/// Camel and snake names by number ("gRPC status codes" of the gRPC documentation).
const GRPC: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

/// From the trailers, else from the headers of the response; only for a request that is gRPC.
fn grpc_status(record: &ExchangeRecord<'_>, style: GrpcStyle, out: &mut Vec<u8>) -> Kind {
    let is_grpc = record
        .request
        .get(b"content-type")
        .is_some_and(crate::reply::is_grpc);
    if !is_grpc {
        return Kind::Missing;
    }
    let trailers = record.trailers.and_then(|trailers| trailers.get(b"grpc-status"));
    let status = trailers.or_else(|| record.response?.get(b"grpc-status"));
    let Some(status) = status.and_then(|status| std::str::from_utf8(status).ok()?.parse::<u64>().ok()) else {
        return Kind::Missing;
    };
    let names = usize::try_from(status).ok().and_then(|at| GRPC.get(at));
    match (style, names) {
        (GrpcStyle::Camel, Some((camel, _))) => text(camel.as_bytes(), out),
        (GrpcStyle::Snake, Some((_, snake))) => text(snake.as_bytes(), out),
        (GrpcStyle::Number, _) => number(Some(status), out),
        (GrpcStyle::Camel | GrpcStyle::Snake, None) => {
            let _ = write!(out, "{status}");
            Kind::Text
        }
    }
}
