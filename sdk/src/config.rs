//! Reading a filter's configuration, and what is wrong with it.

mod value;

use std::time::Duration;

use serde::de::DeserializeOwned;

/// A configuration that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field, as in `rules[2].path.regex`; empty for the document as a whole.
    pub path: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl ConfigError {
    /// Refuses the field at `path`.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }

    /// The same refusal, seen from one level up: `within("rules[2]")` makes `path` into `rules[2].path`.
    #[must_use]
    pub fn within(self, parent: impl AsRef<str>) -> Self {
        let parent = parent.as_ref();
        let path = match self.path.as_str() {
            "" => parent.to_owned(),
            path if path.starts_with('[') => format!("{parent}{path}"),
            path => format!("{parent}.{path}"),
        };
        Self {
            path,
            reason: self.reason,
        }
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.as_str() {
            "" => out.write_str(&self.reason),
            path => write!(out, "{path}: {}", self.reason),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The configuration of a filter that takes none.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A duration in a configuration: a whole number and its unit, as in `250ms`, `30s`, `5m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is not a duration such as 250ms, 30s, 5m or 1h");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| refused())?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(refused()),
        };
        number
            .checked_mul(milliseconds)
            .map(|all| Self(Duration::from_millis(all)))
            .ok_or_else(refused)
    }
}

impl<'de> serde::Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads JSON; nothing but blanks counts as `{}`.
pub(crate) fn parse<C: DeserializeOwned>(configuration: &[u8]) -> Result<C, ConfigError> {
    let configuration = if configuration.trim_ascii().is_empty() {
        b"{}".as_slice()
    } else {
        configuration
    };
    let value: serde_json::Value =
        serde_json::from_slice(configuration).map_err(|error| ConfigError::new("", error.to_string()))?;
    C::deserialize(value::Reader(&value))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ConfigError, NoConfig, Time, parse};

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rule {
        #[serde(default)]
        limit: u32,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        rules: Vec<Rule>,
    }

    fn refused(text: &str) -> String {
        parse::<Config>(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn blanks_are_an_empty_document() {
        assert_eq!(parse::<Config>(b" \n").unwrap(), Config { rules: Vec::new() });
        assert!(parse::<NoConfig>(b"").is_ok());
    }

    #[test]
    fn refusals_name_the_field() {
        let unknown = refused(r#"{"rules": [{"limit": 1}, {"limits": 2}]}"#);
        assert!(
            unknown.starts_with("rules[1].limits: unknown field `limits`, expected `limit`"),
            "{unknown}"
        );
        let wrong = refused(r#"{"rules": [{"limit": "many"}]}"#);
        assert!(
            wrong.starts_with("rules[0].limit: invalid type: string \"many\""),
            "{wrong}"
        );
        let trailing = refused("{} {}");
        assert!(trailing.starts_with("trailing characters"), "{trailing}");
        assert!(refused("{").contains("EOF"));
    }

    #[test]
    fn durations_have_a_unit() {
        let check = |text: &str, expected: Option<u64>| {
            let time = text.parse::<Time>().ok().map(|time| time.0);
            assert_eq!(time, expected.map(Duration::from_millis), "{text}");
        };
        check("250ms", Some(250));
        check("30s", Some(30_000));
        check("5m", Some(300_000));
        check("1h", Some(3_600_000));
        check("1", None);
        check("1.5s", None);
        check("-1s", None);
        check("s", None);
        check("99999999999999999h", None);
    }

    #[test]
    fn a_refusal_can_be_seen_from_above() {
        let error = ConfigError::new("path.regex", "no").within("[2]").within("rules");
        assert_eq!(error.to_string(), "rules[2].path.regex: no");
        assert_eq!(
            ConfigError::new("", "no").within("rules").to_string(),
            "rules: no"
        );
    }
}
