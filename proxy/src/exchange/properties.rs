//! Attributes by path: Envoy's names ("Attributes" in its documentation), Proxy-Wasm's encoding of values.
//!
//! Names that Envoy has dropped but filters in the field still read (`node.*`, `cluster_name`, `route_name`,
//! `listener_direction`) mean the same as their successors under `xds`. Facts that this proxy does not know (yet)
//! are `NotFound`, as if the feature behind them were not configured. Attributes of the request can be read from
//! the first callback on, also where Envoy hides them while the response passes.

pub(crate) mod encode;
pub(crate) mod node;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use leno_model::listener::Direction as Side;
use leno_sdk::host::{Direction, HostError};

use crate::exchange::ExchangeState;
use crate::exchange::facts::{Connection, Facts};
use crate::exchange::properties::encode::Value;
use crate::filters::Identity;
use crate::http::headers::Headers;
use crate::reply::grpc_status_of;
use crate::tls::certificate::Certificate;

/// Appends the value of an attribute of an exchange, as the filter at this place of the chain sees it.
pub(crate) fn of_exchange(
    state: &ExchangeState,
    filter: usize,
    path: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), HostError> {
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let (group, rest) = split(path);
    let found = match group {
        b"request" | b"response" | b"source" | b"destination" | b"connection" | b"upstream"
        | b"filter_state"
            if rest.is_none() =>
        {
            return Err(HostError::Invalid);
        }
        b"request" => request(state, rest.unwrap_or_default(), out),
        b"response" => response(state, rest.unwrap_or_default(), out),
        b"source" | b"destination" | b"connection" => connection(state, group, rest.unwrap_or_default(), out),
        b"upstream" => upstream(&state.facts(), rest.unwrap_or_default(), out),
        b"xds" => mesh(state, rest.unwrap_or_default(), out),
        b"filter_state" => {
            let name = rest.unwrap_or_default();
            filter_state(state, name.strip_prefix(b"wasm.").unwrap_or(name), out)
        }
        b"connection_id" if rest.is_none() => put(out, Value::Int(state.connection().id)),
        b"x_request_id" if rest.is_none() => request(state, b"id", out),
        b"cluster_name" | b"route_name" | b"listener_direction" if rest.is_none() => mesh(state, path, out),
        _ => of_plugin(state.seat(filter).identity(), &state.connection().node, path, out)
            .is_ok()
            .then_some(()),
    };
    found
        .or_else(|| filter_state(state, path, out))
        .ok_or(HostError::NotFound)
}

/// Appends the value of an attribute that does not depend on an exchange.
pub(crate) fn of_plugin(
    identity: &Identity,
    node: &leno_model::bootstrap::Node,
    path: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), HostError> {
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let path = path
        .strip_prefix(b"xds\0")
        .filter(|rest| rest.starts_with(b"node"))
        .unwrap_or(path);
    let found = match split(path) {
        (b"plugin_name", None) => put(out, Value::Text(identity.name.as_bytes())),
        (b"plugin_root_id", None) => put(out, Value::Text(identity.root_id.as_bytes())),
        (b"plugin_vm_id", None) => put(out, Value::Text(identity.vm_id.as_bytes())),
        (b"node", Some(rest)) => node::attribute(node, rest, out),
        _ => None,
    };
    found.ok_or(HostError::NotFound)
}

/// The first segment and what follows it.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(0, path) {
        Some(end) => (&path[..end], Some(&path[end + 1..])),
        None => (path, None),
    }
}

fn put(out: &mut Vec<u8>, value: Value<'_>) -> Option<()> {
    encode::append(out, value);
    Some(())
}

fn request(state: &ExchangeState, path: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let headers = state.headers(Direction::Request);
    let facts = state.facts();
    let target = headers.get(b":path");
    let query_at = target.and_then(|target| memchr::memchr(b'?', target));
    let text = match path {
        b"path" => target,
        b"url_path" => target.map(|target| &target[..query_at.unwrap_or(target.len())]),
        b"query" => target.map(|target| query_at.map_or(&b""[..], |at| &target[at + 1..])),
        b"host" => headers.get(b":authority"),
        b"scheme" => headers.get(b":scheme"),
        b"method" => headers.get(b":method"),
        b"referer" => headers.get(b"referer"),
        b"useragent" => headers.get(b"user-agent"),
        b"id" => headers.get(b"x-request-id"),
        b"protocol" => Some(facts.protocol.name().as_bytes()),
        _ => None,
    };
    if let Some(text) = text {
        return put(out, Value::Text(text));
    }
    match path {
        b"time" => {
            let since = facts.started.duration_since(UNIX_EPOCH).unwrap_or_default();
            put(out, nanoseconds(since))
        }
        b"duration" => put(out, nanoseconds(facts.duration?)),
        b"size" => put(out, Value::Int(request_size(&headers, &facts))),
        b"total_size" => {
            let head = headers.byte_size()
                + state
                    .trailers(Direction::Request)
                    .as_ref()
                    .map_or(0, Headers::byte_size);
            put(out, Value::Int(facts.request_body_bytes + head as u64))
        }
        _ => fields(&headers, path.strip_prefix(b"headers")?, out),
    }
}

/// The body's declared size, or what has come in.
fn request_size(headers: &Headers, facts: &Facts) -> u64 {
    let declared = headers
        .get(b"content-length")
        .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    declared.unwrap_or(facts.request_body_bytes)
}

