//! Whether one route takes a request.

use leno_model::invalid::Invalid;
use leno_model::matching::{Fraction, HeaderMatch, HeaderValueMatch, Pattern, QueryMatch, StringMatch};
use leno_model::route::{PathMatch, RouteMatch};
use memchr::memmem;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use crate::http::headers::Headers;
use crate::reply::is_grpc;

/// What routes look at, split once per request.
pub(super) struct Request<'a> {
    pub(super) headers: &'a Headers,
    /// Without query and fragment.
    pub(super) path: &'a [u8],
    pub(super) query: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn new(headers: &'a Headers) -> Self {
        let (path, query) = split_path(headers.get(b":path").unwrap_or_default());
        Self {
            headers,
            path,
            query: query.strip_prefix(b"?").unwrap_or_default(),
        }
    }
}

/// The path, and the rest from `?` or `#` on.
pub(super) fn split_path(target: &[u8]) -> (&[u8], &[u8]) {
    target.split_at(memchr::memchr2(b'?', b'#', target).unwrap_or(target.len()))
}

/// A compiled [`RouteMatch`].
#[derive(Debug)]
pub(super) struct Matcher {
    pub(super) path: Path,
    headers: Vec<Field>,
    query: Vec<(String, Option<Text>)>,
    grpc: bool,
    fraction: Option<Fraction>,
}

impl Matcher {
    pub(super) fn compile(matches: &RouteMatch) -> Result<Self, Invalid> {
        let mut matcher = Self {
            path: Path::compile(&matches.path, matches.case_sensitive)?,
            headers: Vec::with_capacity(matches.headers.len()),
            query: Vec::with_capacity(matches.query.len()),
            grpc: matches.grpc,
            fraction: matches.fraction,
        };
        for (index, header) in matches.headers.iter().enumerate() {
            let field = Field::compile(header);
            matcher
                .headers
                .push(field.map_err(|invalid| invalid.within(&format!("headers[{index}]")))?);
        }
        for (index, query) in matches.query.iter().enumerate() {
            let value = query.value.as_ref().map(Text::compile).transpose();
            let value = value
                .map_err(|invalid| invalid.within(&format!("query_parameters[{index}].string_match")))?;
            let QueryMatch { name, .. } = query;
            matcher.query.push((name.clone(), value));
        }
        if let Some(fraction) = matcher.fraction
            && fraction.denominator == 0
        {
            return Err(Invalid::new(
                "runtime_fraction.default_value.denominator",
                "must be above zero",
            ));
        }
        Ok(matcher)
    }

    /// The path, if only exactly that one can match.
    pub(super) fn exact_path(&self) -> Option<&[u8]> {
        match &self.path {
            Path::Exact {
                text,
                ignore_case: false,
            } => Some(text),
            Path::Exact { .. } | Path::Prefix { .. } | Path::Separated { .. } | Path::Regex(_) => None,
        }
    }

    /// All parts hold. `position` makes the shares of different routes independent of each other.
    pub(super) fn matches(&self, request: &Request<'_>, random: u64, position: usize) -> bool {
        self.path.consumed(request.path).is_some()
            && (!self.grpc || request.headers.get(b"content-type").is_some_and(is_grpc))
            && self.headers.iter().all(|field| field.matches(request.headers))
            && self
                .query
                .iter()
                .all(|(name, value)| query_matches(request.query, name, value.as_ref()))
            && self.fraction.is_none_or(|fraction| {
                let share = mixed(random ^ (position as u64 + 1)) % u64::from(fraction.denominator);
                share < u64::from(fraction.numerator)
            })
    }
}

/// Spreads every bit of the input over the output (the finisher of SplitMix64).
fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A compiled [`PathMatch`].
#[derive(Debug)]
pub(super) enum Path {
    Prefix { text: Box<[u8]>, ignore_case: bool },
    Separated { text: Box<[u8]>, ignore_case: bool },
    Exact { text: Box<[u8]>, ignore_case: bool },
    Regex(Box<Regex>),
}

