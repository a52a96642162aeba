//! What is said of a scalar that does not fit its field: the value, and what would be one.

use serde_saphyr::Error;

/// As `"eighty" is not a whole number from 0 to 65535`. `None` for other errors.
pub(super) fn explain(text: &str, error: &Error) -> Option<String> {
    let Error::InvalidScalar { ty, location } = error.without_snippet() else {
        return None;
    };
    let bound = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let span = location.span();
    let written: String = text
        .chars()
        .skip(bound(span.offset()))
        .take(bound(span.len()))
        .collect();
    let value = written.trim().trim_matches(['"', '\'']);
    Some(format!("{value:?} is not {}", expected(ty)))
}

/// The words for a type, by the reader's name for it.
fn expected(ty: &str) -> String {
    let whole = |from: &dyn std::fmt::Display, to: &dyn std::fmt::Display| {
        format!("a whole number from {from} to {to}")
    };
    match ty {
        "u8" => whole(&u8::MIN, &u8::MAX),
        "u16" => whole(&u16::MIN, &u16::MAX),
        "u32" => whole(&u32::MIN, &u32::MAX),
        "u64" => whole(&u64::MIN, &u64::MAX),
        "i32" => whole(&i32::MIN, &i32::MAX),
        "i64" => whole(&i64::MIN, &i64::MAX),
        "floating point" => "a number".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => format!("a {other}"),
    }
}
