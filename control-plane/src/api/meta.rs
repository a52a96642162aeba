//! What every document begins with, and small value types that several kinds share.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Namespace and name: what identifies an object of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `default` when the document does not say.
    pub namespace: String,
    /// As in `metadata.name`.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// `ObjectMeta`, as far as it has an effect here. What an API server adds is taken and not used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Required.
    pub name: String,
    /// `default` when absent.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Free.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Free.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339; orders objects of equal priority.
    #[serde(default)]
    pub creation_timestamp: Option<String>,
}

fn default_namespace() -> String {
    "default".to_owned()
}

impl Meta {
    /// What identifies the object.
    pub fn key(&self) -> Key {
        Key {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// A whole document of one kind.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document<Spec> {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Who it is.
    pub metadata: Meta,
    /// What is wanted.
    pub spec: Spec,
    /// Written by control planes; not read.
    #[serde(default)]
    pub status: Option<serde_json::Value>,
}

/// A duration as Istio writes it: decimal numbers with units `h`, `m`, `s`, `ms`, `us`, `ns`, as in `1h30m` or `1.5s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_span(&text).map(Span).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is not a duration; write it as in 5s, 250ms or 1h30m"
            ))
        })
    }
}

fn parse_span(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number * seconds;
        rest = &rest[unit_end..];
    }
    // Nanoseconds are what a Duration holds; anything finer in the sum is an artefact of floating point.
    let span = Duration::try_from_secs_f64((total * 1e9).round() / 1e9).ok()?;
    // What Go's durations hold, so Istio's too: about 292 years.
    i64::try_from(span.as_nanos()).is_ok().then_some(span)
}

/// `StringMatch`: one of the three. Without any, as in `{}`, it asks for presence alone: that is `None` where one is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    /// The whole string.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// The whole string matches (RE2).
    Regex(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMatch {
    exact: Option<String>,
    prefix: Option<String>,
    regex: Option<String>,
}

impl WrittenMatch {
    fn read<E: serde::de::Error>(self) -> Result<Option<StringMatch>, E> {
        match (self.exact, self.prefix, self.regex) {
            (None, None, None) => Ok(None),
            (Some(text), None, None) => Ok(Some(StringMatch::Exact(text))),
            (None, Some(text), None) => Ok(Some(StringMatch::Prefix(text))),
            (None, None, Some(text)) => Ok(Some(StringMatch::Regex(text))),
            _ => Err(E::custom(
                "takes one of exact, prefix and regex; keep one of them",
            )),
        }
    }
}

/// A field of type `StringMatch`.
pub(super) fn string_match<'de, D>(deserializer: D) -> Result<Option<StringMatch>, D::Error>
where
    D: Deserializer<'de>,
{
    match Option::<WrittenMatch>::deserialize(deserializer)? {
        Some(written) => written.read(),
        None => Ok(None),
    }
}

/// A map to `StringMatch`. Its values may be empty and may not be null (proto3's JSON mapping).
pub(super) fn string_matches<'de, D>(
    deserializer: D,
) -> Result<BTreeMap<String, Option<StringMatch>>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Value(Option<StringMatch>);

    impl<'de> Deserialize<'de> for Value {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match Option::<WrittenMatch>::deserialize(deserializer)? {
                Some(written) => written.read().map(Self),
                None => Err(serde::de::Error::custom(
                    "null is not a match; write {} to ask for presence alone",
                )),
            }
        }
    }

    let written = BTreeMap::<String, Value>::deserialize(deserializer)?;
    Ok(written.into_iter().map(|(name, value)| (name, value.0)).collect())
}

/// `WorkloadSelector` with `matchLabels`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// All of them must be equal. Empty selects every workload of the namespace.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// Whether all of `wanted` are among `labels`.
pub fn selects(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::{Duration, parse_span};

    #[test]
    fn durations_read_as_istio_writes_them() {
        for (text, want) in [
            ("5s", Some(Duration::from_secs(5))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("250ms", Some(Duration::from_millis(250))),
            ("1h2m3s", Some(Duration::from_secs(3723))),
            ("0s", Some(Duration::ZERO)),
            ("25us", Some(Duration::from_micros(25))),
            ("5", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1 s", None),
            ("2562047h", Some(Duration::from_secs(2_562_047 * 3600))),
            ("2562048h", None),
        ] {
            assert_eq!(parse_span(text), want, "{text:?}");
        }
    }
}