impl Path {
    fn compile(path: &PathMatch, case_sensitive: bool) -> Result<Self, Invalid> {
        let ignore_case = !case_sensitive;
        let bytes = |text: &str| text.as_bytes().into();
        match path {
            PathMatch::Prefix(text) => Ok(Self::Prefix {
                text: bytes(text),
                ignore_case,
            }),
            PathMatch::SeparatedPrefix(text)
                if text.len() < 2 || text.ends_with('/') || !text.starts_with('/') =>
            {
                Err(Invalid::new(
                    "path_separated_prefix",
                    "must begin with `/` and not end with it",
                ))
            }
            PathMatch::SeparatedPrefix(text) => Ok(Self::Separated {
                text: bytes(text),
                ignore_case,
            }),
            PathMatch::Exact(text) => Ok(Self::Exact {
                text: bytes(text),
                ignore_case,
            }),
            PathMatch::Regex(pattern) => whole_regex(pattern)
                .map(Self::Regex)
                .map_err(|reason| Invalid::new("safe_regex.regex", reason)),
        }
    }

    /// How much of `path` a match takes; `None` without a match.
    pub(super) fn consumed(&self, path: &[u8]) -> Option<usize> {
        let begins = |text: &[u8], ignore_case| {
            path.get(..text.len())
                .is_some_and(|start| same(start, text, ignore_case))
                .then_some(text.len())
        };
        match self {
            Self::Prefix { text, ignore_case } => begins(text, *ignore_case),
            Self::Separated { text, ignore_case } => {
                begins(text, *ignore_case).filter(|&end| path.get(end).is_none_or(|&next| next == b'/'))
            }
            Self::Exact { text, ignore_case } => same(path, text, *ignore_case).then_some(path.len()),
            Self::Regex(regex) => regex.is_match(path).then_some(path.len()),
        }
    }
}

fn same(left: &[u8], right: &[u8], ignore_case: bool) -> bool {
    if ignore_case {
        left.eq_ignore_ascii_case(right)
    } else {
        left == right
    }
}

/// A compiled [`StringMatch`].
#[derive(Debug)]
enum Text {
    Plain {
        shape: Shape,
        text: Box<[u8]>,
        ignore_case: bool,
    },
    Regex(Box<Regex>),
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Contains,
}

impl Text {
    fn compile(text: &StringMatch) -> Result<Self, Invalid> {
        let (shape, pattern) = match &text.pattern {
            Pattern::Exact(pattern) => (Shape::Exact, pattern),
            Pattern::Prefix(pattern) => (Shape::Prefix, pattern),
            Pattern::Suffix(pattern) => (Shape::Suffix, pattern),
            Pattern::Contains(pattern) => (Shape::Contains, pattern),
            Pattern::Regex(_) if text.ignore_case => {
                return Err(Invalid::new(
                    "ignore_case",
                    "not with a regular expression; write `(?i)` into it",
                ));
            }
            Pattern::Regex(pattern) => {
                let regex = whole_regex(pattern);
                return regex
                    .map(Self::Regex)
                    .map_err(|reason| Invalid::new("safe_regex.regex", reason));
            }
        };
        let mut text_bytes: Box<[u8]> = pattern.as_bytes().into();
        if text.ignore_case {
            text_bytes.make_ascii_lowercase();
        }
        Ok(Self::Plain {
            shape,
            text: text_bytes,
            ignore_case: text.ignore_case,
        })
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(value),
            Self::Plain {
                shape: Shape::Exact,
                text,
                ignore_case,
            } => same(value, text, *ignore_case),
            Self::Plain {
                shape: Shape::Prefix,
                text,
                ignore_case,
            } => value
                .get(..text.len())
                .is_some_and(|start| same(start, text, *ignore_case)),
            Self::Plain {
                shape: Shape::Suffix,
                text,
                ignore_case,
            } => value
                .len()
                .checked_sub(text.len())
                .is_some_and(|start| same(&value[start..], text, *ignore_case)),
            Self::Plain {
                shape: Shape::Contains,
                text,
                ignore_case: false,
            } => memmem::find(value, text).is_some(),
            Self::Plain {
                shape: Shape::Contains,
                text,
                ignore_case: true,
            } => {
                text.is_empty()
                    || value
                        .windows(text.len())
                        .any(|part| part.eq_ignore_ascii_case(text))
            }
        }
    }
}

