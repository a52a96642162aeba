//! Which virtual host answers for an authority: exact, then the longest suffix, then the longest prefix, then any.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

type Names = HashMap<Box<[u8]>, usize, RandomState>;

/// Domains of all virtual hosts, in lower case.
#[derive(Debug, Default)]
pub(super) struct Domains {
    exact: Names,
    /// By length, so that a lookup hashes once per length that exists.
    suffix: BTreeMap<usize, Names>,
    prefix: BTreeMap<usize, Names>,
    any: Option<usize>,
}

impl Domains {
    /// One more domain of virtual host `host`; the reason if it cannot be.
    pub(super) fn add(&mut self, domain: &str, host: usize) -> Result<(), String> {
        let folded = domain.to_ascii_lowercase().into_bytes();
        let previous = match folded.as_slice() {
            [] => return Err("empty domain; `*` takes every authority".to_owned()),
            b"*" => self.any.replace(host),
            [b'*', suffix @ ..] if !suffix.contains(&b'*') => self
                .suffix
                .entry(suffix.len())
                .or_default()
                .insert(suffix.into(), host),
            [prefix @ .., b'*'] if !prefix.contains(&b'*') => self
                .prefix
                .entry(prefix.len())
                .or_default()
                .insert(prefix.into(), host),
            other if other.contains(&b'*') => {
                return Err(format!(
                    "`{domain}`: `*` may only stand at the beginning or at the end"
                ));
            }
            exact => self.exact.insert(exact.into(), host),
        };
        match previous {
            None => Ok(()),
            Some(_) => Err(format!(
                "`{domain}` is there twice; domains are unique within a route configuration"
            )),
        }
    }

    /// The virtual host for `authority`.
    pub(super) fn find(&self, authority: &[u8], ignore_port: bool) -> Option<usize> {
        if self.exact.is_empty() && self.suffix.is_empty() && self.prefix.is_empty() {
            return self.any;
        }
        let authority = if ignore_port {
            without_port(authority)
        } else {
            authority
        };
        // Names in DNS end at 253 bytes; a port, and room to spare.
        let mut short = [0; 320];
        let long;
        let folded = if let Some(space) = short.get_mut(..authority.len()) {
            space.copy_from_slice(authority);
            space.make_ascii_lowercase();
            &*space
        } else {
            long = authority.to_ascii_lowercase();
            &long
        };
        self.exact
            .get(folded)
            .or_else(|| longest(&self.suffix, folded, |length| &folded[folded.len() - length..]))
            .or_else(|| longest(&self.prefix, folded, |length| &folded[..length]))
            .copied()
            .or(self.any)
    }
}

/// The wildcard itself stands for at least one byte.
fn longest<'a>(
    by_length: &'a BTreeMap<usize, Names>,
    authority: &[u8],
    part: impl Fn(usize) -> &'a [u8],
) -> Option<&'a usize> {
    by_length
        .range(..authority.len())
        .rev()
        .find_map(|(&length, names)| names.get(part(length)))
}

/// `[::1]:80` and `a.b:80` without their ports; everything else as it is.
pub(super) fn without_port(authority: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', authority) {
        Some(colon)
            if authority[colon + 1..].iter().all(u8::is_ascii_digit)
                && (authority[colon..].len() > 1)
                && (authority[..colon].ends_with(b"]") || !authority[..colon].contains(&b':')) =>
        {
            &authority[..colon]
        }
        Some(_) | None => authority,
    }
}
