//! Heads and fields between the `http` crate's types and ours, with the rules of RFC 9113 §8.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http::error::{Malformed, Unsendable};
use crate::http::grammar::{
    check_fields, check_request, is_authority, is_connection_field, is_forbidden_trailer, is_method, is_path,
    is_value, number, takes_trailers,
};
use crate::http::headers::Headers;
use crate::http::message::{Protocol, RequestHead, ResponseHead};
use crate::http::settings::Limits;

/// A request head that came in, and whether the client waits for `100 Continue`.
pub(super) fn request_in(
    parts: &http::request::Parts,
    limits: &Limits,
) -> Result<(RequestHead, bool), Malformed> {
    let method = parts.method.as_str().as_bytes();
    if method == b"CONNECT" {
        return Err(Malformed::Connect);
    }
    if !is_method(method) {
        return Err(Malformed::Method);
    }
    let scheme = parts.uri.scheme_str().ok_or(Malformed::PseudoHeader)?;
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str)
        .as_bytes();
    if !is_path(method, path) {
        return Err(Malformed::Target);
    }
    let mut hosts = parts
        .headers
        .get_all(http::header::HOST)
        .iter()
        .map(HeaderValue::as_bytes);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Malformed::SeveralHosts);
    }
    let authority = match (
        parts
            .uri
            .authority()
            .map(|authority| authority.as_str().as_bytes()),
        host,
    ) {
        // RFC 9113 §8.3.1: two names for one thing must be the same.
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(Malformed::Host);
        }
        (Some(authority), _) | (None, Some(authority)) => authority,
        (None, None) => return Err(Malformed::MissingHost),
    };
    if !is_authority(authority) {
        return Err(Malformed::Host);
    }
    let mut headers = Headers::new();
    headers.append(b":method", method);
    headers.append(b":scheme", scheme.as_bytes());
    headers.append(b":authority", authority);
    headers.append(b":path", path);
    let mut expects_continue = false;
    let mut cookies = Vec::new();
    for (name, value) in fields_in(&parts.headers, limits)? {
        match name {
            "host" => {}
            "cookie" if cookies.is_empty() => cookies.extend_from_slice(value),
            // RFC 9113 §8.2.3: crumbs are one field to everybody else.
            "cookie" => {
                cookies.extend_from_slice(b"; ");
                cookies.extend_from_slice(value);
            }
            "expect" if value.eq_ignore_ascii_case(b"100-continue") => expects_continue = true,
            "expect" => return Err(Malformed::Expectation),
            name => headers.append(name.as_bytes(), value),
        }
    }
    if parts.headers.contains_key(http::header::COOKIE) {
        headers.append(b"cookie", &cookies);
    }
    Ok((
        RequestHead {
            headers,
            protocol: Protocol::Http2,
        },
        expects_continue,
    ))
}

/// A response head that came in.
pub(super) fn response_in(parts: &http::response::Parts, limits: &Limits) -> Result<ResponseHead, Malformed> {
    let mut head = ResponseHead::new(parts.status.as_u16());
    if parts.status == http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(Malformed::Informational);
    }
    for (name, value) in fields_in(&parts.headers, limits)? {
        head.headers.append(name.as_bytes(), value);
    }
    Ok(head)
}

/// Trailers that came in.
pub(super) fn trailers_in(map: &HeaderMap, limits: &Limits) -> Result<Headers, Malformed> {
    let mut trailers = Headers::new();
    let fields = fields_in(map, limits).map_err(|reason| match reason {
        Malformed::TooManyFields => Malformed::TrailersTooLarge,
        other => other,
    })?;
    for (name, value) in fields {
        if is_forbidden_trailer(name.as_bytes()) {
            return Err(Malformed::Trailer);
        }
        trailers.append(name.as_bytes(), value);
    }
    Ok(trailers)
}

fn fields_in<'a>(
    map: &'a HeaderMap,
    limits: &Limits,
) -> Result<impl Iterator<Item = (&'a str, &'a [u8])>, Malformed> {
    if map.len() > limits.fields {
        return Err(Malformed::TooManyFields);
    }
    let fields = || map.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in fields() {
        if is_connection_field(name.as_bytes()) || (name == "te" && value != b"trailers") {
            return Err(Malformed::ConnectionField);
        }
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if !is_value(value) || blank(value.first()) || blank(value.last()) {
            return Err(Malformed::FieldValue);
        }
    }
    let mut lengths = map.get_all(http::header::CONTENT_LENGTH).iter();
    if lengths
        .next()
        .is_some_and(|value| number(value.as_bytes()).is_none())
        || lengths.next().is_some()
    {
        return Err(Malformed::ContentLength);
    }
    Ok(fields())
}