/// A compiled [`HeaderMatch`].
#[derive(Debug)]
struct Field {
    name: Box<[u8]>,
    value: FieldValue,
    invert: bool,
    missing_is_empty: bool,
}

#[derive(Debug)]
enum FieldValue {
    Present(bool),
    Text(Text),
    Range { start: i64, end: i64 },
}

impl Field {
    fn compile(header: &HeaderMatch) -> Result<Self, Invalid> {
        let value = match &header.value {
            HeaderValueMatch::Present(present) => FieldValue::Present(*present),
            HeaderValueMatch::String(text) => {
                FieldValue::Text(Text::compile(text).map_err(|invalid| invalid.within("string_match"))?)
            }
            HeaderValueMatch::Range { start, end } => FieldValue::Range {
                start: *start,
                end: *end,
            },
        };
        if header.name.is_empty() {
            return Err(Invalid::new("name", "must not be empty"));
        }
        // `host` is the authority, whichever version of HTTP the request came in with.
        let name = if header.name == "host" {
            ":authority"
        } else {
            &header.name
        };
        Ok(Self {
            name: name.as_bytes().into(),
            value,
            invert: header.invert,
            missing_is_empty: header.treat_missing_as_empty,
        })
    }

    /// A missing field matches nothing but a wish for its absence: also when inverted (Envoy's `HeaderMatcher`). One
    /// that comes several times matches if one of its values does.
    fn matches(&self, headers: &Headers) -> bool {
        let mut values = headers.get_all(&self.name).peekable();
        if let FieldValue::Present(present) = self.value {
            return (values.peek().is_some() == present) != self.invert;
        }
        let holds = match values.peek() {
            None if !self.missing_is_empty => return false,
            None => self.holds(b""),
            Some(_) => values.any(|value| self.holds(value)),
        };
        holds != self.invert
    }

    fn holds(&self, value: &[u8]) -> bool {
        match &self.value {
            FieldValue::Present(present) => *present,
            FieldValue::Text(text) => text.matches(value),
            FieldValue::Range { start, end } => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| (*start..*end).contains(&number)),
        }
    }
}

/// The first parameter of that name decides.
fn query_matches(query: &[u8], name: &str, value: Option<&Text>) -> bool {
    let query = &query[..memchr::memchr(b'#', query).unwrap_or(query.len())];
    let found = query.split(|&byte| byte == b'&').find_map(|parameter| {
        let end = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
        (&parameter[..end] == name.as_bytes()).then(|| parameter.get(end + 1..).unwrap_or_default())
    });
    found.is_some_and(|found| value.is_none_or(|text| text.matches(found)))
}

/// A regular expression that must match the whole text, as Envoy's `safe_regex`.
fn whole_regex(pattern: &str) -> Result<Box<Regex>, String> {
    // Compiled alone first: `a)(b` would be made right by the group around it.
    regex(pattern)?;
    regex(&format!(r"\A(?:{pattern})\z")).map(Box::new)
}

/// RE2 syntax, over bytes, in linear time and bounded space.
pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::builder()
        .configure(Regex::config().nfa_size_limit(Some(4 << 20)).utf8_empty(false))
        .syntax(syntax::Config::new().utf8(false))
        .build(pattern)
        .map_err(|error| match error.syntax_error() {
            Some(syntax) => format!(
                "`{pattern}` is not a regular expression: {}",
                last_line(&syntax.to_string())
            ),
            None => format!("`{pattern}` is too large a regular expression: {error}"),
        })
}

/// Syntax errors draw a picture of the place; the reason stands in the last line.
fn last_line(error: &str) -> &str {
    error
        .lines()
        .last()
        .unwrap_or(error)
        .trim_start_matches("error: ")
}