fn response(state: &ExchangeState, path: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let headers = state.headers(Direction::Response);
    let trailers = state.trailers(Direction::Response);
    let facts = state.facts();
    let code = || {
        facts
            .response_code
            .or_else(|| encode::number(headers.get(b":status")?))
    };
    match path {
        b"code" => put(out, Value::Int(u64::from(code()?))),
        b"code_details" if facts.response_details.is_empty() => None,
        b"code_details" => put(out, Value::Text(facts.response_details.as_bytes())),
        b"grpc_status" => {
            let code = code()?;
            let own = trailers
                .as_ref()
                .and_then(|trailers| trailers.get(b"grpc-status"));
            let given = own
                .or_else(|| headers.get(b"grpc-status"))
                .and_then(encode::number);
            put(
                out,
                Value::Int(u64::from(given.unwrap_or_else(|| grpc_status_of(code)))),
            )
        }
        b"flags" => put(out, Value::Int(facts.response_flags)),
        b"size" => put(out, Value::Int(facts.response_body_bytes)),
        b"total_size" => {
            let head = headers.byte_size() + trailers.as_ref().map_or(0, Headers::byte_size);
            put(out, Value::Int(facts.response_body_bytes + head as u64))
        }
        b"backend_latency" => put(out, nanoseconds(facts.backend_latency?)),
        _ => match (path.strip_prefix(b"headers"), path.strip_prefix(b"trailers")) {
            (Some(rest), _) => fields(&headers, rest, out),
            (None, Some(rest)) => match trailers.as_ref() {
                Some(trailers) => fields(trailers, rest, out),
                None => fields(&Headers::new(), rest, out),
            },
            (None, None) => None,
        },
    }
}

/// A map as a whole, or all values of one field joined by commas.
fn fields(headers: &Headers, rest: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if rest.is_empty() {
        return put(out, Value::Map(&headers.iter().collect::<Vec<_>>()));
    }
    let name = rest.strip_prefix(b"\0")?;
    let mut values = headers.get_all(name);
    out.extend_from_slice(values.next()?);
    for value in values {
        out.push(b',');
        out.extend_from_slice(value);
    }
    Some(())
}

fn connection(state: &ExchangeState, group: &[u8], path: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let connection = state.connection();
    match (group, path) {
        (b"source", _) => address(state.facts().client.unwrap_or(connection.source), path, out),
        (b"destination", _) => address(connection.destination, path, out),
        (_, b"id") => put(out, Value::Int(connection.id)),
        (_, b"mtls") => put(out, Value::Bool(peer_of(connection).is_some())),
        (_, b"requested_server_name") => put(out, Value::Text(connection.server_name.as_bytes())),
        (_, b"tls_version") => put(out, Value::Text(connection.tls.as_ref()?.version.as_bytes())),
        (_, b"sha256_peer_certificate_digest") => {
            put(out, Value::Text(peer_of(connection)?.sha256.as_bytes()))
        }
        _ => {
            let (certificate, what) = match path.strip_suffix(b"_peer_certificate") {
                Some(what) => (peer_of(connection)?, what),
                None => {
                    let own = connection.tls.as_ref()?.own.as_deref();
                    (own?, path.strip_suffix(b"_local_certificate")?)
                }
            };
            put(out, Value::Text(told_by(certificate, what)?.as_bytes()))
        }
    }
}

/// What the client has shown.
fn peer_of(connection: &Connection) -> Option<&Certificate> {
    connection.tls.as_ref()?.peer.as_deref()
}

/// The first name of a kind, as Envoy has it.
fn told_by<'a>(certificate: &'a Certificate, what: &[u8]) -> Option<&'a str> {
    match what {
        b"subject" => Some(&certificate.subject),
        b"dns_san" => certificate.dns_names.first().map(String::as_str),
        b"uri_san" => certificate.uris.first().map(String::as_str),
        _ => None,
    }
}

fn address(address: SocketAddr, path: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match path {
        b"address" => put(out, Value::Text(address.to_string().as_bytes())),
        b"port" => put(out, Value::Int(u64::from(address.port()))),
        _ => None,
    }
}

fn upstream(facts: &Facts, path: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let upstream = facts.upstream.as_ref()?;
    match path {
        b"address" | b"port" => address(upstream.address, path, out),
        b"local_address" => put(out, Value::Text(upstream.local_address?.to_string().as_bytes())),
        b"request_attempt_count" => put(out, Value::Int(u64::from(facts.attempts))),
        b"cx_pool_ready_duration" => put(out, nanoseconds(upstream.pool_ready?)),
        b"transport_failure_reason" if !upstream.transport_failure.is_empty() => {
            put(out, Value::Text(upstream.transport_failure.as_bytes()))
        }
        _ => None,
    }
}

/// What the mesh's configuration says about this exchange.
fn mesh(state: &ExchangeState, path: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let facts = state.facts();
    let connection = state.connection();
    match path {
        b"cluster_name" => put(out, Value::Text(facts.cluster.as_ref()?.as_bytes())),
        b"route_name" => put(out, Value::Text(facts.route.as_ref()?.as_bytes())),
        b"virtual_host_name" => put(out, Value::Text(facts.virtual_host.as_ref()?.as_bytes())),
        b"filter_chain_name" => put(out, Value::Text(connection.listener.filter_chain.as_bytes())),
        b"listener_direction" => put(
            out,
            Value::Int(match connection.listener.direction {
                Side::Unspecified => 0,
                Side::Inbound => 1,
                Side::Outbound => 2,
            }),
        ),
        _ => node::attribute(&connection.node, path.strip_prefix(b"node\0")?, out),
    }
}

fn filter_state(state: &ExchangeState, name: &[u8], out: &mut Vec<u8>) -> Option<()> {
    put(out, Value::Text(state.filter_state().get(name)?))
}

fn nanoseconds(duration: Duration) -> Value<'static> {
    Value::Int(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
