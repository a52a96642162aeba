//! Just enough of DER (ITU-T X.690) to read what a certificate says. Anything that is not DER is an error.

/// The reason of every refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// Values that stand one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next value.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Tag and content of the next value. Tags above 30 and lengths without an end do not occur in certificates.
    pub(super) fn any(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let (&[tag, first], rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        if tag & 0x1f == 0x1f {
            return Err(Malformed);
        }
        let (length, rest) = match first {
            ..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => long_length(rest, usize::from(first & 0x7f))?,
            _ => return Err(Malformed),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok((tag, content))
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn value(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.any()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed),
        }
    }

    /// What stands in the next value, which must have this tag.
    pub(super) fn inside(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.value(tag).map(Self)
    }
}

/// §10.1: in as few bytes as possible.
fn long_length(rest: &[u8], bytes: usize) -> Result<(usize, &[u8]), Malformed> {
    let (length, rest) = rest.split_at_checked(bytes).ok_or(Malformed)?;
    let value = length
        .iter()
        .fold(0u32, |value, byte| value << 8 | u32::from(*byte));
    let shorter = value < 0x80 || length.first() == Some(&0);
    let value = usize::try_from(value).ok().filter(|_| !shorter);
    Ok((value.ok_or(Malformed)?, rest))
}

/// An object identifier as `2.5.4.3`.
pub(super) fn dotted(content: &[u8]) -> Result<String, Malformed> {
    let mut parts: Vec<u64> = Vec::new();
    let mut part = 0u64;
    for byte in content {
        part = part.checked_mul(128).ok_or(Malformed)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            parts.push(part);
            part = 0;
        }
    }
    let whole = content.last().is_some_and(|last| last & 0x80 == 0);
    let first = *parts.first().filter(|_| whole).ok_or(Malformed)?;
    let root = (first / 40).min(2);
    let mut text = format!("{root}.{}", first - root * 40);
    for part in &parts[1..] {
        text.push('.');
        text.push_str(&part.to_string());
    }
    Ok(text)
}

/// Seconds since 1970 of a `UTCTime` or `GeneralizedTime` as RFC 5280 §4.1.2.5 has them.
pub(super) fn seconds(tag: u8, content: &[u8]) -> Result<i64, Malformed> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let digits = content.strip_suffix(b"Z").ok_or(Malformed)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |value, byte| value * 10 + i64::from(byte - b'0'))
    };
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => match number(&digits[..2]) {
            year @ 50.. => (1900 + year, &digits[2..]),
            year => (2000 + year, &digits[2..]),
        },
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return Err(Malformed),
    };
    let mut parts = rest.chunks(2).map(number);
    let mut part = |least: i64, most: i64| {
        let part = parts.next().ok_or(Malformed)?;
        (least..=most).contains(&part).then_some(part).ok_or(Malformed)
    };
    let (month, day) = (part(1, 12)?, part(1, 31)?);
    let (hour, minute, second) = (part(0, 23)?, part(0, 59)?, part(0, 59)?);
    Ok(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// From 1 January 1970 in the proleptic Gregorian calendar, whose years begin in March here.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::{Malformed, OBJECT_IDENTIFIER, Reader, dotted, seconds};

    #[test]
    fn lengths_are_read_in_their_one_form() {
        let mut long = vec![0x04, 0x81, 0x80];
        long.extend([7; 0x80]);
        assert_eq!(Reader::new(&long).any(), Ok((4, &[7; 0x80][..])));
        for bad in [
            &[][..],
            &[0x04],
            &[0x04, 1],
            &[0x04, 0x80],
            &[0x04, 0x81, 1, 7],
            &[0x04, 0x82, 0, 0x80],
            &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x04, 0x85, 1, 1, 1, 1, 1],
            &[0x1f, 1, 1],
        ] {
            assert_eq!(Reader::new(bad).any(), Err(Malformed), "{bad:x?}");
        }
        assert_eq!(Reader::new(&[4, 0]).value(OBJECT_IDENTIFIER), Err(Malformed));
    }

    #[test]
    fn identifiers_are_dotted() {
        assert_eq!(dotted(&[0x55, 4, 3]).as_deref(), Ok("2.5.4.3"));
        assert_eq!(
            dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]).as_deref(),
            Ok("1.2.840.113549")
        );
        assert_eq!(dotted(&[0x88, 0x37]).as_deref(), Ok("2.999"));
        assert_eq!(dotted(&[]), Err(Malformed));
        assert_eq!(dotted(&[0x2a, 0x86]), Err(Malformed));
        assert_eq!(dotted(&[0xff; 12]), Err(Malformed));
    }

    #[test]
    fn times_are_seconds() {
        for (tag, text, expected) in [
            (0x17, "700101000000Z", Ok(0)),
            (0x17, "491231235959Z", Ok(2_524_607_999)),
            (0x17, "500101000000Z", Ok(-631_152_000)),
            (0x18, "20240229235959Z", Ok(1_709_251_199)),
            (0x18, "21000101000000Z", Ok(4_102_444_800)),
            (0x18, "99991231235959Z", Ok(253_402_300_799)),
            (0x18, "240229235959Z", Err(Malformed)),
            (0x17, "20240229235959Z", Err(Malformed)),
            (0x17, "7001010000Z", Err(Malformed)),
            (0x17, "700101000000+", Err(Malformed)),
            (0x17, "701301000000Z", Err(Malformed)),
            (0x17, "70010100-000Z", Err(Malformed)),
        ] {
            assert_eq!(seconds(tag, text.as_bytes()), expected, "{text}");
        }
    }
}
