//! `prefix_rewrite` and `regex_rewrite` → how the path changes on its way.

use envoy_types::pb::envoy::{config::route::v3::RouteAction, r#type::matcher::v3::RegexMatchAndSubstitute};
use mizzen_rules::{PathMatch, text::REGEX_BYTES_MAX};
use regex::RegexBuilder;

use super::{At, Refused, Result, refuse, required, unsupported};
use crate::route::PathRewrite;

/// `matched` is the route's condition on the path.
pub(crate) fn from_wire(wire: &RouteAction, matched: &PathMatch) -> Result<Option<PathRewrite>> {
    unsupported(&[
        ("path_rewrite_policy", wire.path_rewrite_policy.is_some()),
        ("path_rewrite", !wire.path_rewrite.is_empty()),
    ])?;
    match (wire.prefix_rewrite.as_str(), &wire.regex_rewrite) {
        ("", None) => Ok(None),
        ("", Some(regex)) => self::regex(regex).at("regex_rewrite").map(Some),
        (replacement, None) => Ok(Some(prefix(replacement, matched))),
        (_, Some(_)) => refuse("is not possible beside prefix_rewrite").at("regex_rewrite"),
    }
}

fn prefix(replacement: &str, matched: &PathMatch) -> PathRewrite {
    let matched_len = match matched {
        PathMatch::Exact { path, .. } => path.len(),
        PathMatch::Prefix { prefix, .. } => prefix.len(),
        PathMatch::SegmentPrefix { prefix, .. } => prefix.strip_suffix('/').unwrap_or(prefix).len(),
        PathMatch::Regex(_) => usize::MAX,
    };
    PathRewrite::Prefix { matched_len, replacement: replacement.into() }
}

fn regex(wire: &RegexMatchAndSubstitute) -> Result<PathRewrite> {
    let pattern = required("pattern", wire.pattern.as_ref())?;
    let built = RegexBuilder::new(&pattern.regex).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
    let pattern = built.map_err(|error| Refused::new(error.to_string())).at("pattern")?;
    let substitution = substitution(&wire.substitution, pattern.captures_len()).at("substitution")?;
    Ok(PathRewrite::Regex { pattern, substitution: substitution.into() })
}

/// RE2's `\1` becomes `${1}`.
fn substitution(re2: &str, groups: usize) -> Result<String> {
    let mut made = String::with_capacity(re2.len());
    let mut letters = re2.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '$' => made.push_str("$$"),
            '\\' => match letters.next() {
                Some('\\') => made.push('\\'),
                Some(digit) if digit.to_digit(10).is_some_and(|group| (group as usize) < groups) => {
                    made.push_str("${");
                    made.push(digit);
                    made.push('}');
                }
                _ => return refuse(r"expected `\\` or `\` and the number of a group"),
            },
            _ => made.push(letter),
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests;
