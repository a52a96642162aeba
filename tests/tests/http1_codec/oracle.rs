//! The same bytes to our codec and to hyper: where the two differ, [`differences`](crate::differences) says why.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderMap;
use leno_proxy::http::headers::Headers;
use leno_tests::http1::cases::{Case, all};
use leno_tests::http1::{self, Conversation, Message, Role};
use leno_tests::mutation::Mutator;

use crate::differences::{ACCEPTED, is_accepted};
use crate::hyper_peer::{self, End, Reading, Seen};

/// A request behind what is looked at shows where the other reader sees the end, and whether it reads on.
pub(crate) const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nhost: probe\r\n\r\n";

/// What differs between the two readers, in words.
pub(crate) fn differences(role: Role, bytes: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    match role {
        Role::Requests => {
            for (piece, probe) in [(usize::MAX, &b""[..]), (usize::MAX, PROBE), (3, b"")] {
                let bytes = [bytes, probe].concat();
                let ours = http1::read(role, &bytes);
                let theirs = hyper_peer::requests(&bytes, piece);
                found.extend(compare(role, &ours, &theirs));
            }
        }
        Role::Responses { to_head } => {
            for (piece, stays_open) in [(usize::MAX, false), (usize::MAX, true), (3, false)] {
                let ours = one_exchange(role, bytes, stays_open);
                let theirs = hyper_peer::response(bytes, piece, to_head, stays_open);
                found.extend(compare(role, &ours, &theirs));
                let reusable =
                    ours.end == http1::End::Open && !ours.messages.is_empty() && ours.used == bytes.len();
                let ended = found.is_empty() && ours.messages.last().is_some_and(|last| last.complete);
                if stays_open && ended && reusable != theirs.reusable {
                    found.insert(format!("reuse: {reusable}"));
                }
            }
        }
    }
    found
}

/// The final response and those before it: what comes behind belongs to no request.
fn one_exchange(role: Role, bytes: &[u8], stays_open: bool) -> Conversation {
    let mut reader = http1::Reader::new(role);
    for byte in bytes.chunks(1) {
        let said = reader.so_far();
        let last = said.messages.last();
        if last.is_some_and(|last| last.complete && !is_informational(last)) {
            break;
        }
        reader.feed(byte);
    }
    let mut read = if stays_open {
        reader.so_far().clone()
    } else {
        reader.finish()
    };
    if read.end == http1::End::Open && read.messages.last().is_none_or(is_informational) {
        // The request has no answer yet.
        read.end = http1::End::Waiting;
    }
    read
}

fn is_informational(message: &Message) -> bool {
    message
        .head
        .get(b":status")
        .is_some_and(|status| status.starts_with(b"1"))
}

fn compare(role: Role, ours: &Conversation, theirs: &Reading) -> Vec<String> {
    let complete = ours.messages.iter().filter(|message| message.complete);
    let seen = theirs.messages.iter().filter(|message| message.complete);
    let (our_count, their_count) = (complete.clone().count(), seen.clone().count());
    let mut found: Vec<String> = complete
        .zip(seen)
        .filter_map(|(our, their)| message(role, our, their))
        .collect();
    let said = match ours.end {
        http1::End::Open => "goes on".to_owned(),
        http1::End::Closed => "closes".to_owned(),
        http1::End::Waiting => "waits".to_owned(),
        http1::End::Refused(reason) => format!("refuses {reason:?}"),
    };
    if our_count > their_count {
        found.push(match &theirs.end {
            End::Refused(error) => format!("accepts: {error}"),
            End::Waiting => "accepts: more is needed".to_owned(),
            End::Quiet => "accepts: ended before".to_owned(),
        });
    } else if our_count < their_count {
        found.push(said);
    } else {
        match (&ours.end, &theirs.end) {
            // Neither has a message: when that shows is up to each.
            (http1::End::Waiting | http1::End::Refused(_), End::Waiting | End::Refused(_)) => {}
            (http1::End::Open | http1::End::Closed, End::Quiet) => {}
            (http1::End::Open | http1::End::Closed, End::Waiting) => {
                found.push("ends: more is needed".to_owned())
            }
            (http1::End::Open | http1::End::Closed, End::Refused(error)) => {
                found.push(format!("ends: {error}"))
            }
            (http1::End::Waiting | http1::End::Refused(_), End::Quiet) => {
                found.push(format!("{said}, silently"))
            }
        }
    }
    found
}

