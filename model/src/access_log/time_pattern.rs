//! Patterns of `%START_TIME(...)%`: those of C's `strftime` that mean something in UTC, with Envoy's fractions.

/// A part of a time pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Copied.
    Text(String),
    /// Replaced by a value.
    Field(Field),
}

/// A value of a moment, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `%Y`.
    Year,
    /// `%y`: two digits.
    YearOfCentury,
    /// `%m`.
    Month,
    /// `%b`, `%h`: `Jan`.
    MonthShort,
    /// `%B`: `January`.
    MonthLong,
    /// `%d`.
    Day,
    /// `%e`: padded with a blank.
    DayBlank,
    /// `%j`: 001 to 366.
    DayOfYear,
    /// `%a`: `Mon`.
    WeekdayShort,
    /// `%A`: `Monday`.
    WeekdayLong,
    /// `%u`: 1 (Monday) to 7.
    WeekdayNumber,
    /// `%H`.
    Hour,
    /// `%I`: 01 to 12.
    HourOfHalf,
    /// `%p`: `AM`, `PM`.
    Half,
    /// `%M`.
    Minute,
    /// `%S`.
    Second,
    /// `%f` (9 digits), `%3f`: digits of the fraction of the second.
    Fraction(u8),
    /// `%s`: seconds since 1970.
    Epoch,
    /// `%3s`: seconds since 1970 with this many digits of fraction, without a point.
    EpochFraction(u8),
    /// `%z`: `+0000`.
    Offset,
    /// `%Z`: `UTC`.
    Zone,
}

/// What `%START_TIME%` without an argument writes.
pub const DEFAULT: &str = "%Y-%m-%dT%H:%M:%S.%3fZ";

/// Reads a pattern.
///
/// # Errors
/// It holds a specifier that does not exist.
pub fn parse(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        push_text(&mut parts, &rest[..at]);
        rest = specifier(&mut parts, &rest[at + 1..]).ok_or_else(|| unknown(pattern, &rest[at..]))?;
    }
    push_text(&mut parts, rest);
    Ok(parts)
}

fn unknown(pattern: &str, from: &str) -> String {
    let specifier: String = from.chars().take(2).collect();
    format!("time pattern {pattern:?}: {specifier:?} is not a time specifier")
}

/// Reads one specifier after its `%`, and returns what follows it.
fn specifier<'a>(parts: &mut Vec<Part>, rest: &'a str) -> Option<&'a str> {
    let letter = rest.chars().next()?;
    let after = &rest[letter.len_utf8()..];
    let compound = match letter {
        'F' => Some("%Y-%m-%d"),
        'T' => Some("%H:%M:%S"),
        'R' => Some("%H:%M"),
        'D' => Some("%m/%d/%y"),
        'c' => Some("%a %b %e %H:%M:%S %Y"),
        _ => None,
    };
    if let Some(compound) = compound {
        parts.extend(parse(compound).ok()?);
        return Some(after);
    }
    match letter {
        '%' => push_text(parts, "%"),
        'n' => push_text(parts, "\n"),
        't' => push_text(parts, "\t"),
        '1'..='9' => return digits(parts, rest),
        'E' => return extended(parts, after),
        _ => parts.push(Part::Field(simple(letter)?)),
    }
    Some(after)
}

fn simple(letter: char) -> Option<Field> {
    Some(match letter {
        'Y' => Field::Year,
        'y' => Field::YearOfCentury,
        'm' => Field::Month,
        'b' | 'h' => Field::MonthShort,
        'B' => Field::MonthLong,
        'd' => Field::Day,
        'e' => Field::DayBlank,
        'j' => Field::DayOfYear,
        'a' => Field::WeekdayShort,
        'A' => Field::WeekdayLong,
        'u' => Field::WeekdayNumber,
        'H' => Field::Hour,
        'I' => Field::HourOfHalf,
        'p' => Field::Half,
        'M' => Field::Minute,
        'S' => Field::Second,
        'f' => Field::Fraction(9),
        's' => Field::Epoch,
        'z' => Field::Offset,
        'Z' => Field::Zone,
        _ => return None,
    })
}

/// `3f` and `3s`.
fn digits<'a>(parts: &mut Vec<Part>, rest: &'a str) -> Option<&'a str> {
    let count = rest.as_bytes()[0] - b'0';
    let field = match rest.as_bytes().get(1)? {
        b'f' => Field::Fraction(count),
        b's' => Field::EpochFraction(count),
        _ => return None,
    };
    parts.push(Part::Field(field));
    Some(&rest[2..])
}

/// `E3S`: seconds with their fraction, `E4Y`: the year, as Abseil's `FormatTime` has them.
fn extended<'a>(parts: &mut Vec<Part>, rest: &'a str) -> Option<&'a str> {
    if let Some(after) = rest.strip_prefix("4Y") {
        parts.push(Part::Field(Field::Year));
        return Some(after);
    }
    let count = rest.bytes().next().filter(u8::is_ascii_digit)? - b'0';
    match rest.as_bytes().get(1)? {
        b'S' => {
            parts.push(Part::Field(Field::Second));
            if count > 0 {
                push_text(parts, ".");
                parts.push(Part::Field(Field::Fraction(count)));
            }
        }
        b'f' if count > 0 => parts.push(Part::Field(Field::Fraction(count))),
        _ => return None,
    }
    Some(&rest[2..])
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, Field, Part, parse};

    #[test]
    fn the_default_is_milliseconds_in_utc() {
        let parts = parse(DEFAULT).unwrap();
        assert_eq!(parts.first(), Some(&Part::Field(Field::Year)));
        assert_eq!(parts.last(), Some(&Part::Text("Z".to_owned())));
        assert!(parts.contains(&Part::Field(Field::Fraction(3))));
    }

    #[test]
    fn compounds_and_texts_run_together() {
        assert_eq!(
            parse("a%%b%R%E3S").unwrap(),
            [
                Part::Text("a%b".to_owned()),
                Part::Field(Field::Hour),
                Part::Text(":".to_owned()),
                Part::Field(Field::Minute),
                Part::Field(Field::Second),
                Part::Text(".".to_owned()),
                Part::Field(Field::Fraction(3)),
            ]
        );
    }

    #[test]
    fn unknown_specifiers_are_named() {
        for (pattern, specifier) in [
            ("%Q", "%Q"),
            ("x%", "%"),
            ("%3x", "%3"),
            ("%E0f", "%E"),
            ("%ü", "%ü"),
        ] {
            let reason = parse(pattern).unwrap_err();
            assert!(reason.contains(&format!("{specifier:?} is not")), "{reason}");
        }
    }
}
