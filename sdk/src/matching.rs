//! Which requests a rule is for: a configuration that filters share, and what it compiles to.

use regex_lite::Regex;
use serde::Deserialize;

use crate::config::ConfigError;
use crate::fields::Fields;

/// Which requests. Everything that is given must hold; nothing given matches every request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Match {
    /// The path without the query is like one of these.
    pub paths: Vec<TextMatch>,
    /// The method is one of these; upper case.
    pub methods: Vec<String>,
    /// `:authority` without the port is like one of these, in lower case.
    pub hosts: Vec<TextMatch>,
    /// All of these hold.
    pub headers: Vec<FieldMatch>,
}

/// What a text must be like: exactly one of the criteria is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct TextMatch {
    /// The same.
    pub exact: Option<String>,
    /// It begins so.
    pub prefix: Option<String>,
    /// It ends so.
    pub suffix: Option<String>,
    /// All of it matches (as in Istio, not only a part).
    pub regex: Option<String>,
}

/// What a field must be like: exactly one of the criteria is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct FieldMatch {
    /// The field.
    pub name: String,
    /// Whether there must be such a field, or must not.
    pub present: Option<bool>,
    /// The same.
    pub exact: Option<String>,
    /// It begins so.
    pub prefix: Option<String>,
    /// It ends so.
    pub suffix: Option<String>,
    /// All of it matches.
    pub regex: Option<String>,
    /// The opposite must hold.
    pub invert: bool,
}

/// A [`Match`] that has been checked.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    paths: Vec<Text>,
    methods: Vec<String>,
    hosts: Vec<Text>,
    headers: Vec<FieldMatcher>,
}

#[derive(Clone, Debug)]
enum Text {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

/// A [`FieldMatch`] that has been checked.
#[derive(Clone, Debug)]
pub struct FieldMatcher {
    name: String,
    /// None: it must be there.
    value: Option<Text>,
    invert: bool,
}

impl Match {
    /// Checks it.
    ///
    /// # Errors
    /// The field that is wrong, seen from here.
    pub fn compile(self) -> Result<Matcher, ConfigError> {
        if let Some(index) = self.methods.iter().position(|method| !is_method(method)) {
            let reason = format!("{:?} is not a method in upper case", self.methods[index]);
            return Err(ConfigError::new(format!("methods[{index}]"), reason));
        }
        let texts = |name: &str, texts: Vec<TextMatch>| {
            let each = texts.into_iter().enumerate();
            each.map(|(index, text)| {
                text.compile()
                    .map_err(|error| error.within(format!("{name}[{index}]")))
            })
            .collect::<Result<Vec<_>, _>>()
        };
        let headers = self.headers.into_iter().enumerate().map(|(index, field)| {
            field
                .compile()
                .map_err(|error| error.within(format!("headers[{index}]")))
        });
        Ok(Matcher {
            paths: texts("paths", self.paths)?,
            methods: self.methods,
            hosts: texts("hosts", self.hosts)?,
            headers: headers.collect::<Result<_, _>>()?,
        })
    }
}

fn is_method(method: &str) -> bool {
    !method.is_empty()
        && method
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

impl TextMatch {
    fn compile(self) -> Result<Text, ConfigError> {
        text(self.exact, self.prefix, self.suffix, self.regex)?
            .ok_or_else(|| ConfigError::new("", "needs one of exact, prefix, suffix, regex"))
    }
}

impl FieldMatch {
    /// Checks it.
    ///
    /// # Errors
    /// The field that is wrong, seen from here.
    pub fn compile(self) -> Result<FieldMatcher, ConfigError> {
        let name = field_name("name", &self.name)?;
        let value = text(self.exact, self.prefix, self.suffix, self.regex)?;
        match (self.present, value) {
            (Some(_), Some(_)) => Err(ConfigError::new(
                "present",
                "cannot be combined with exact, prefix, suffix or regex",
            )),
            (None, None) => Err(ConfigError::new(
                "",
                "needs one of present, exact, prefix, suffix, regex",
            )),
            (Some(present), None) => Ok(FieldMatcher {
                name,
                value: None,
                invert: self.invert == present,
            }),
            (None, value) => Ok(FieldMatcher {
                name,
                value,
                invert: self.invert,
            }),
        }
    }
}

fn text(
    exact: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
    regex: Option<String>,
) -> Result<Option<Text>, ConfigError> {
    match (exact, prefix, suffix, regex) {
        (None, None, None, None) => Ok(None),
        (Some(text), None, None, None) => Ok(Some(Text::Exact(text))),
        (None, Some(text), None, None) => Ok(Some(Text::Prefix(text))),
        (None, None, Some(text), None) => Ok(Some(Text::Suffix(text))),
        (None, None, None, Some(pattern)) => {
            full_regex("regex", &pattern).map(|regex| Some(Text::Regex(regex)))
        }
        _ => Err(ConfigError::new(
            "",
            "takes only one of exact, prefix, suffix, regex",
        )),
    }
}

/// A regular expression that must match all of a text.
fn full_regex(path: &str, pattern: &str) -> Result<Regex, ConfigError> {
    // Checked alone first: what closes the group early must not get through.
    regex(path, pattern)?;
    regex(path, &format!("^(?:{pattern})$"))
}

/// Compiles a regular expression.
///
/// # Errors
/// Why it is none, for the field at `path`.
pub fn regex(path: &str, pattern: &str) -> Result<Regex, ConfigError> {
    Regex::new(pattern)
        .map_err(|error| ConfigError::new(path, format!("{pattern:?} is not a regular expression: {error}")))
}

/// Checks a field name and brings it into lower case.
///
/// # Errors
/// Why it is none (RFC 9110, 5.1), for the field at `path`.
pub fn field_name(path: &str, name: &str) -> Result<String, ConfigError> {
    let rest = name.strip_prefix(':').unwrap_or(name);
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if rest.is_empty() || !rest.bytes().all(is_token) {
        return Err(ConfigError::new(path, format!("{name:?} is not a field name")));
    }
    Ok(name.to_ascii_lowercase())
}

impl Matcher {
    /// Whether the request with these headers is meant.
    #[must_use]
    pub fn matches(&self, headers: &Fields<'_>) -> bool {
        let any = |texts: &[Text], value: &dyn Fn() -> Vec<u8>| {
            texts.is_empty() || {
                let value = value();
                texts.iter().any(|text| text.matches(&value))
            }
        };
        let method = || {
            self.methods.is_empty()
                || headers
                    .get(":method")
                    .is_some_and(|method| self.methods.iter().any(|wanted| wanted.as_bytes() == method))
        };
        any(&self.paths, &|| {
            bare_path(headers.get(":path").unwrap_or_default())
        }) && method()
            && any(&self.hosts, &|| {
                bare_host(&headers.get(":authority").unwrap_or_default())
            })
            && self
                .headers
                .iter()
                .all(|field| field.matches(headers.get(&field.name).as_deref()))
    }
}

impl Text {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|value| regex.is_match(value)),
        }
    }
}

