//! `START_TIME`: a strftime subset, always UTC, compiled.

use std::time::{SystemTime, UNIX_EPOCH};

use super::escape::push;

/// What Envoy prints without a format: `2016-12-15T16:07:39.000Z`.
const DEFAULT: &str = "%Y-%m-%dT%H:%M:%E3SZ";
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
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Year,
    Month,
    Day,
    DayPadded,
    Hour,
    Minute,
    Second,
    /// Digits after the seconds' decimal point; the flag says whether the seconds stand before it.
    Fraction {
        digits: u32,
        with_seconds: bool,
    },
    DayOfYear,
    DayName {
        long: bool,
    },
    MonthName {
        long: bool,
    },
    Epoch,
}

/// A compiled format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeFormat(Vec<Part>);

impl TimeFormat {
    /// `format` in strftime's notation, Envoy's `%3f`, `%6f`, `%9f` (or a lone `%f`, nanoseconds) and `%E3S`-like
    /// included; empty for the default. The error is the conversion that is not known.
    pub(super) fn compile(format: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = if format.is_empty() { DEFAULT } else { format };
        while let Some(at) = rest.find('%') {
            push_text(&mut parts, &rest[..at]);
            rest = conversion(&rest[at + 1..], &mut parts)?;
        }
        push_text(&mut parts, rest);
        Ok(Self(parts))
    }

    pub(super) fn write(&self, time: SystemTime, out: &mut Vec<u8>) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let civil = Civil::from_epoch(since.as_secs());
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Year => push(out, format_args!("{:04}", civil.year)),
                Part::Month => push(out, format_args!("{:02}", civil.month)),
                Part::Day => push(out, format_args!("{:02}", civil.day)),
                Part::DayPadded => push(out, format_args!("{:2}", civil.day)),
                Part::Hour => push(out, format_args!("{:02}", civil.second_of_day / 3_600)),
                Part::Minute => push(out, format_args!("{:02}", civil.second_of_day / 60 % 60)),
                Part::Second => push(out, format_args!("{:02}", civil.second_of_day % 60)),
                Part::Fraction { digits, with_seconds } => {
                    if *with_seconds {
                        push(out, format_args!("{:02}.", civil.second_of_day % 60));
                    }
                    let value = since.subsec_nanos() / 10_u32.pow(9 - digits);
                    push(out, format_args!("{value:0width$}", width = *digits as usize));
                }
                Part::DayOfYear => push(out, format_args!("{:03}", civil.day_of_year)),
                Part::DayName { long } => out.extend_from_slice(name(DAYS[civil.day_of_week], *long)),
                Part::MonthName { long } => out.extend_from_slice(name(MONTHS[civil.month as usize - 1], *long)),
                Part::Epoch => push(out, format_args!("{}", since.as_secs())),
            }
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if let Some(Part::Text(last)) = parts.last_mut() {
        last.push_str(text);
    } else if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// Reads the conversion behind a `%` and returns what follows it.
fn conversion<'a>(text: &'a str, parts: &mut Vec<Part>) -> Result<&'a str, String> {
    for (spelling, replacement) in [("F", "%Y-%m-%d"), ("T", "%H:%M:%S"), ("D", "%m/%d/%y"), ("R", "%H:%M")] {
        if let Some(rest) = text.strip_prefix(spelling) {
            parts.extend(TimeFormat::compile(replacement)?.0);
            return Ok(rest);
        }
    }
    let literal =
        [("%", "%"), ("n", "\n"), ("t", "\t"), ("z", "+0000"), ("Z", "UTC"), ("E*z", "+00:00"), ("Ez", "+00:00")];
    for (spelling, text_for_it) in literal {
        if let Some(rest) = text.strip_prefix(spelling) {
            push_text(parts, text_for_it);
            return Ok(rest);
        }
    }
    if let Some((rest, part)) = fraction(text) {
        parts.push(part);
        return Ok(rest);
    }
    let mut chars = text.chars();
    let part = match chars.next() {
        Some('Y') => Part::Year,
        Some('m') => Part::Month,
        Some('d') => Part::Day,
        Some('e') => Part::DayPadded,
        Some('H') => Part::Hour,
        Some('M') => Part::Minute,
        Some('S') => Part::Second,
        Some('j') => Part::DayOfYear,
        Some('a') => Part::DayName { long: false },
        Some('A') => Part::DayName { long: true },
        Some('b' | 'h') => Part::MonthName { long: false },
        Some('B') => Part::MonthName { long: true },
        Some('s') => Part::Epoch,
        other => return Err(other.map_or_else(|| "%".to_owned(), |c| format!("%{c}"))),
    };
    parts.push(part);
    Ok(chars.as_str())
}

/// `3f`, `f`, `E3S`.
fn fraction(text: &str) -> Option<(&str, Part)> {
    if let Some(rest) = text.strip_prefix('f') {
        return Some((rest, Part::Fraction { digits: 9, with_seconds: false }));
    }
    let (text, with_seconds, end) = match text.strip_prefix('E') {
        Some(text) => (text, true, 'S'),
        None => (text, false, 'f'),
    };
    let digits = text.chars().next()?.to_digit(10).filter(|digits| (1..=9).contains(digits))?;
    let rest = text[1..].strip_prefix(end)?;
    Some((rest, Part::Fraction { digits, with_seconds }))
}

fn name(full: &'static str, long: bool) -> &'static [u8] {
    if long { full.as_bytes() } else { &full.as_bytes()[..3] }
}

/// A date of the proleptic Gregorian calendar.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    day_of_year: u64,
    day_of_week: usize,
    second_of_day: u64,
}

impl Civil {
    /// Counts years from March, so that the leap day is a year's last; eras of 400 years repeat exactly.
    fn from_epoch(seconds: u64) -> Self {
        const DAYS_BEFORE_EPOCH: u64 = 719_468;
        const ERA: u64 = 146_097;
        let days = seconds / 86_400;
        let (era, day_of_era) = ((days + DAYS_BEFORE_EPOCH) / ERA, (days + DAYS_BEFORE_EPOCH) % ERA);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (ERA - 1)) / 365;
        let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_from_march + 2) / 153;
        let day = day_from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let day_of_year = if month <= 2 { day_from_march - 305 } else { day_from_march + 60 + u64::from(leap) };
        Self { year, month, day, day_of_year, day_of_week: (days % 7) as usize, second_of_day: seconds % 86_400 }
    }
}

#[cfg(test)]
mod tests;
