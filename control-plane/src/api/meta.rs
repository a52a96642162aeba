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
    Duration::try_from_secs_f64((total * 1e9).round() / 1e9).ok()
}

/// `StringMatch`: exactly one of the three.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum StringMatch {
    /// The whole string.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// The whole string matches (RE2).
    Regex(String),
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
        ] {
            assert_eq!(parse_span(text), want, "{text:?}");
        }
    }
}
