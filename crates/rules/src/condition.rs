//! Conditions on headers and query parameters, as written and as lowered for the hot path.
//!
//! Source: Envoy `config.route.v3.HeaderMatcher` and `QueryParameterMatcher`.

use http::HeaderName;
use smallvec::SmallVec;

use crate::{route::RequestFacts, text::TextMatch};

/// Condition on one header; pseudo-headers `:method`, `:authority`, `:scheme`, `:path` by their own names.
///
/// The lines of a header with several are joined with `,` before they are compared (`; ` for `cookie`, RFC 9113 §8.2.3).
/// `:path` is the path with its query; `host` is `:authority`.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: Box<str>,
    /// `None` asks for presence only.
    pub value: Option<TextMatch>,
    /// The condition holds when the rest does not. Two cases are decided against the request: a header that is absent
    /// (unless `missing_is_empty`, or presence is all that is asked), as in Envoy, and a value that is not UTF-8, which
    /// a pattern over text could be made to miss.
    pub invert: bool,
    /// An absent header counts as the empty value (Envoy `treat_missing_header_as_empty`).
    pub missing_is_empty: bool,
}

/// Condition on one query parameter: its first occurrence, compared as received, without percent-decoding.
#[derive(Clone, Debug)]
pub struct QueryMatch {
    pub name: Box<str>,
    /// `None` asks for presence only.
    pub value: Option<TextMatch>,
}

/// A [`HeaderMatch`] whose name is resolved.
#[derive(Clone, Debug)]
pub(crate) struct HeaderRule {
    field: Field,
    value: Option<TextMatch>,
    invert: bool,
    missing_is_empty: bool,
}

#[derive(Clone, Debug)]
enum Field {
    Method,
    Authority,
    Scheme,
    Path,
    Header(HeaderName),
}

/// Room for a value that must be put together; a longer one goes to the heap.
type Joined = SmallVec<[u8; 256]>;

impl HeaderRule {
    /// `None` if no request can carry a header of this name.
    pub(crate) fn compile(condition: HeaderMatch) -> Option<Self> {
        let field = match &*condition.name {
            ":method" => Field::Method,
            ":authority" | "host" => Field::Authority,
            ":scheme" => Field::Scheme,
            ":path" => Field::Path,
            name => Field::Header(HeaderName::from_bytes(name.as_bytes()).ok()?),
        };
        let HeaderMatch { value, invert, missing_is_empty, .. } = condition;
        Some(Self { field, value, invert, missing_is_empty })
    }

    pub(crate) fn holds(&self, facts: &RequestFacts<'_>) -> bool {
        match &self.field {
            Field::Method => self.judge(Some(facts.method.as_bytes())),
            Field::Authority => self.judge(Some(facts.authority.as_bytes())),
            Field::Scheme => self.judge(Some(facts.scheme.as_bytes())),
            Field::Path => match facts.query {
                None => self.judge(Some(facts.path.as_bytes())),
                Some(query) => {
                    let mut path = Joined::from_slice(facts.path.as_bytes());
                    path.push(b'?');
                    path.extend_from_slice(query.as_bytes());
                    self.judge(Some(&path))
                }
            },
            Field::Header(name) => self.judge_header(name, facts),
        }
    }

    fn judge_header(&self, name: &HeaderName, facts: &RequestFacts<'_>) -> bool {
        let mut lines = facts.headers.get_all(name).iter();
        let (first, second) = (lines.next(), lines.next());
        let (Some(first), Some(second)) = (first, second) else {
            return self.judge(first.map(http::HeaderValue::as_bytes));
        };
        let separator: &[u8] = if *name == http::header::COOKIE { b"; " } else { b"," };
        let mut joined = Joined::from_slice(first.as_bytes());
        for line in std::iter::once(second).chain(lines) {
            joined.extend_from_slice(separator);
            joined.extend_from_slice(line.as_bytes());
        }
        self.judge(Some(&joined))
    }

    fn judge(&self, value: Option<&[u8]>) -> bool {
        let value = if self.missing_is_empty { value.or(Some(b"")) } else { value };
        match (&self.value, value) {
            (None, value) => value.is_some() != self.invert,
            (Some(_), None) => false,
            (Some(wanted), Some(value)) if self.invert => !wanted.matches(value) && std::str::from_utf8(value).is_ok(),
            (Some(wanted), Some(value)) => wanted.matches(value),
        }
    }
}

impl QueryMatch {
    pub(crate) fn holds(&self, query: Option<&str>) -> bool {
        let parameters = query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
        let found = parameters
            .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
            .find(|(name, _)| *name == &*self.name);
        match (&self.value, found) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wanted), Some((_, value))) => wanted.matches(value.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests;
