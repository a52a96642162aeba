//! Where in a request a credential is.

use leno_sdk::matching::field_name;
use leno_sdk::{ConfigError, Handle, Map, query_param};

use crate::config::FromHeader;

/// The places where a credential may be, in the order in which they are looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    headers: Vec<(String, String)>,
    params: Vec<String>,
    cookies: Vec<String>,
}

impl Places {
    /// Checks them; none at all is the caller's business.
    pub(crate) fn new(
        headers: Vec<FromHeader>,
        params: Vec<String>,
        cookies: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let headers = headers.into_iter().enumerate().map(|(index, from)| {
            Ok((
                field_name(&format!("fromHeaders[{index}].name"), &from.name)?,
                from.prefix,
            ))
        });
        for (key, names) in [("fromParams", &params), ("fromCookies", &cookies)] {
            if let Some(index) = names.iter().position(String::is_empty) {
                return Err(ConfigError::new(format!("{key}[{index}]"), "must not be empty"));
            }
        }
        Ok(Self {
            headers: headers.collect::<Result<_, ConfigError>>()?,
            params,
            cookies,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.params.is_empty() && self.cookies.is_empty()
    }

    pub(crate) fn header(mut self, name: &str, prefix: &str) -> Self {
        self.headers.push((name.to_owned(), prefix.to_owned()));
        self
    }

    pub(crate) fn param(mut self, name: &str) -> Self {
        self.params.push(name.to_owned());
        self
    }

    /// The credential, and its place if it should not be sent on. A header with another prefix is another's.
    pub(crate) fn find(&self, handle: &Handle) -> Option<(Vec<u8>, Place)> {
        let headers = handle.fields(Map::RequestHeaders);
        for (name, prefix) in &self.headers {
            if let Some(credential) = headers.get(name).and_then(|value| without_prefix(&value, prefix)) {
                return Some((credential, Place::Header(name.clone())));
            }
        }
        let path = headers.get(":path").unwrap_or_default();
        for name in &self.params {
            if let Some(credential) = query_param(&path, name) {
                return Some((credential, Place::Param(name.clone())));
            }
        }
        self.cookies
            .iter()
            .find_map(|name| Some((headers.cookie(name)?, Place::Cookie)))
    }
}

/// Schemes are compared without regard to case (RFC 9110, 11.1).
fn without_prefix(value: &[u8], prefix: &str) -> Option<Vec<u8>> {
    let start = value.get(..prefix.len())?;
    start
        .eq_ignore_ascii_case(prefix.as_bytes())
        .then(|| value[prefix.len()..].trim_ascii().to_vec())
}

/// Where a credential was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Header(String),
    Param(String),
    /// Cookies stay: other parts of the same field belong to others.
    Cookie,
}

impl Place {
    /// Takes the credential out of the request.
    pub(crate) fn remove(&self, handle: &Handle) {
        let headers = handle.fields(Map::RequestHeaders);
        match self {
            Self::Header(name) => headers.remove(name),
            Self::Param(name) => {
                let path = headers.get(":path").unwrap_or_default();
                headers.set(":path", without_param(&path, name));
            }
            Self::Cookie => {}
        }
    }
}

fn without_param(path: &[u8], name: &str) -> Vec<u8> {
    let Some(question) = path.iter().position(|byte| *byte == b'?') else {
        return path.to_vec();
    };
    let (bare, query) = (&path[..question], &path[question + 1..]);
    let kept: Vec<&[u8]> = query
        .split(|byte| *byte == b'&')
        .filter(|pair| query_param(&[b"?", *pair].concat(), name).is_none())
        .collect();
    if kept.is_empty() {
        bare.to_vec()
    } else {
        [bare, b"?", &kept.join(&b'&')].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::{without_param, without_prefix};

    #[test]
    fn parameters_are_taken_out_of_the_path() {
        let check = |path: &str, expected: &str| {
            let found = without_param(path.as_bytes(), "k");
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{path}");
        };
        check("/a?k=1", "/a");
        check("/a?x=1&k=1&y=2", "/a?x=1&y=2");
        check("/a?%6B=1&kk=2", "/a?kk=2");
        check("/a", "/a");
    }

    #[test]
    fn schemes_have_no_case() {
        assert_eq!(without_prefix(b"bearer  abc ", "Bearer "), Some(b"abc".to_vec()));
        assert_eq!(without_prefix(b"Basic abc", "Bearer "), None);
        assert_eq!(without_prefix(b"abc", ""), Some(b"abc".to_vec()));
    }
}
