//! Condition on a string: Envoy's `StringMatcher`, lowered. Bytes in, yes or no out; nothing is allocated.
//!
//! Upper and lower case are ASCII's, as in Envoy (`type.matcher.v3.StringMatcher.ignore_case`).

use regex::bytes::{Regex, RegexBuilder};

/// Bytes that one compiled regex may take. A pattern that needs more is refused when its resource is loaded.
pub const REGEX_BYTES_MAX: usize = 1 << 20;

/// Envoy's `StringMatcher`. A regex matches the whole string.
#[derive(Clone, Debug)]
pub enum TextMatch {
    Exact { value: Box<str>, ignore_case: bool },
    Prefix { value: Box<str>, ignore_case: bool },
    Suffix { value: Box<str>, ignore_case: bool },
    Contains { value: Box<str>, ignore_case: bool },
    Regex(Regex),
}

/// A pattern that is no regular expression, or too large a one ([`REGEX_BYTES_MAX`]).
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{pattern}` is not a usable regular expression")]
pub struct RegexError {
    pub pattern: Box<str>,
    #[source]
    pub source: regex::Error,
}

impl TextMatch {
    /// A condition on the whole string, in RE2's syntax.
    pub fn regex(pattern: &str) -> Result<Self, RegexError> {
        let build = |pattern: &str| {
            RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build()
        };
        anchored(pattern, build).map(Self::Regex)
    }

    /// Whether the condition holds for `value`.
    #[inline]
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact { value: wanted, ignore_case } => same(value, wanted.as_bytes(), *ignore_case),
            Self::Prefix { value: wanted, ignore_case } => starts_with(value, wanted.as_bytes(), *ignore_case),
            Self::Suffix { value: wanted, ignore_case } => ends_with(value, wanted.as_bytes(), *ignore_case),
            Self::Contains { value: wanted, ignore_case } => contains(value, wanted.as_bytes(), *ignore_case),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// Compiles `pattern` so that it matches whole strings only. It is compiled alone first: `a)|(b` must not become valid
/// by what is put around it.
pub(crate) fn anchored<R>(pattern: &str, build: impl Fn(&str) -> Result<R, regex::Error>) -> Result<R, RegexError> {
    build(pattern)
        .and_then(|_| build(&format!(r"\A(?:{pattern})\z")))
        .map_err(|source| RegexError { pattern: pattern.into(), source })
}

#[inline]
pub(crate) fn same(value: &[u8], wanted: &[u8], ignore_case: bool) -> bool {
    if ignore_case { value.eq_ignore_ascii_case(wanted) } else { value == wanted }
}

#[inline]
pub(crate) fn starts_with(value: &[u8], wanted: &[u8], ignore_case: bool) -> bool {
    value.get(..wanted.len()).is_some_and(|head| same(head, wanted, ignore_case))
}

fn ends_with(value: &[u8], wanted: &[u8], ignore_case: bool) -> bool {
    let start = value.len().checked_sub(wanted.len());
    start.is_some_and(|start| same(&value[start..], wanted, ignore_case))
}

fn contains(value: &[u8], wanted: &[u8], ignore_case: bool) -> bool {
    wanted.is_empty() || value.windows(wanted.len()).any(|window| same(window, wanted, ignore_case))
}

#[cfg(test)]
mod tests;
