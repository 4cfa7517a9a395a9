//! Durations as Istio's configuration writes them: `1.5s`, `300ms`, `1h30m`.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A span of time read from a string of decimal numbers with units `ns us µs ms s m h`, as Go's `time.ParseDuration` reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub std::time::Duration);

/// Longest duration that is accepted: that of protobuf's `Duration`, about 10,000 years.
const SECONDS_MAX: f64 = 315_576_000_000.0;

impl Duration {
    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Reads a duration; `None` if the text is none, is negative, or is longer than 10,000 years.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('+').unwrap_or(text);
        if text == "0" {
            return Some(Self::default());
        }
        let mut rest = text;
        let mut total = std::time::Duration::ZERO;
        while !rest.is_empty() || text.is_empty() {
            let (part, after) = first_part(rest)?;
            total = total.checked_add(part)?;
            rest = after;
        }
        (total.as_secs_f64() <= SECONDS_MAX).then_some(Self(total))
    }
}

/// The first `NUMBER UNIT` of a duration, and what follows it.
fn first_part(text: &str) -> Option<(std::time::Duration, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(digits);
    let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit);
    let nanos: u64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let whole = u128::from(whole) * u128::from(nanos);
    // Digits beyond 10^-15 of a unit are below a nanosecond for every unit.
    let fraction = &fraction[..fraction.len().min(15)];
    let scale = 10_u128.pow(fraction.len() as u32);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let total = whole + fraction * u128::from(nanos) / scale;
    let seconds = u64::try_from(total / 1_000_000_000).ok()?;
    Some((std::time::Duration::new(seconds, (total % 1_000_000_000) as u32), rest))
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::invalid_value(de::Unexpected::Str(&text), &"a duration such as `1.5s`, `300ms` or `1h30m`")
        })
    }
}
