//! Names: of objects, of hosts, of subsets; and addresses.

use std::net::{IpAddr, Ipv6Addr};

use super::{Checked, refuse};
use crate::api::meta::Meta;

/// What Kubernetes takes as names of objects and of their namespaces (RFC 1123).
pub(super) fn meta(meta: &Meta) -> Checked {
    let is_subdomain = meta.name.len() <= 253 && meta.name.split('.').all(is_label);
    if !is_subdomain || has_upper(&meta.name) {
        return refuse(
            "metadata.name",
            format!(
                "{:?} is not a name; write a-z, 0-9, - and ., beginning and ending with a letter or digit",
                meta.name
            ),
        );
    }
    if !is_label(&meta.namespace) || meta.namespace.len() > 63 || has_upper(&meta.namespace) {
        return refuse(
            "metadata.namespace",
            format!(
                "{:?} is not a namespace; write up to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit",
                meta.namespace
            ),
        );
    }
    Ok(())
}

fn has_upper(name: &str) -> bool {
    name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Letters and digits, dashes between them.
pub(super) fn is_label(label: &str) -> bool {
    let ends = |end: Option<u8>| end.is_some_and(|byte| byte.is_ascii_alphanumeric());
    ends(label.bytes().next())
        && ends(label.bytes().last())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

pub(super) fn ip(bind: &str) -> Checked {
    if bind.is_empty() || bind.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    refuse("", format!("{bind:?} is not an IP address"))
}

/// A host, `*.` and a host, or `*`.
pub(super) fn domain(pattern: &str) -> Checked {
    let good = pattern == "*" || is_host(pattern.strip_prefix("*.").unwrap_or(pattern));
    if good {
        return Ok(());
    }
    refuse(
        "",
        format!("{pattern:?} is not a host; write a name without port, \"*.suffix\" or \"*\""),
    )
}

/// A host alone.
pub(super) fn host(host: &str) -> Checked {
    if is_host(host) {
        return Ok(());
    }
    refuse(
        "",
        format!("{host:?} is not a host; write a name or an IP address"),
    )
}

/// A name of DNS (RFC 1123, and `_`, which names of services have), or an IP address.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| label.len() <= 63 && is_label(&label.replace('_', "x"));
    let in_brackets = || host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name = host.strip_suffix('.').unwrap_or(host);
    host.parse::<IpAddr>().is_ok()
        || in_brackets().is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
        || (name.len() <= 253 && name.split('.').all(is_label))
}
