//! Header fields that configuration edits: which names, and which text in their values.

use crate::access_log::{Format, Part};
use crate::invalid::Invalid;

/// A field name in lower case: a token of RFC 9110, section 5.6.2, and not one that routing depends on.
///
/// # Errors
/// What is wrong with it.
pub fn editable_name(name: &str) -> Result<String, Invalid> {
    if name.is_empty() {
        return Err(Invalid::new("", "is required"));
    }
    let name = name.to_ascii_lowercase();
    if name.starts_with(':') || name == "host" {
        let reason = format!("`{name}` may not be edited: use a path or host rewrite");
        return Err(Invalid::new("", reason));
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.bytes().all(is_token) {
        return Err(Invalid::new("", format!("`{name}` is not a field name")));
    }
    Ok(name)
}

/// The text of a value may hold what RFC 9110, section 5.5, allows; its operators are looked at when a request is sent.
///
/// # Errors
/// The character that may not stand there.
pub fn value(value: &Format) -> Result<(), Invalid> {
    let texts = value.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text),
        Part::Operator(_) => None,
    });
    match texts
        .flat_map(|text| text.chars())
        .find(|letter| letter.is_ascii_control() && *letter != '\t')
    {
        Some(found) => {
            let reason = format!("holds {found:?}, which a field value may not hold");
            Err(Invalid::new("", reason))
        }
        None => Ok(()),
    }
}
