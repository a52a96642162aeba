//! Access logs: where lines go, and what stands in them.

use std::path::PathBuf;

pub mod operators;

pub mod time_pattern;

/// `envoy.config.accesslog.v3.AccessLog`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: Sink,
    /// What one line is.
    pub line: Line,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sink {
    /// A file, appended to and opened again on SIGUSR1.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What one line is.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A format string; it says itself where lines end.
    Text(Format),
    /// A JSON object per line.
    Json(Vec<(String, JsonValue)>),
}

/// A value of a JSON access log.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonValue {
    /// A format string; one that is a single operator with a number as value gives a number.
    Format(Format),
    /// A nested object.
    Object(Vec<(String, JsonValue)>),
    /// A list.
    List(Vec<JsonValue>),
    /// A number as it stands.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// Null.
    Null,
}

/// A format string of Envoy, read. See "Access log format strings" in Envoy's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// As it was written.
    pub source: String,
    /// Its parts in order.
    pub parts: Vec<Part>,
}

/// A part of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Copied.
    Text(String),
    /// Replaced by a value.
    Operator(Operator),
}

/// `%NAME(argument):length%`. Which names there are, and their arguments, is checked when the format is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// As `REQ`.
    pub name: String,
    /// What stands in parentheses, if anything.
    pub argument: Option<String>,
    /// Cut after this many bytes.
    pub max_length: Option<usize>,
}

/// Envoy's default format of a text access log.
pub const DEFAULT_FORMAT: &str = concat!(
    r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% "#,
    r#"%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "#,
    r#""%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "#,
    "\"%UPSTREAM_HOST%\"\n"
);

impl Format {
    /// Reads a format string: text with `%NAME%`, `%NAME(argument)%`, `%NAME(argument):length%`, and `%%` for a
    /// percent sign.
    ///
    /// # Errors
    /// A stray `%`, an unknown operator or a wrong argument, with its position in bytes.
    pub fn parse(source: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(offset) = source[at..].find('%') {
            push_text(&mut parts, &source[at..at + offset]);
            at += offset;
            if source[at + 1..].starts_with('%') {
                push_text(&mut parts, "%");
                at += 2;
                continue;
            }
            let (operator, length) =
                operator(&source[at..]).map_err(|reason| format!("at byte {at}: {reason}"))?;
            parts.push(Part::Operator(operator));
            at += length;
        }
        push_text(&mut parts, &source[at..]);
        Ok(Self {
            source: source.to_owned(),
            parts,
        })
    }

    /// A text without operators.
    pub fn literal(text: &str) -> Self {
        let mut parts = Vec::new();
        push_text(&mut parts, text);
        Self {
            source: text.replace('%', "%%"),
            parts,
        }
    }

    /// The whole text, when no operator stands in it.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            [..] => None,
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

/// Reads the operator that `source` begins with, and how many bytes it takes.
fn operator(source: &str) -> Result<(Operator, usize), String> {
    let body = &source[1..];
    let name_end = body
        .find(|letter: char| !(letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_'))
        .unwrap_or(body.len());
    let name = &body[..name_end];
    if name.is_empty() {
        return Err(
            "a percent sign begins an operator as %PROTOCOL%; write %% for the sign itself".to_owned(),
        );
    }
    let known = operators::find(name).ok_or_else(|| format!("unknown or unsupported operator %{name}%"))?;
    let mut at = name_end;
    let mut argument = None;
    if let Some(inner) = body[at..].strip_prefix('(') {
        let end = argument_end(inner).ok_or_else(|| format!("%{name}( is not closed by )%"))?;
        argument = Some(&inner[..end]);
        at += end + 2;
    }
    let mut max_length = None;
    if let Some(digits) = body[at..].strip_prefix(':') {
        let end = digits.find('%').unwrap_or(digits.len());
        let length = digits[..end].parse();
        max_length = Some(length.map_err(|_| format!("%{name}%: {:?} is not a length", &digits[..end]))?);
        at += end + 1;
    }
    if !body[at.min(body.len())..].starts_with('%') {
        return Err(format!("%{name} is not closed by %"));
    }
    operators::check(known, argument)?;
    let operator = Operator {
        name: name.to_owned(),
        argument: argument.map(str::to_owned),
        max_length,
    };
    Ok((operator, at + 2))
}

/// Where the argument ends: at the first `)` that is followed by `%` or `:`. Time patterns hold parentheses too.
fn argument_end(inner: &str) -> Option<usize> {
    let mut closing = inner.match_indices(')').map(|(at, _)| at);
    closing.find(|at| inner[at + 1..].starts_with(['%', ':']))
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_FORMAT, Format, Operator, Part};

    fn parts(source: &str) -> Vec<Part> {
        Format::parse(source).unwrap().parts
    }

    fn operator(name: &str, argument: Option<&str>, max_length: Option<usize>) -> Part {
        Part::Operator(Operator {
            name: name.to_owned(),
            argument: argument.map(str::to_owned),
            max_length,
        })
    }

    #[test]
    fn texts_and_operators_come_in_order() {
        assert_eq!(
            parts("100%% %REQ(:PATH?X-B):12%\n"),
            [
                Part::Text("100% ".to_owned()),
                operator("REQ", Some(":PATH?X-B"), Some(12)),
                Part::Text("\n".to_owned()),
            ]
        );
        assert_eq!(
            parts("%START_TIME(%Y (x) %m)%%PROTOCOL%"),
            [
                operator("START_TIME", Some("%Y (x) %m"), None),
                operator("PROTOCOL", None, None),
            ]
        );
    }

    #[test]
    fn the_default_format_is_read() {
        assert!(Format::parse(DEFAULT_FORMAT).is_ok());
    }

    #[test]
    fn literals_survive() {
        let format = Format::literal("50% off");
        assert_eq!(format.as_literal(), Some("50% off"));
        assert_eq!(Format::parse(&format.source).unwrap(), format);
    }

    #[test]
    fn mistakes_are_named_with_their_position() {
        for (source, reason) in [
            ("ab %NOPE%", "at byte 3: unknown or unsupported operator %NOPE%"),
            ("100%", "at byte 3: a percent sign begins an operator"),
            ("%PROTOCOL", "%PROTOCOL is not closed by %"),
            ("%REQ(X%", "%REQ( is not closed by )%"),
            ("%REQ%", "%REQ% wants a name in parentheses"),
            ("%REQ(a b)%", "\"a b\" is not a field name"),
            ("%REQ(a?b?c)%", "more than one alternative"),
            ("%PROTOCOL(x)%", "%PROTOCOL% takes no argument"),
            ("%REQ(a):x%", "\"x\" is not a length"),
            ("%START_TIME(%Q)%", "\"%Q\" is not a time specifier"),
            ("%GRPC_STATUS(HEX)%", "the argument is one of CAMEL_STRING"),
            ("%FILTER_STATE(a:TYPED)%", "use PLAIN"),
        ] {
            let found = Format::parse(source).unwrap_err();
            assert!(found.contains(reason), "{source}: {found}");
        }
    }
}
