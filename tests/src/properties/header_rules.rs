//! Header edits of a route configuration: refused with a path, or they do to a request what their text says, and leave
//! a request that can be sent.
//!
//! Input: a `RouteConfiguration` as YAML, a line `===`, and the fields of a request.

use std::sync::Arc;

use leno_model::access_log::{Format, Part};
use leno_model::route::{AppendAction, HeaderEdit, RouteAction, RouteConfiguration, Target};
use leno_proxy::http::error::Unsendable;
use leno_proxy::http::h1::encode;
use leno_proxy::http::headers::Headers;
use leno_proxy::http::message::{Protocol, RequestHead};
use leno_proxy::router::{LocalTable, RouteTable};
use leno_xds::codec;
use leno_xds::resource::{Kind, Resource};

use crate::http1::{Role, read};

pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (rules, fields) = text.split_once("\n===\n").unwrap_or((text, ""));
    let Ok(Resource::RouteConfiguration(config)) = codec::from_yaml(Kind::RouteConfiguration, rules) else {
        return;
    };
    let table = match RouteTable::compile(&config) {
        Ok(table) => LocalTable::new(Arc::new(table)),
        Err(refusal) => return assert!(!refusal.path.is_empty(), "{refusal:?}"),
    };
    let lines = fields
        .lines()
        .map(|line| format!("{line}\r\n"))
        .collect::<String>();
    let bytes = format!("GET /shop/cart?item=1 HTTP/1.1\r\nhost: shop.test\r\n{lines}\r\n");
    let Some(message) = read(Role::Requests, bytes.as_bytes()).messages.into_iter().next() else {
        return;
    };
    let Some(route) = table.select(&message.head, 7) else {
        return;
    };
    let mut request = message.head.clone();
    route.rewrite_request(&mut request, &mut format);
    if let Some(expected) = expected(&config, &message.head) {
        assert!(
            request.fields().eq(expected.fields()),
            "{request:?} instead of {expected:?}"
        );
    }
    can_be_sent(request);
    let mut response: Headers = [(":status", "200"), ("server", "a"), ("x-a", "b")]
        .into_iter()
        .collect();
    route.edit_response(&mut response, &mut format);
    assert_eq!(response.get(b":status"), Some(&b"200"[..]));
}

/// Every operator has this value.
const VALUE: &[u8] = b"value";

fn format(format: &Format, _: &Headers, out: &mut Vec<u8>) {
    for part in &format.parts {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Operator(_) => out.extend_from_slice(VALUE),
        }
    }
}

/// The fields after all edits, where one host and one route leave no doubt about which ones apply.
fn expected(config: &RouteConfiguration, request: &Headers) -> Option<Headers> {
    let [host] = config.virtual_hosts.as_slice() else {
        return None;
    };
    let [route] = host.routes.as_slice() else {
        return None;
    };
    let RouteAction::Forward(forward) = &route.action else {
        return None;
    };
    let Target::Cluster(_) = &forward.target else {
        return None;
    };
    if forward.path_rewrite.is_some() || forward.host_rewrite.is_some() {
        // They leave fields of their own.
        return None;
    }
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = request
        .fields()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    for edits in [&route.edits, &host.edits, &config.edits] {
        fields.retain(|(name, _)| !edits.request_remove.iter().any(|other| other.as_bytes() == name));
        for edit in &edits.request {
            add(edit, &mut fields);
        }
    }
    Some(
        fields
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect(),
    )
}

fn add(edit: &HeaderEdit, fields: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    let mut value = Vec::new();
    format(&edit.value, &Headers::new(), &mut value);
    let name = edit.name.as_bytes().to_vec();
    let there = fields.iter().any(|(other, _)| *other == name);
    let (wanted, alone) = match edit.append {
        AppendAction::AppendOrAdd => (true, false),
        AppendAction::AddIfAbsent => (!there, false),
        AppendAction::OverwriteOrAdd => (true, true),
        AppendAction::OverwriteIfExists => (there, true),
    };
    if wanted && !value.is_empty() {
        if alone {
            fields.retain(|(other, _)| *other != name);
        }
        fields.push((name, value));
    }
}

/// No configuration that was taken makes a good request one that cannot be sent.
fn can_be_sent(headers: Headers) {
    let head = RequestHead {
        headers,
        protocol: Protocol::Http11,
    };
    let sent = encode::request(&mut Vec::new(), &head, true);
    // Path and authority may be made of what the request said, by a regular expression or a header.
    let of_fields =
        |error: &Unsendable| matches!(error, Unsendable::FieldName(_) | Unsendable::FieldValue(_));
    assert!(!sent.as_ref().is_err_and(of_fields), "{sent:?}: {head:?}");
}
