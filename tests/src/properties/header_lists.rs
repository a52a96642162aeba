//! The list of fields against a plain one, through any sequence of edits; and what is left of them on the wire.
//!
//! Input: one edit per line. `+name: value` appends, `=name: value` sets, `-name` removes, `~byte` keeps the fields
//! whose value does not hold the byte, `!` clears, `*` copies.

use leno_proxy::http::grammar::{check_fields, check_request, is_token, is_value, trim};
use leno_proxy::http::h1::encode;
use leno_proxy::http::headers::Headers;
use leno_proxy::http::message::{Protocol, RequestHead};

use crate::http1::{End, Role, read};

type Plain = Vec<(Vec<u8>, Vec<u8>)>;

pub(super) fn check(input: &[u8]) {
    let (mut list, mut plain) = (Headers::new(), Plain::new());
    for line in input.split(|byte| *byte == b'\n') {
        edit(line, &mut list, &mut plain);
        same(&list, &plain);
    }
    can_be_written(&list, &plain);
}

fn edit(line: &[u8], list: &mut Headers, plain: &mut Plain) {
    let Some((kind, rest)) = line.split_first() else {
        return;
    };
    // The colon of a pseudo header is its first byte.
    let colon = rest
        .iter()
        .skip(1)
        .position(|byte| *byte == b':')
        .map_or(rest.len(), |at| at + 1);
    let (name, value) = rest.split_at(colon);
    let value = trim(value.strip_prefix(b":").unwrap_or_default());
    let lower = name.to_ascii_lowercase();
    match kind {
        b'+' => {
            list.append(name, value);
            append(plain, &lower, value);
        }
        b'=' => {
            list.set(name, value);
            plain.retain(|(other, _)| *other != lower);
            append(plain, &lower, value);
        }
        b'-' => {
            let before = plain.len();
            plain.retain(|(other, _)| *other != lower);
            assert_eq!(list.remove(name), before != plain.len());
        }
        b'~' => {
            let byte = rest.first().copied().unwrap_or(b'x');
            list.retain(|_, value| !value.contains(&byte));
            plain.retain(|(_, value)| !value.contains(&byte));
        }
        b'!' => {
            list.clear();
            plain.clear();
        }
        b'*' => *list = list.clone(),
        _ => {}
    }
    assert_eq!(
        list.get(name),
        plain
            .iter()
            .find(|(other, _)| *other == lower)
            .map(|(_, value)| &value[..])
    );
    assert_eq!(
        list.contains(&lower),
        plain.iter().any(|(other, _)| *other == lower)
    );
}

/// Pseudo headers stand before all others.
fn append(plain: &mut Plain, name: &[u8], value: &[u8]) {
    let at = if name.starts_with(b":") {
        plain
            .iter()
            .take_while(|(other, _)| other.starts_with(b":"))
            .count()
    } else {
        plain.len()
    };
    plain.insert(at, (name.to_vec(), value.to_vec()));
}

fn same(list: &Headers, plain: &Plain) {
    let found: Plain = list
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(found, *plain);
    assert_eq!(list.len(), plain.len());
    assert_eq!(
        list.byte_size(),
        plain
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
    );
    let pseudo = plain.iter().filter(|(name, _)| name.starts_with(b":")).count();
    assert_eq!(
        (list.pseudo().count(), list.fields().count()),
        (pseudo, plain.len() - pseudo)
    );
    for (name, _) in plain {
        let values = plain
            .iter()
            .filter(|(other, _)| other == name)
            .map(|(_, value)| &value[..]);
        assert!(list.get_all(name).eq(values), "{list:?}");
    }
}

/// What the grammar allows is written and read again as it was; what it does not allow leaves nothing behind.
fn can_be_written(list: &Headers, plain: &Plain) {
    let fields = plain.iter().filter(|(name, _)| !name.starts_with(b":"));
    let allowed = fields
        .clone()
        .all(|(name, value)| is_token(name) && is_value(value));
    assert_eq!(check_fields(list).is_ok(), allowed, "{list:?}");
    let head = RequestHead {
        headers: list.clone(),
        protocol: Protocol::Http11,
    };
    let mut out = b"before".to_vec();
    let written = encode::request(&mut out, &head, true);
    assert_eq!(written.is_ok(), check_request(list).is_ok(), "{list:?}");
    if written.is_err() {
        return assert_eq!(out, b"before");
    }
    let read = read(Role::Requests, &out["before".len()..]);
    let count = fields.clone().count();
    if count >= 98 {
        // Written all the same: limits are for what comes in.
        return;
    }
    assert_eq!(
        (read.messages.len(), read.end),
        (1, End::Open),
        "{}",
        out.escape_ascii()
    );
    let left = |headers: &Headers| -> Vec<(Vec<u8>, Vec<u8>)> {
        let ours = |name: &[u8]| {
            matches!(
                name,
                b"content-length" | b"te" | b"host" | b"expect" | b"transfer-encoding"
            )
        };
        let of_connection = |name: &[u8]| leno_proxy::http::grammar::is_connection_field(name);
        headers
            .fields()
            .filter(|(name, _)| !ours(name) && !of_connection(name))
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect()
    };
    assert_eq!(left(&read.messages[0].head), left(list), "{}", out.escape_ascii());
    for name in [b":method".as_slice(), b":path", b":authority"] {
        assert_eq!(
            read.messages[0].head.get(name),
            list.get(name),
            "{}",
            out.escape_ascii()
        );
    }
}
