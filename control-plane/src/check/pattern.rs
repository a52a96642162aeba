//! Regular expressions and other text, within the bounds that proxies set: what they refuse would take all routes of
//! the port with it.

use leno_model::invalid::Invalid;
use regex_automata::meta::{Builder, Config, Regex};
use regex_automata::util::syntax;

use super::{Checked, refuse};
use crate::api::meta::StringMatch;

/// Bytes of an expression on its own, as the decoder of resources has it.
const ALONE: usize = 1 << 20;

/// Bytes of an expression that must match the whole text, as the router has it.
const ANCHORED: usize = 4 << 20;

/// A match of any kind; an expression must match the whole text.
pub(super) fn string(matched: Option<&StringMatch>) -> Checked {
    let Some(StringMatch::Regex(pattern)) = matched else {
        return Ok(());
    };
    alone(pattern).map_err(|invalid| invalid.within("regex"))?;
    // A comment of `(?x)` or a group of flags may reach into what stands around it.
    match compile(&format!(r"\A(?:{pattern})\z"), ANCHORED, false) {
        Ok(_) => Ok(()),
        Err(reason) => refuse(
            "regex",
            format!("{pattern:?} is not an expression that can match a whole text: {reason}"),
        ),
    }
}

/// An expression, and what its matches become: `\0` to `\9`, and `\\` for a backslash.
pub(super) fn substitution(pattern: &str, rewrite: &str) -> Checked {
    let regex = alone(pattern).map_err(|invalid| invalid.within("match"))?;
    let groups = regex.group_info().group_len(regex_automata::PatternID::ZERO);
    let mut letters = rewrite.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            continue;
        }
        match letters.next() {
            Some('\\') => {}
            Some(digit) if digit.to_digit(10).is_some_and(|group| (group as usize) < groups) => {}
            Some(digit) if digit.is_ascii_digit() => {
                return refuse(
                    "rewrite",
                    format!(
                        "{rewrite:?} uses group {digit}; the expression has {}",
                        groups - 1
                    ),
                );
            }
            _ => {
                return refuse(
                    "rewrite",
                    format!("{rewrite:?}: a backslash goes before a digit or a backslash"),
                );
            }
        }
    }
    text(rewrite).map_err(|invalid| invalid.within("rewrite"))
}

/// Text that becomes part of the head of a request or response as it stands.
pub(super) fn text(text: &str) -> Checked {
    match text
        .chars()
        .find(|letter| letter.is_ascii_control() || *letter == ' ')
    {
        Some(letter) => refuse("", format!("holds {letter:?}, which may not stand there")),
        None => Ok(()),
    }
}

fn alone(pattern: &str) -> Result<Regex, Invalid> {
    if pattern.is_empty() {
        return Err(Invalid::new("", "is empty; write what must match"));
    }
    compile(pattern, ALONE, true)
        .map_err(|reason| Invalid::new("", format!("{pattern:?} is not an expression: {reason}")))
}

fn compile(pattern: &str, limit: usize, utf8: bool) -> Result<Regex, String> {
    Builder::new()
        .configure(Config::new().nfa_size_limit(Some(limit)).utf8_empty(utf8))
        .syntax(syntax::Config::new().utf8(utf8))
        .build(pattern)
        .map_err(|error| match error.syntax_error() {
            // The reader of expressions draws a picture of the place first.
            Some(syntax) => {
                let picture = syntax.to_string();
                let reason = picture.lines().last().unwrap_or_default();
                reason.trim_start_matches("error: ").to_owned()
            }
            None => error.size_limit().map_or_else(
                || error.to_string(),
                |most| format!("it takes more than {most} bytes when compiled; write a smaller one"),
            ),
        })
}
