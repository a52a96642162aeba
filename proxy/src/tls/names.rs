//! Which subject alternative names are believed.

use leno_model::invalid::Invalid;
use leno_model::matching::Pattern;
use leno_model::tls::{NameKind, NameMatch};
use regex_automata::meta::Regex;

use crate::tls::certificate::Certificate;

/// One of these must be there.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(NameKind, Test)>);

#[derive(Debug)]
enum Test {
    /// The rules of DNS names: any case, and a wildcard in the certificate stands for one label.
    DnsName(String),
    Plain(Pattern, bool),
    Regex(Box<Regex>),
}

impl Names {
    pub(super) fn new(matches: &[NameMatch]) -> Result<Self, Invalid> {
        let tests = matches.iter().enumerate().map(|(index, one)| {
            let test = Test::new(one);
            test.map(|test| (one.kind, test))
                .map_err(|refusal| refusal.within(&format!("match_typed_subject_alt_names[{index}].matcher")))
        });
        tests.collect::<Result<_, _>>().map(Self)
    }

    /// Every certificate will do.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn accept(&self, certificate: &Certificate) -> bool {
        self.0.iter().any(|(kind, test)| {
            let texts = match kind {
                NameKind::Email => &certificate.emails,
                NameKind::Dns => &certificate.dns_names,
                NameKind::Uri => &certificate.uris,
                NameKind::Ip => {
                    let mut addresses = certificate.addresses.iter();
                    return addresses.any(|address| test.accepts(&address.to_string()));
                }
            };
            texts.iter().any(|text| test.accepts(text))
        })
    }
}

impl Test {
    fn new(one: &NameMatch) -> Result<Self, Invalid> {
        Ok(match (&one.value.pattern, one.kind) {
            (Pattern::Exact(name), NameKind::Dns) => Self::DnsName(name.to_ascii_lowercase()),
            (Pattern::Regex(pattern), _) => {
                let whole = Regex::new(&format!("^(?:{pattern})$"));
                let whole = whole.map_err(|error| Invalid::new("safe_regex.regex", error.to_string()))?;
                Self::Regex(Box::new(whole))
            }
            (pattern, _) if one.value.ignore_case => Self::Plain(lower(pattern), true),
            (pattern, _) => Self::Plain(pattern.clone(), false),
        })
    }

    fn accepts(&self, name: &str) -> bool {
        match self {
            Self::DnsName(wanted) => is_for(name, wanted),
            Self::Plain(pattern, true) => plain(pattern, &name.to_ascii_lowercase()),
            Self::Plain(pattern, false) => plain(pattern, name),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

/// Whether a DNS name of a certificate stands for `wanted` (lower case). RFC 9525 §6.3: a wildcard is a whole label,
/// the first one.
pub(super) fn is_for(name: &str, wanted: &str) -> bool {
    if name.eq_ignore_ascii_case(wanted) {
        return true;
    }
    match (name.strip_prefix("*."), wanted.split_once('.')) {
        (Some(rest), Some((first, wanted))) => !first.is_empty() && rest.eq_ignore_ascii_case(wanted),
        _ => false,
    }
}

fn plain(pattern: &Pattern, name: &str) -> bool {
    match pattern {
        Pattern::Exact(text) => name == text,
        Pattern::Prefix(text) => name.starts_with(text),
        Pattern::Suffix(text) => name.ends_with(text),
        Pattern::Contains(text) => name.contains(text),
        // Made into a [`Test::Regex`].
        Pattern::Regex(_) => false,
    }
}

fn lower(pattern: &Pattern) -> Pattern {
    match pattern {
        Pattern::Exact(text) => Pattern::Exact(text.to_ascii_lowercase()),
        Pattern::Prefix(text) => Pattern::Prefix(text.to_ascii_lowercase()),
        Pattern::Suffix(text) => Pattern::Suffix(text.to_ascii_lowercase()),
        Pattern::Contains(text) => Pattern::Contains(text.to_ascii_lowercase()),
        Pattern::Regex(text) => Pattern::Regex(text.clone()),
    }
}

#[cfg(test)]
mod tests {
    use leno_model::matching::{Pattern, StringMatch};
    use leno_model::tls::{NameKind, NameMatch};

    use super::Names;
    use crate::tls::certificate::Certificate;

    fn names(kind: NameKind, pattern: Pattern, ignore_case: bool) -> Names {
        let value = StringMatch { pattern, ignore_case };
        Names::new(&[NameMatch { kind, value }]).unwrap()
    }

    #[track_caller]
    fn dns(wanted: &str, name: &str, accepted: bool) {
        let certificate = Certificate {
            dns_names: vec![name.to_owned()],
            ..Certificate::default()
        };
        let names = names(NameKind::Dns, Pattern::Exact(wanted.to_owned()), false);
        assert_eq!(names.accept(&certificate), accepted, "{wanted} {name}");
    }

    #[test]
    fn dns_names_have_no_case_and_may_have_a_wildcard() {
        dns("a.example.com", "A.Example.COM", true);
        dns("A.example.com", "a.example.com", true);
        dns("a.example.com", "*.example.com", true);
        dns("a.example.com", "*.EXAMPLE.com", true);
        dns("a.b.example.com", "*.example.com", false);
        dns("example.com", "*.example.com", false);
        dns(".example.com", "*.example.com", false);
        dns("a.example.com", "a*.example.com", false);
        dns("a.example.com", "b.example.com", false);
        dns("*.example.com", "*.example.com", true);
    }

    #[test]
    fn other_names_are_compared_byte_by_byte_and_one_is_enough() {
        let certificate = Certificate {
            uris: vec!["spiffe://a/ns/x".to_owned(), "spiffe://b/y".to_owned()],
            emails: vec!["me@example.com".to_owned()],
            addresses: vec!["10.0.0.1".parse().unwrap()],
            ..Certificate::default()
        };
        let text = |text: &str| text.to_owned();
        for (kind, pattern, ignore_case, accepted) in [
            (NameKind::Uri, Pattern::Exact(text("spiffe://b/y")), false, true),
            (NameKind::Uri, Pattern::Exact(text("spiffe://B/y")), false, false),
            (NameKind::Uri, Pattern::Exact(text("SPIFFE://B/y")), true, true),
            (NameKind::Uri, Pattern::Prefix(text("spiffe://a/")), false, true),
            (NameKind::Uri, Pattern::Suffix(text("/x")), false, true),
            (NameKind::Uri, Pattern::Contains(text("/ns/")), false, true),
            (
                NameKind::Uri,
                Pattern::Regex(text("spiffe://[ab]/.*")),
                false,
                true,
            ),
            (NameKind::Uri, Pattern::Regex(text("spiffe://b")), false, false),
            (NameKind::Dns, Pattern::Prefix(text("spiffe")), false, false),
            (
                NameKind::Email,
                Pattern::Suffix(text("@example.com")),
                false,
                true,
            ),
            (NameKind::Ip, Pattern::Exact(text("10.0.0.1")), false, true),
            (NameKind::Ip, Pattern::Exact(text("10.0.0.10")), false, false),
        ] {
            let names = names(kind, pattern.clone(), ignore_case);
            assert_eq!(names.accept(&certificate), accepted, "{pattern:?}");
        }
    }
}