/// The first thing in which two messages differ.
fn message(role: Role, our: &Message, their: &Seen) -> Option<String> {
    let mut wanted = by_name(&their.fields);
    forward(role, their, &mut wanted);
    let first = match &their.line {
        Some((method, uri)) => {
            let host = their
                .fields
                .get("host")
                .map(http::HeaderValue::as_bytes)
                .unwrap_or_default();
            let authority = uri
                .authority()
                .map_or(host, |authority| authority.as_str().as_bytes());
            let no_path = uri.authority().is_some() && uri.path_and_query().is_none_or(|path| path == "/");
            let path = match uri.path_and_query() {
                _ if no_path && method == http::Method::OPTIONS && our.head.get(b":path") == Some(b"*") => {
                    "*"
                }
                Some(path) => path.as_str(),
                None => "/",
            };
            // RFC 9110 §4.2.3: an empty path is the same as `/`.
            let path = if path.starts_with('?') {
                format!("/{path}")
            } else {
                path.to_owned()
            };
            [
                (
                    "method",
                    our.head.get(b":method") == Some(method.as_str().as_bytes()),
                ),
                ("authority", our.head.get(b":authority") == Some(authority)),
                ("path", our.head.get(b":path") == Some(path.as_bytes())),
            ]
        }
        None => {
            let status = their.status.unwrap_or(0).to_string();
            [
                ("status", our.head.get(b":status") == Some(status.as_bytes())),
                ("", true),
                ("", true),
            ]
        }
    };
    let rest = [
        ("protocol", our.protocol == their.protocol),
        ("fields", fields(&our.head) == wanted),
        ("body", our.body == their.body),
        ("trailers", fields(&our.trailers) == by_name(&their.trailers)),
    ];
    let wrong = first.iter().chain(&rest).find(|(_, same)| !same)?;
    Some(format!("other {}", wrong.0))
}

type ByName = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

fn fields(headers: &Headers) -> ByName {
    let mut by_name = ByName::new();
    for (name, value) in headers.fields() {
        by_name.entry(name.to_vec()).or_default().push(value.to_vec());
    }
    by_name
}

fn by_name(headers: &HeaderMap) -> ByName {
    let mut by_name = ByName::new();
    for (name, value) in headers {
        let values = by_name.entry(name.as_str().as_bytes().to_vec()).or_default();
        values.push(value.as_bytes().to_vec());
    }
    by_name
}

/// What RFC 9110 §7.6.1 lets a gateway forward of what hyper read: hyper leaves that to its user.
fn forward(role: Role, seen: &Seen, fields: &mut ByName) {
    let list = |values: Option<&Vec<Vec<u8>>>| -> Vec<String> {
        let values = values.into_iter().flatten();
        let text = values.map(|value| String::from_utf8_lossy(value).to_ascii_lowercase());
        text.flat_map(|value| {
            value
                .split(',')
                .map(|one| one.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
    };
    let mut gone = list(fields.get(&b"connection"[..]));
    let te = list(fields.get(&b"te"[..]));
    let of_the_connection = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    gone.extend(of_the_connection.map(str::to_owned));
    gone.push("http2-settings".to_owned());
    if role == Role::Requests {
        // The host is the authority; the expectation was met on this connection.
        gone.extend(["host".to_owned(), "expect".to_owned(), "te".to_owned()]);
    } else {
        gone.retain(|name| name != "te");
    }
    fields.retain(|name, _| !gone.iter().any(|other| other.as_bytes() == name));
    if role == Role::Requests && te.iter().any(|coding| coding == "trailers") {
        fields.insert(b"te".to_vec(), vec![b"trailers".to_vec()]);
    }
    // RFC 9110 §8.6: there is none in these, so none is passed on.
    if seen.status.is_some_and(|status| status < 200 || status == 204) {
        fields.remove(&b"content-length"[..]);
    }
}

/// Panics with all differences that nobody has explained.
#[track_caller]
pub(crate) fn agree(role: Role, bytes: &[u8], what: &str) {
    let unexplained: Vec<String> = differences(role, bytes)
        .into_iter()
        .filter(|found| !is_accepted(role, found))
        .collect();
    assert!(
        unexplained.is_empty(),
        "{what}: {unexplained:?}\n{}\nours: {:#?}",
        bytes.escape_ascii(),
        http1::read(role, bytes)
    );
}

#[test]
fn every_case_is_read_alike_or_the_difference_has_its_reason() {
    let mut met = BTreeSet::new();
    let mut unexplained = Vec::new();
    for Case {
        name, role, bytes, ..
    } in all()
    {
        for found in differences(role, &bytes) {
            if is_accepted(role, &found) {
                met.insert((matches!(role, Role::Requests), found));
            } else {
                unexplained.push(format!("{name}: {found}"));
            }
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    for row in ACCEPTED {
        let used = met.contains(&(row.requests, row.found.to_owned()));
        assert!(used, "no case shows this any more, or none does yet: {row:?}");
    }
}

/// Almost messages: the cases with small changes.
#[test]
fn changed_cases_are_read_alike_too() {
    let cases: Vec<Case> = all().into_iter().filter(|case| case.bytes.len() < 1000).collect();
    let mut mutator = Mutator::new(0x1e_60, http1::WORDS);
    for round in 0..rounds(12) {
        for case in &cases {
            let mut bytes = case.bytes.clone();
            mutator.change(&mut bytes);
            agree(case.role, &bytes, &format!("{} in round {round}", case.name));
        }
    }
}

/// `LENO_TEST_ROUNDS` times as many as are usual.
pub(crate) fn rounds(usual: usize) -> usize {
    let factor = std::env::var("LENO_TEST_ROUNDS")
        .ok()
        .and_then(|factor| factor.parse::<usize>().ok());
    usual * factor.unwrap_or(1)
}
