//! Reading a filter's configuration, and what is wrong with it.

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

/// Reads JSON; nothing but blanks counts as `{}`.
pub(crate) fn parse<C: DeserializeOwned>(configuration: &[u8]) -> Result<C, ConfigError> {
    let configuration = if configuration.trim_ascii().is_empty() {
        b"{}".as_slice()
    } else {
        configuration
    };
    let mut json = serde_json::Deserializer::from_slice(configuration);
    let config = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        ConfigError::new(
            if path == "." { String::new() } else { path },
            error.into_inner().to_string(),
        )
    })?;
    json.end()
        .map_err(|error| ConfigError::new("", error.to_string()))?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, NoConfig, parse};

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
    fn a_refusal_can_be_seen_from_above() {
        let error = ConfigError::new("path.regex", "no").within("[2]").within("rules");
        assert_eq!(error.to_string(), "rules[2].path.regex: no");
        assert_eq!(
            ConfigError::new("", "no").within("rules").to_string(),
            "rules: no"
        );
    }
}
