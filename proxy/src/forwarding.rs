//! What the connection manager does to the headers of every request before any filter sees them, and to those of
//! every response after all filters.
//!
//! The rules are Envoy's ("HTTP header sanitizing" and "x-forwarded-for" in its documentation), with no network
//! counted as internal.

use std::net::{IpAddr, SocketAddr};

use leno_model::http::{HttpConnectionManager, ServerHeader};

use crate::http::headers::Headers;
use crate::http::message::{Protocol, RequestHead};
use crate::reply::{Flags, Reply};

mod path;

/// Fields by which only the mesh itself may steer a request.
const STEERING: [&[u8]; 14] = [
    b"x-envoy-internal",
    b"x-envoy-retry-on",
    b"x-envoy-retry-grpc-on",
    b"x-envoy-max-retries",
    b"x-envoy-retriable-status-codes",
    b"x-envoy-retriable-header-names",
    b"x-envoy-upstream-alt-stat-name",
    b"x-envoy-upstream-rq-timeout-ms",
    b"x-envoy-upstream-rq-per-try-timeout-ms",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-envoy-hedge-on-per-try-timeout",
    b"x-envoy-force-trace",
    b"x-envoy-ip-tags",
    b"x-envoy-original-url",
];

/// Who asked, as far as it is trusted; `Err`: the path is one that must not be forwarded.
pub(crate) fn prepare_request(
    manager: &HttpConnectionManager,
    headers: &mut Headers,
    peer: SocketAddr,
    encrypted: bool,
) -> Result<SocketAddr, BadPath> {
    let client = client_address(manager, headers, peer);
    let scheme: &[u8] = if encrypted { b"https" } else { b"http" };
    if manager.use_remote_address {
        append_to_list(headers, b"x-forwarded-for", peer.ip().to_string().as_bytes());
        if manager.xff_trusted_hops == 0 {
            headers.set(b"x-forwarded-proto", scheme);
        }
        for name in [
            &b"x-envoy-decorator-operation"[..],
            b"x-envoy-downstream-service-cluster",
        ] {
            headers.remove(name);
        }
        headers.set(b"x-envoy-external-address", client.ip().to_string().as_bytes());
    }
    if headers.get(b"x-forwarded-proto").is_none() {
        headers.append(b"x-forwarded-proto", scheme);
    }
    for name in STEERING {
        headers.remove(name);
    }
    // Envoy's `forward_client_cert_details` at its default: nobody downstream may speak for a client's certificate.
    headers.remove(b"x-forwarded-client-cert");
    let foreign_id = manager.use_remote_address && !manager.preserve_external_request_id;
    if manager.generate_request_id && (foreign_id || headers.get(b"x-request-id").is_none()) {
        headers.set(b"x-request-id", &random_uuid(fastrand::u128(..)));
    }
    if !manager.via.is_empty() {
        append_to_list(headers, b"via", manager.via.as_bytes());
    }
    path::prepare(manager, headers).map(|()| client)
}

/// What a proxy at the edge answers to `https://` in the target of an HTTP/1 request that came without encryption
/// (Envoy's, with `use_remote_address`): nobody downstream may claim it.
pub(crate) fn refusal(manager: &HttpConnectionManager, head: &RequestHead, encrypted: bool) -> Option<Reply> {
    let is_http1 = head.protocol != Protocol::Http2;
    let claims = is_http1 && !encrypted && head.headers.get(b":scheme") == Some(b"https");
    (claims && manager.use_remote_address).then(|| Reply {
        flags: Flags::DOWNSTREAM_PROTOCOL,
        details: "http1.https_url_on_plaintext_connection".into(),
        ..Reply::text(403, "Forbidden")
    })
}

/// The path leads above the root, or cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPath;

/// `server`, `date` and `via`, after all filters. `date` is the current one, already formatted.
pub(crate) fn finish_response(manager: &HttpConnectionManager, headers: &mut Headers, date: &[u8]) {
    if headers.get(b"date").is_none() {
        headers.append(b"date", date);
    }
    match manager.server_header {
        ServerHeader::Overwrite => headers.set(b"server", manager.server_name.as_bytes()),
        ServerHeader::AppendIfAbsent if headers.get(b"server").is_none() => {
            headers.append(b"server", manager.server_name.as_bytes());
        }
        ServerHeader::AppendIfAbsent | ServerHeader::PassThrough => {}
    }
    if !manager.via.is_empty() {
        append_to_list(headers, b"via", manager.via.as_bytes());
    }
}

/// With `use_remote_address` the peer, unless it is one of the proxies we trust; else the entry of `x-forwarded-for`
/// that the outermost proxy we trust has written.
fn client_address(manager: &HttpConnectionManager, headers: &Headers, peer: SocketAddr) -> SocketAddr {
    let hops = usize::try_from(manager.xff_trusted_hops).unwrap_or(usize::MAX);
    let from_right = if manager.use_remote_address {
        hops.checked_sub(1)
    } else {
        Some(hops)
    };
    let Some(from_right) = from_right else { return peer };
    let values: Vec<&[u8]> = headers.get_all(b"x-forwarded-for").collect();
    let entries = values.iter().flat_map(|value| value.split(|&byte| byte == b','));
    let entries: Vec<&[u8]> = entries.map(<[u8]>::trim_ascii).collect();
    let entry = entries
        .len()
        .checked_sub(from_right.saturating_add(1))
        .map(|position| entries[position]);
    let address = entry.and_then(|entry| std::str::from_utf8(entry).ok()?.parse::<IpAddr>().ok());
    address.map_or(peer, |address| SocketAddr::new(address, 0))
}

