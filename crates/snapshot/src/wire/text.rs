//! String matchers and regular expressions.

use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use mizzen_rules::{RegexError, TextMatch};

use super::{At, Refused, Result, refuse};

pub(crate) fn from_wire(wire: &StringMatcher) -> Result<TextMatch> {
    let ignore_case = wire.ignore_case;
    Ok(match &wire.match_pattern {
        Some(MatchPattern::Exact(value)) => TextMatch::Exact { value: value.as_str().into(), ignore_case },
        Some(MatchPattern::Prefix(value)) => TextMatch::Prefix { value: value.as_str().into(), ignore_case },
        Some(MatchPattern::Suffix(value)) => TextMatch::Suffix { value: value.as_str().into(), ignore_case },
        Some(MatchPattern::Contains(value)) => TextMatch::Contains { value: value.as_str().into(), ignore_case },
        Some(MatchPattern::SafeRegex(pattern)) => regex(pattern).at("safe_regex")?,
        Some(MatchPattern::Custom(_)) => return refuse("is not supported in this release").at("custom"),
        None => return refuse("expected exact, prefix, suffix, contains or safe_regex"),
    })
}

/// Matches the whole string.
pub(crate) fn regex(wire: &RegexMatcher) -> Result<TextMatch> {
    TextMatch::regex(&wire.regex).map_err(|error| bad_regex(&error))
}

pub(crate) fn bad_regex(error: &RegexError) -> Refused {
    Refused::new(format!("{error}: {}", error.source))
}
