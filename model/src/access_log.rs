//! Access logs: where lines go, and what stands in them.

use std::path::PathBuf;

/// `envoy.config.accesslog.v3.AccessLog`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: Sink,
    /// What one line is.
    pub line: Line,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
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