impl FieldMatcher {
    /// In lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a field with this value, or the absence of the field, is meant.
    #[must_use]
    pub fn matches(&self, value: Option<&[u8]>) -> bool {
        let found = match (&self.value, value) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(text), Some(value)) => text.matches(value),
        };
        found != self.invert
    }
}

fn bare_path(mut path: Vec<u8>) -> Vec<u8> {
    let end = path
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(path.len());
    path.truncate(end);
    path
}

fn bare_host(authority: &[u8]) -> Vec<u8> {
    let end = match authority.iter().rposition(|byte| *byte == b':') {
        // A colon inside of brackets is part of an IPv6 address.
        Some(colon) if !authority[colon..].contains(&b']') => colon,
        _ => authority.len(),
    };
    authority[..end].to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{Match, bare_host, bare_path};

    fn refused(json: &str) -> String {
        serde_json::from_str::<Match>(json)
            .unwrap()
            .compile()
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(
            refused(r#"{"paths": [{}]}"#),
            "paths[0]: needs one of exact, prefix, suffix, regex"
        );
        assert_eq!(
            refused(r#"{"paths": [{"exact": "/", "prefix": "/"}]}"#),
            "paths[0]: takes only one of exact, prefix, suffix, regex"
        );
        assert!(
            refused(r#"{"hosts": [{"exact": "a"}, {"regex": "("}]}"#)
                .starts_with("hosts[1].regex: \"(\" is not")
        );
        assert!(refused(r#"{"hosts": [{"regex": "a)(b"}]}"#).starts_with("hosts[0].regex"));
        assert!(refused(r#"{"methods": ["get"]}"#).starts_with("methods[0]: \"get\" is not a method"));
        assert!(
            refused(r#"{"headers": [{"name": "a b", "present": true}]}"#).starts_with("headers[0].name: ")
        );
        assert!(refused(r#"{"headers": [{"name": "a"}]}"#).starts_with("headers[0]: needs one of present"));
    }

    #[test]
    fn paths_and_hosts_are_compared_bare() {
        assert_eq!(bare_path(b"/a?b#c".to_vec()), b"/a");
        assert_eq!(bare_host(b"Example.test:80"), b"example.test");
        assert_eq!(bare_host(b"[::1]:80"), b"[::1]");
        assert_eq!(bare_host(b"[::1]"), b"[::1]");
    }
}
