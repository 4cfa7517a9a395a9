//! String conditions, regular expressions, headers.

use std::collections::BTreeMap;

use regex::RegexBuilder;

use crate::{
    istio::{HeaderOperations, Headers, StringMatch},
    problem::At,
};

/// A compiled expression may take so much; beyond it the object is refused.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Refuses what is no regular expression, or compiles to more than [`REGEX_BYTES_MAX`].
pub(super) fn regex(at: &At<'_>, pattern: &str) {
    if let Err(error) = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(REGEX_BYTES_MAX).build() {
        let why = match error {
            regex::Error::CompiledTooBig(_) => format!("compiled, it is larger than {} MiB", REGEX_BYTES_MAX >> 20),
            // The first lines of a syntax error draw the pattern; the last one says what is wrong with it.
            error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        };
        at.error(format!("expected a regular expression (RE2), found {pattern:?}: {why}"), "/v[0-9]+/.*");
    }
}

/// What an empty condition means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// "Is present".
    Presence,
    Refused,
}

/// At most one form, and one that can match.
pub(super) fn condition(at: &At<'_>, condition: &StringMatch, empty: Empty) {
    let forms = [
        ("exact", condition.exact.is_some()),
        ("prefix", condition.prefix.is_some()),
        ("regex", condition.regex.is_some()),
    ];
    if empty == Empty::Refused {
        super::exactly_one(at, &forms);
        for (name, text) in [("exact", &condition.exact), ("prefix", &condition.prefix), ("regex", &condition.regex)] {
            if text.as_deref() == Some("") {
                at.field(name).error("expected a text, found an empty one", "/");
            }
        }
    } else {
        super::at_most_one(at, &forms);
    }
    if let Some(pattern) = &condition.regex {
        regex(&at.field("regex"), pattern);
    }
}

/// Conditions on headers or query parameters.
pub(super) fn conditions(at: &At<'_>, conditions: &BTreeMap<String, StringMatch>) {
    for (name, value) in conditions {
        let at = at.field(name);
        if name.is_empty() {
            at.error("expected a name", "x-user");
        }
        condition(&at, value, Empty::Presence);
    }
}

/// Header names that are matched: those of HTTP, or Istio's notation for a claim of a token.
pub(super) fn header_conditions(at: &At<'_>, headers: &BTreeMap<String, StringMatch>) {
    for name in headers.keys().filter(|name| !is_header_name(name) && !name.starts_with("@request.auth.claims")) {
        at.field(name).error(format!("{name:?} is no header name"), "x-user");
    }
    conditions(at, headers);
}

/// Operations on the headers of request and response.
pub(super) fn header_operations(at: &At<'_>, headers: Option<&Headers>) {
    let Some(headers) = headers else { return };
    for (side, operations) in [("request", &headers.request), ("response", &headers.response)] {
        if let Some(operations) = operations {
            operations_of(&at.field(side), operations);
        }
    }
}

fn operations_of(at: &At<'_>, operations: &HeaderOperations) {
    for (field, values) in [("set", &operations.set), ("add", &operations.add)] {
        let at = at.field(field);
        for (name, value) in values {
            let at = at.field(name);
            if !is_header_name(name) {
                at.error(format!("{name:?} is no header name"), "x-user");
            } else if name.starts_with(':') && !name.eq_ignore_ascii_case(":authority") {
                at.warn(format!("{name} cannot be changed here and is left as it is"), "");
            }
            if value.bytes().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
                at.error("a header's value is one line", "v1");
            }
        }
    }
    for (index, name) in operations.remove.iter().enumerate() {
        if !is_header_name(name) || name.starts_with(':') {
            at.field("remove").index(index).error(format!("{name:?} is no header that can be removed"), "x-user");
        }
    }
}

/// A token of RFC 9110, or a pseudo-header.
fn is_header_name(name: &str) -> bool {
    let token = name.strip_prefix(':').unwrap_or(name);
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