/// One more entry, in the field that is there.
fn append_to_list(headers: &mut Headers, name: &[u8], entry: &[u8]) {
    let mut list: Vec<u8> = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value);
        list.extend_from_slice(b",");
    }
    list.extend_from_slice(entry);
    headers.set(name, &list);
}

/// RFC 9562 §5.4: version 4.
pub(crate) fn random_uuid(random: u128) -> [u8; 36] {
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (4 << 76) | (2 << 62);
    let mut text = [b'-'; 36];
    let mut nibble = 32;
    for (position, place) in text.iter_mut().enumerate() {
        if matches!(position, 8 | 13 | 18 | 23) {
            continue;
        }
        nibble -= 1;
        let digit = (bits >> (nibble * 4)) & 0xf;
        *place = b"0123456789abcdef"[usize::try_from(digit).unwrap_or(0)];
    }
    text
}

#[cfg(test)]
mod tests {
    use leno_model::http::{HttpConnectionManager, ServerHeader};

    use super::{finish_response, prepare_request, random_uuid};
    use crate::http::headers::Headers;

    fn value<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
        headers
            .get(name.as_bytes())
            .map(|value| std::str::from_utf8(value).unwrap())
    }

    /// The client that is believed, and `x-forwarded-for` as it is sent on.
    #[track_caller]
    fn check(remote: bool, hops: u32, before: Option<&str>, client: &str, after: Option<&str>) {
        let manager = HttpConnectionManager {
            use_remote_address: remote,
            xff_trusted_hops: hops,
            ..HttpConnectionManager::default()
        };
        let mut headers: Headers = [(":path", "/")].into_iter().collect();
        if let Some(before) = before {
            headers.append(b"x-forwarded-for", before.as_bytes());
        }
        let peer = "9.9.9.9:1".parse().unwrap();
        let got = prepare_request(&manager, &mut headers, peer, false).unwrap();
        assert_eq!(
            (got.ip().to_string().as_str(), value(&headers, "x-forwarded-for")),
            (client, after)
        );
    }

    #[test]
    fn clients_are_believed_as_far_as_configured() {
        check(true, 0, None, "9.9.9.9", Some("9.9.9.9"));
        check(true, 0, Some("1.1.1.1"), "9.9.9.9", Some("1.1.1.1,9.9.9.9"));
        check(
            true,
            1,
            Some("2.2.2.2, 1.1.1.1"),
            "1.1.1.1",
            Some("2.2.2.2, 1.1.1.1,9.9.9.9"),
        );
        check(true, 3, Some("1.1.1.1"), "9.9.9.9", Some("1.1.1.1,9.9.9.9"));
        check(
            false,
            0,
            Some("2.2.2.2, 1.1.1.1"),
            "1.1.1.1",
            Some("2.2.2.2, 1.1.1.1"),
        );
        check(
            false,
            1,
            Some("2.2.2.2, 1.1.1.1"),
            "2.2.2.2",
            Some("2.2.2.2, 1.1.1.1"),
        );
        check(false, 0, Some("nobody"), "9.9.9.9", Some("nobody"));
        check(false, 0, None, "9.9.9.9", None);
    }

    #[test]
    fn an_edge_does_not_believe_ids_and_nobody_steers_from_outside() {
        let mut manager = HttpConnectionManager {
            use_remote_address: true,
            ..HttpConnectionManager::default()
        };
        let fields = [
            (":path", "/"),
            ("x-request-id", "mine"),
            ("x-envoy-retry-on", "5xx"),
            ("x-forwarded-proto", "x"),
        ];
        let peer = "9.9.9.9:1".parse().unwrap();
        let mut edge: Headers = fields.into_iter().collect();
        prepare_request(&manager, &mut edge, peer, true).unwrap();
        assert_eq!(value(&edge, "x-request-id").map(str::len), Some(36));
        assert_eq!(value(&edge, "x-envoy-retry-on"), None);
        assert_eq!(value(&edge, "x-forwarded-proto"), Some("https"));
        manager.use_remote_address = false;
        let mut inside: Headers = fields.into_iter().collect();
        prepare_request(&manager, &mut inside, peer, false).unwrap();
        assert_eq!(value(&inside, "x-request-id"), Some("mine"));
        assert_eq!(value(&inside, "x-forwarded-proto"), Some("x"));
    }

    #[test]
    fn ids_are_version_4() {
        assert_eq!(&random_uuid(0), b"00000000-0000-4000-8000-000000000000");
        assert_eq!(&random_uuid(u128::MAX), b"ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn server_is_ours_unless_said_otherwise() {
        for (mode, upstream, expected) in [
            (ServerHeader::Overwrite, Some("nginx"), Some("leno")),
            (ServerHeader::AppendIfAbsent, Some("nginx"), Some("nginx")),
            (ServerHeader::AppendIfAbsent, None, Some("leno")),
            (ServerHeader::PassThrough, None, None),
        ] {
            let manager = HttpConnectionManager {
                server_header: mode,
                ..HttpConnectionManager::default()
            };
            let mut headers: Headers = upstream
                .map(|upstream| ("server", upstream))
                .into_iter()
                .collect();
            finish_response(&manager, &mut headers, b"now");
            assert_eq!(value(&headers, "server"), expected, "{mode:?} {upstream:?}");
            assert_eq!(value(&headers, "date"), Some("now"));
        }
    }
}
