//! Format strings and JSON lines, ready to be written: no allocation per line once the buffer is warm.

use leno_model::access_log::{Format, JsonValue, Part};

use crate::access_log::exchange_record::ExchangeRecord;
use crate::access_log::operator::Operator;
use crate::access_log::value::{self, Kind};

/// A format string.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Box<str>),
    Operator(Operator, Option<usize>),
}

impl Template {
    /// Reads `format`.
    ///
    /// # Errors
    /// It holds an operator that cannot be answered.
    pub fn new(format: &Format) -> Result<Self, String> {
        let piece = |part: &Part| match part {
            Part::Text(text) => Ok(Piece::Text(text.as_str().into())),
            Part::Operator(written) => Ok(Piece::Operator(Operator::read(written)?, written.max_length)),
        };
        let pieces = format.parts.iter().map(piece).collect::<Result<_, String>>()?;
        Ok(Self { pieces })
    }

    /// Appends the text for `record`; `missing` stands for values that are not there (`-` in logs, nothing in
    /// header edits).
    pub fn write(&self, record: &ExchangeRecord<'_>, missing: &str, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Operator(operator, max_length) => {
                    if cut(operator, *max_length, record, out) == Kind::Missing {
                        out.extend_from_slice(missing.as_bytes());
                    }
                }
            }
        }
    }
}

fn cut(
    operator: &Operator,
    max_length: Option<usize>,
    record: &ExchangeRecord<'_>,
    out: &mut Vec<u8>,
) -> Kind {
    let start = out.len();
    let kind = value::write(operator, record, out);
    if let Some(max_length) = max_length {
        out.truncate(start + max_length.min(out.len() - start));
    }
    kind
}

/// A JSON object per line.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonLine {
    pieces: Vec<JsonPiece>,
}

#[derive(Clone, Debug, PartialEq)]
enum JsonPiece {
    /// Braces, names and texts without operators.
    Raw(String),
    /// A value of its own type.
    Value(Operator, Option<usize>),
    /// A text with operators in it.
    Text(Template),
}

impl JsonLine {
    /// Reads the object.
    ///
    /// # Errors
    /// It holds an operator that cannot be answered.
    pub fn new(object: &[(String, JsonValue)]) -> Result<Self, String> {
        let mut line = Self { pieces: Vec::new() };
        line.object(object)?;
        line.raw("\n");
        Ok(line)
    }

    /// Appends the line for `record`. `scratch` holds one value at a time.
    pub fn write(&self, record: &ExchangeRecord<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                JsonPiece::Raw(text) => out.extend_from_slice(text.as_bytes()),
                JsonPiece::Value(operator, max_length) => {
                    scratch.clear();
                    match cut(operator, *max_length, record, scratch) {
                        Kind::Missing => out.extend_from_slice(b"null"),
                        Kind::Number => out.extend_from_slice(scratch),
                        Kind::Text => string(scratch, out),
                    }
                }
                JsonPiece::Text(template) => {
                    scratch.clear();
                    template.write(record, "-", scratch);
                    string(scratch, out);
                }
            }
        }
    }

    fn object(&mut self, object: &[(String, JsonValue)]) -> Result<(), String> {
        self.raw("{");
        for (at, (name, value)) in object.iter().enumerate() {
            if at > 0 {
                self.raw(",");
            }
            self.text(name.as_bytes());
            self.raw(":");
            self.value(value)?;
        }
        self.raw("}");
        Ok(())
    }

    fn value(&mut self, value: &JsonValue) -> Result<(), String> {
        match value {
            JsonValue::Object(inner) => self.object(inner)?,
            JsonValue::Format(format) => self.format(format)?,
            JsonValue::List(values) => {
                self.raw("[");
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        self.raw(",");
                    }
                    self.value(value)?;
                }
                self.raw("]");
            }
            JsonValue::Number(number) => self.raw(&number.to_string()),
            JsonValue::Bool(value) => self.raw(&value.to_string()),
            JsonValue::Null => self.raw("null"),
        }
        Ok(())
    }

    fn format(&mut self, format: &Format) -> Result<(), String> {
        if let Some(text) = format.as_literal() {
            self.text(text.as_bytes());
            return Ok(());
        }
        let mut template = Template::new(format)?;
        let piece = match template.pieces.as_slice() {
            [Piece::Operator(..)] => match template.pieces.remove(0) {
                Piece::Operator(operator, max_length) => JsonPiece::Value(operator, max_length),
                Piece::Text(text) => JsonPiece::Raw(text.into()),
            },
            _ => JsonPiece::Text(template),
        };
        self.pieces.push(piece);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) {
        let mut quoted = Vec::new();
        string(text, &mut quoted);
        self.raw(&String::from_utf8_lossy(&quoted));
    }

    fn raw(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(JsonPiece::Raw(before)) => before.push_str(text),
            _ => self.pieces.push(JsonPiece::Raw(text.to_owned())),
        }
    }
}

/// Appends `text` as a JSON string (RFC 8259 §7). Bytes that are not UTF-8 become U+FFFD.
fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 => {
                    let digits = b"0123456789abcdef";
                    let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digits[high], digits[low]]);
                }
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
