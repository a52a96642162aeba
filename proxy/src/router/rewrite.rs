//! New paths and authorities for the upstream.

use leno_model::invalid::Invalid;
use leno_model::route as model;
use regex_automata::meta::Regex;

use super::matcher::{Path, regex, split_path};
use crate::http::headers::Headers;

/// A compiled [`model::PathRewrite`].
#[derive(Debug)]
pub(super) enum PathRewrite {
    Prefix(String),
    Regex(Substitution),
}

impl PathRewrite {
    pub(super) fn compile(rewrite: &model::PathRewrite) -> Result<Self, Invalid> {
        match rewrite {
            model::PathRewrite::Prefix(prefix) => Ok(Self::Prefix(prefix.clone())),
            model::PathRewrite::Regex {
                pattern,
                substitution,
            } => Substitution::compile(pattern, substitution)
                .map(Self::Regex)
                .map_err(|invalid| invalid.within("regex_rewrite")),
        }
    }

    /// Rewrites `:path`; the query stays. The old path is told in `x-envoy-original-path`.
    pub(super) fn apply(&self, matched: &Path, request: &mut Headers) {
        let Some(target) = request.get(b":path") else {
            return;
        };
        let (path, query) = split_path(target);
        let mut new = Vec::with_capacity(target.len() + 16);
        match self {
            Self::Prefix(prefix) => {
                // Filters may have changed the path since it was matched.
                let Some(consumed) = matched.consumed(path) else {
                    return;
                };
                new.extend_from_slice(prefix.as_bytes());
                new.extend_from_slice(&path[consumed..]);
            }
            Self::Regex(substitution) => substitution.apply(path, &mut new),
        }
        new.extend_from_slice(query);
        if new != target {
            let old = target.to_vec();
            request.set(b"x-envoy-original-path", &old);
            request.set(b":path", &new);
        }
    }
}

/// A compiled [`model::HostRewrite`].
#[derive(Debug)]
pub(super) enum HostRewrite {
    Literal(String),
    Auto,
    Header(String),
}

impl HostRewrite {
    pub(super) fn compile(rewrite: &model::HostRewrite) -> Self {
        match rewrite {
            model::HostRewrite::Literal(text) => Self::Literal(text.clone()),
            model::HostRewrite::Auto => Self::Auto,
            model::HostRewrite::Header(name) => Self::Header(name.clone()),
        }
    }

    /// The name of the endpoint, which is not known yet.
    pub(super) fn is_auto(&self) -> bool {
        matches!(self, Self::Auto)
    }

    pub(super) fn apply(&self, request: &mut Headers) {
        let new = match self {
            Self::Literal(text) => Some(text.as_bytes().to_vec()),
            Self::Auto => None,
            Self::Header(name) => request.get(name.as_bytes()).map(<[u8]>::to_vec),
        };
        if let Some(new) = new.filter(|new| !new.is_empty()) {
            request.set(b":authority", &new);
        }
    }
}

/// A regular expression and what replaces each match of it.
#[derive(Debug)]
pub(super) struct Substitution {
    regex: Box<Regex>,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(Vec<u8>),
    Group(usize),
}

impl Substitution {
    pub(super) fn compile(pattern: &str, substitution: &str) -> Result<Self, Invalid> {
        let regex = regex(pattern).map_err(|reason| Invalid::new("pattern.regex", reason))?;
        let groups = regex.group_info().group_len(regex_automata::PatternID::ZERO);
        let parts = parse(substitution, groups).map_err(|reason| Invalid::new("substitution", reason))?;
        Ok(Self {
            regex: Box::new(regex),
            parts,
        })
    }

    /// Appends `text` to `out` with all matches replaced.
    pub(super) fn apply(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut copied = 0;
        for found in self.regex.captures_iter(text) {
            let Some(whole) = found.get_group(0) else { continue };
            out.extend_from_slice(&text[copied..whole.start]);
            for part in &self.parts {
                match part {
                    Part::Text(text) => out.extend_from_slice(text),
                    Part::Group(group) => {
                        let span = found.get_group(*group).map_or(0..0, |span| span.range());
                        out.extend_from_slice(&text[span]);
                    }
                }
            }
            copied = whole.end;
        }
        out.extend_from_slice(&text[copied..]);
    }
}

/// `\0` to `\9`, and `\\` for a backslash (RE2's rewrite strings).
fn parse(substitution: &str, groups: usize) -> Result<Vec<Part>, String> {
    let (mut parts, mut text) = (Vec::new(), Vec::new());
    let mut bytes = substitution.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        let group = match bytes.next() {
            Some(b'\\') => None,
            Some(digit @ b'0'..=b'9') => Some(usize::from(digit - b'0')),
            Some(_) | None => {
                return Err(format!(
                    "`{substitution}`: `\\` must be followed by a digit or `\\`"
                ));
            }
        };
        match group {
            None => text.push(b'\\'),
            Some(group) if group < groups => {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Group(group));
            }
            Some(group) => {
                return Err(format!(
                    "`{substitution}`: the pattern has no group {group}, only {}",
                    groups - 1
                ));
            }
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}
