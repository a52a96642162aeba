//! Writes a moment by a time pattern, in UTC and the Gregorian calendar. Allocates nothing.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use leno_model::access_log::time_pattern::{Field, Part};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// Appends `moment` to `out`.
pub fn write(pattern: &[Part], moment: SystemTime, out: &mut Vec<u8>) {
    let date = Date::of(moment);
    for part in pattern {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Field(field) => date.write(*field, out),
        }
    }
}

struct Date {
    /// Since 1970.
    seconds: u64,
    nanoseconds: u32,
    year: u64,
    /// 0 to 11.
    month: usize,
    day: u64,
    /// 0 is Sunday.
    weekday: usize,
    day_of_year: u64,
    second_of_day: u64,
}

impl Date {
    /// Moments before 1970 are shown as its beginning: no clock of a running proxy says so.
    fn of(moment: SystemTime) -> Self {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs();
        let days = seconds / 86_400;
        // Howard Hinnant's `civil_from_days`: years begin in March, so that leap days come last.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let of_era = shifted % 146_097;
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let from_march = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 2
        } else {
            month_from_march - 10
        };
        let year = era * 400 + year_of_era + u64::from(month < 2);
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let day_of_year = if month < 2 {
            from_march - 306
        } else {
            from_march + 59 + u64::from(leap)
        };
        Self {
            seconds,
            nanoseconds: since.subsec_nanos(),
            year,
            month: usize::try_from(month).unwrap_or(0),
            day: from_march - (153 * month_from_march + 2) / 5 + 1,
            weekday: usize::try_from((days + 4) % 7).unwrap_or(0),
            day_of_year: day_of_year + 1,
            second_of_day: seconds % 86_400,
        }
    }

    fn write(&self, field: Field, out: &mut Vec<u8>) {
        let hour = self.second_of_day / 3600;
        // Writing to a vector cannot fail.
        let _ = match field {
            Field::Year => write!(out, "{}", self.year),
            Field::YearOfCentury => write!(out, "{:02}", self.year % 100),
            Field::Month => write!(out, "{:02}", self.month + 1),
            Field::MonthShort => out.write_all(&MONTHS[self.month].as_bytes()[..3]),
            Field::MonthLong => out.write_all(MONTHS[self.month].as_bytes()),
            Field::Day => write!(out, "{:02}", self.day),
            Field::DayBlank => write!(out, "{:2}", self.day),
            Field::DayOfYear => write!(out, "{:03}", self.day_of_year),
            Field::WeekdayShort => out.write_all(&WEEKDAYS[self.weekday].as_bytes()[..3]),
            Field::WeekdayLong => out.write_all(WEEKDAYS[self.weekday].as_bytes()),
            Field::WeekdayNumber => write!(out, "{}", (self.weekday + 6) % 7 + 1),
            Field::Hour => write!(out, "{hour:02}"),
            Field::HourOfHalf => write!(out, "{:02}", (hour + 11) % 12 + 1),
            Field::Half => out.write_all(if hour < 12 { b"AM" } else { b"PM" }),
            Field::Minute => write!(out, "{:02}", self.second_of_day / 60 % 60),
            Field::Second => write!(out, "{:02}", self.second_of_day % 60),
            Field::Fraction(digits) => self.fraction(digits, out),
            Field::Epoch => write!(out, "{}", self.seconds),
            Field::EpochFraction(digits) => {
                write!(out, "{}", self.seconds).and_then(|()| self.fraction(digits, out))
            }
            Field::Offset => out.write_all(b"+0000"),
            Field::Zone => out.write_all(b"UTC"),
        };
    }

    fn fraction(&self, digits: u8, out: &mut Vec<u8>) -> std::io::Result<()> {
        let digits = digits.clamp(1, 9);
        let cut = self.nanoseconds / 10_u32.pow(u32::from(9 - digits));
        write!(out, "{cut:0width$}", width = usize::from(digits))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use leno_model::access_log::time_pattern::{DEFAULT, parse};

    fn check(pattern: &str, seconds: u64, nanoseconds: u32, expected: &str) {
        let mut out = Vec::new();
        let moment = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        super::write(&parse(pattern).unwrap(), moment, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn moments_are_written_by_their_pattern() {
        check(DEFAULT, 1_460_751_420, 310_000_000, "2016-04-15T20:17:00.310Z");
        check("%a %b %e %j %u %I %p", 951_782_400, 0, "Tue Feb 29 060 2 12 AM");
        check(
            "%A %d %B %Y, %T",
            1_735_689_599,
            0,
            "Tuesday 31 December 2024, 23:59:59",
        );
        check("%j", 1_735_689_599, 0, "366");
        check("%s.%3f %6f %f %3s", 5, 1_234_567, "5.001 001234 001234567 5001");
        check("%D %z %Z", 0, 0, "01/01/70 +0000 UTC");
    }
}