/// A request head that goes out, and how many bytes of body it announces.
pub(super) fn request_out(
    head: &RequestHead,
    end: bool,
) -> Result<(http::Request<()>, Option<u64>), Unsendable> {
    check_request(&head.headers)?;
    let scheme = match head.scheme() {
        b"https" => http::uri::Scheme::HTTPS,
        b"http" => http::uri::Scheme::HTTP,
        _ => return Err(Unsendable::Invalid(":scheme")),
    };
    let part = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let authority = http::uri::Authority::from_maybe_shared(part(head.authority()));
    let path = http::uri::PathAndQuery::from_maybe_shared(part(head.path()));
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(scheme);
    uri.authority = Some(authority.map_err(|_| Unsendable::Invalid(":authority"))?);
    uri.path_and_query = Some(path.map_err(|_| Unsendable::Invalid(":path"))?);
    let mut request = http::Request::new(());
    *request.method_mut() =
        http::Method::from_bytes(head.method()).map_err(|_| Unsendable::Invalid(":method"))?;
    *request.uri_mut() = http::Uri::from_parts(uri).map_err(|_| Unsendable::Invalid(":path"))?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = fields_out(&head.headers, |name| name == b"host" || name == b"expect")?;
    let announced = announced(&head.headers);
    let announced = if end { announced.and(Some(0)) } else { announced };
    announce(request.headers_mut(), announced);
    Ok((request, announced))
}

/// What goes out as the final head of a response.
pub(super) struct ResponseOut {
    pub(super) response: http::Response<()>,
    /// How many bytes of body it announces.
    pub(super) announced: Option<u64>,
    /// The response cannot have a body: what is written is dropped.
    pub(super) bodiless: bool,
}

/// The final head of a response that goes out.
pub(super) fn response_out(head: &ResponseHead, end: bool, to_head: bool) -> Result<ResponseOut, Unsendable> {
    if head.is_informational() {
        return Err(Unsendable::Invalid(":status"));
    }
    let mut response = informational_out(head)?;
    let status = response.status().as_u16();
    let bodiless = to_head || status == 204 || status == 304;
    let announced = match announced(&head.headers) {
        _ if status == 204 => None,
        Some(_) if end && !bodiless => Some(0),
        announced => announced,
    };
    announce(response.headers_mut(), announced);
    Ok(ResponseOut {
        response,
        announced,
        bodiless,
    })
}

/// A head of a response that goes out, without `content-length`.
pub(super) fn informational_out(head: &ResponseHead) -> Result<http::Response<()>, Unsendable> {
    let status = match (head.status(), head.headers.contains(b":status")) {
        (Some(status), _) => {
            http::StatusCode::from_u16(status).map_err(|_| Unsendable::Invalid(":status"))?
        }
        (None, true) => return Err(Unsendable::Invalid(":status")),
        (None, false) => return Err(Unsendable::Missing(":status")),
    };
    if status == http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(Unsendable::Invalid(":status"));
    }
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields_out(&head.headers, |_| false)?;
    Ok(response)
}

/// Trailers that go out.
pub(super) fn trailers_out(trailers: &Headers) -> Result<HeaderMap, Unsendable> {
    fields_out(trailers, is_forbidden_trailer)
}

fn fields_out(headers: &Headers, skipped: impl Fn(&[u8]) -> bool) -> Result<HeaderMap, Unsendable> {
    check_fields(headers)?;
    let mut map = HeaderMap::with_capacity(headers.fields().len());
    for (name, value) in headers.fields() {
        let ours = is_connection_field(name) || name == b"content-length" || skipped(name);
        if ours || (name == b"te" && !takes_trailers(value)) {
            continue;
        }
        let value = if name == b"te" {
            b"trailers"
        } else {
            crate::http::grammar::trim(value)
        };
        let field_name = HeaderName::from_bytes(name).map_err(|_| Unsendable::FieldName(name.into()))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| Unsendable::FieldValue(name.into()))?;
        // A map has room for 32,768 fields.
        map.try_append(field_name, value)
            .map_err(|_| Unsendable::FieldName(name.into()))?;
    }
    Ok(map)
}

/// What a head announces, if that is one number. Anything else is as good as nothing.
fn announced(headers: &Headers) -> Option<u64> {
    let mut values = headers.get_all(b"content-length");
    let first = values.next().and_then(number);
    if values.next().is_some() { None } else { first }
}

fn announce(map: &mut HeaderMap, length: Option<u64>) {
    if let Some(length) = length {
        map.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}
