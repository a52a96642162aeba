//! Text with placeholders: `%{request.headers.x-id}`, `%{source.address}`, `%{request.headers.x-tenant:-none}`.

use std::collections::BTreeMap;

use crate::exchange::Handle;
use crate::host::Map;

/// A text with placeholders that an exchange fills. `%%` stands for `%`.
///
/// A placeholder is the name of an attribute, or `request.headers.NAME`, `response.headers.NAME`,
/// `request.trailers.NAME`, `response.trailers.NAME`; after `:-` follows what stands there if it is absent or empty
/// (nothing otherwise). Integers and booleans are written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field {
        map: Map,
        name: String,
        otherwise: String,
    },
    Property {
        path: String,
        otherwise: String,
    },
}

/// Request fields as they were, for the phases in which they cannot be read any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved(BTreeMap<String, Vec<u8>>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(percent) = rest.find('%') {
            literal.push_str(&rest[..percent]);
            rest = &rest[percent + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let Some((inside, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
                return Err(format!(
                    "{text:?}: a % begins a placeholder %{{...}}; write %% for the sign itself"
                ));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(placeholder(inside).ok_or_else(|| format!("{text:?}: %{{{inside}}} names nothing"))?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// Fills it in.
    #[must_use]
    pub fn render(&self, handle: &Handle, saved: &Saved) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.0 {
            let (value, otherwise) = match part {
                Part::Text(text) => (Some(text.clone().into_bytes()), ""),
                Part::Field { map, name, otherwise } => {
                    let now = handle.fields(*map).get(name);
                    let before = || saved.0.get(name).filter(|_| *map == Map::RequestHeaders).cloned();
                    (now.or_else(before), otherwise.as_str())
                }
                Part::Property { path, otherwise } => {
                    let segments: Vec<&str> = path.split('.').collect();
                    let value = handle.property(&segments).shown(path).map(String::into_bytes);
                    (value, otherwise.as_str())
                }
            };
            match value {
                Some(value) if !value.is_empty() => out.extend(value),
                _ => out.extend_from_slice(otherwise.as_bytes()),
            }
        }
        out
    }

    /// The request fields that it shows.
    pub fn request_fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Field {
                map: Map::RequestHeaders,
                name,
                ..
            } => Some(name.as_str()),
            _ => None,
        })
    }
}

impl Saved {
    /// Keeps the request fields that templates will show later.
    pub fn keep<'a>(&mut self, handle: &Handle, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if let Some(value) = handle.fields(Map::RequestHeaders).get(name) {
                self.0.insert(name.to_owned(), value);
            }
        }
    }
}

fn placeholder(inside: &str) -> Option<Part> {
    let (path, otherwise) = inside.split_once(":-").unwrap_or((inside, ""));
    let otherwise = otherwise.to_owned();
    let groups = [
        ("request.headers.", Map::RequestHeaders),
        ("request.trailers.", Map::RequestTrailers),
        ("response.headers.", Map::ResponseHeaders),
        ("response.trailers.", Map::ResponseTrailers),
    ];
    for (group, map) in groups {
        if let Some(name) = path.strip_prefix(group) {
            let name = name.to_ascii_lowercase();
            return (!name.is_empty()).then_some(Part::Field { map, name, otherwise });
        }
    }
    // The request's own attributes are fields, which can be kept for later phases.
    let own = [
        ("request.path", ":path"),
        ("request.method", ":method"),
        ("request.host", ":authority"),
        ("request.scheme", ":scheme"),
        ("request.id", "x-request-id"),
        ("request.useragent", "user-agent"),
        ("request.referer", "referer"),
    ];
    if let Some((_, name)) = own.iter().find(|(attribute, _)| *attribute == path) {
        return Some(Part::Field {
            map: Map::RequestHeaders,
            name: (*name).to_owned(),
            otherwise,
        });
    }
    let sound = path
        .split('.')
        .all(|segment| !segment.is_empty() && !segment.contains(['%', '{', ' ', '\0']));
    sound.then(|| Part::Property {
        path: path.to_owned(),
        otherwise,
    })
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn refuses_what_it_cannot_read() {
        for text in ["100%", "%{", "%{}", "%{request.headers.}", "%{a..b}", "%x"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert!(Template::parse("100%%").is_ok());
    }

    #[test]
    fn tells_which_request_fields_it_shows() {
        let template = Template::parse("%{request.headers.X-A} %{request.path} %{source.address}").unwrap();
        assert_eq!(template.request_fields().collect::<Vec<_>>(), ["x-a", ":path"]);
    }
}
