//! Choice of a route inside a virtual host: the first whose conditions all hold.
//!
//! Paths lead to candidates without a walk over all routes: whole paths by hash, prefixes by a sorted index, only
//! regular expressions one by one. Among the candidates the lowest position whose further conditions hold wins.
//! Source: Envoy `config.route.v3.RouteMatch`.

use std::collections::HashMap;

use http::HeaderMap;
use regex::{Regex, RegexBuilder};

pub use crate::condition::{HeaderMatch, QueryMatch};
use crate::{
    condition::HeaderRule,
    prefix::{PrefixIndex, Rest},
    text::{self, REGEX_BYTES_MAX, RegexError},
    trace::{Step, Trace},
};

/// What is known of a request when its route is chosen, as received (rewrites come later).
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `:authority` or `Host`.
    pub authority: &'a str,
    /// Path without query.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
}

/// Condition on the path.
#[derive(Clone, Debug)]
pub enum PathMatch {
    Exact {
        path: Box<str>,
        ignore_case: bool,
    },
    /// A raw string prefix: `/foo` matches `/foobar`.
    Prefix {
        prefix: Box<str>,
        ignore_case: bool,
    },
    /// Whole path segments (Gateway API, `path_separated_prefix`).
    SegmentPrefix {
        prefix: Box<str>,
        ignore_case: bool,
    },
    /// Anchored at both ends; made by [`PathMatch::regex`].
    Regex(Regex),
}

/// All conditions of a route.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    pub path: PathMatch,
    pub headers: Vec<HeaderMatch>,
    pub query: Vec<QueryMatch>,
    /// gRPC requests only.
    pub grpc: bool,
}

/// Conditions that make no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("route {route}: no request can carry a header named `{name}`")]
    HeaderName { route: usize, name: Box<str> },
}

/// The routes of a virtual host, compiled so that exact and prefix paths are found without a walk over all routes.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// By position.
    rules: Vec<Rule>,
    /// Whole paths → positions, ascending.
    exact: HashMap<Box<str>, Vec<usize>>,
    prefixes: PrefixIndex,
    /// Prefixes and whole paths that ignore case.
    folded: PrefixIndex,
    /// Positions of the regular expressions, ascending.
    patterns: Vec<usize>,
}

#[derive(Debug)]
struct Rule {
    path: PathMatch,
    headers: Box<[HeaderRule]>,
    query: Box<[QueryMatch]>,
    grpc: bool,
}

impl PathMatch {
    /// A condition on the whole path, in RE2's syntax.
    pub fn regex(pattern: &str) -> Result<Self, RegexError> {
        let build = |pattern: &str| {
            RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build()
        };
        text::anchored(pattern, build).map(Self::Regex)
    }

    /// Whether the condition holds for `path` (without query).
    pub fn matches(&self, path: &str) -> bool {
        let bytes = path.as_bytes();
        match self {
            Self::Exact { path: wanted, ignore_case } => text::same(bytes, wanted.as_bytes(), *ignore_case),
            Self::Prefix { prefix, ignore_case } => text::starts_with(bytes, prefix.as_bytes(), *ignore_case),
            Self::SegmentPrefix { prefix, ignore_case } => {
                let prefix = segments(prefix).as_bytes();
                text::starts_with(bytes, prefix, *ignore_case) && matches!(bytes.get(prefix.len()), None | Some(b'/'))
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// A prefix of whole segments says the same with and without a slash at its end.
fn segments(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

impl RouteTable {
    /// Compiles the conditions of routes, given in order of precedence.
    pub fn compile(matches: Vec<RouteMatch>) -> Result<Self, RouteError> {
        let mut table = Self::default();
        let (mut plain, mut folded) = (Vec::new(), Vec::new());
        for (position, conditions) in matches.into_iter().enumerate() {
            let (text, rest, ignore_case) = match &conditions.path {
                PathMatch::Regex(_) => {
                    table.patterns.push(position);
                    table.rules.push(Rule::compile(position, conditions)?);
                    continue;
                }
                PathMatch::Exact { path, ignore_case } => (&**path, Rest::Nothing, *ignore_case),
                PathMatch::Prefix { prefix, ignore_case } => (&**prefix, Rest::Anything, *ignore_case),
                PathMatch::SegmentPrefix { prefix, ignore_case } => (segments(prefix), Rest::NewSegment, *ignore_case),
            };
            match (ignore_case, rest) {
                (false, Rest::Nothing) => table.exact.entry(text.into()).or_default().push(position),
                (false, _) => plain.push((text.as_bytes().into(), rest, position)),
                (true, _) => folded.push((text.as_bytes().into(), rest, position)),
            }
            table.rules.push(Rule::compile(position, conditions)?);
        }
        table.prefixes = PrefixIndex::build(plain, false);
        table.folded = PrefixIndex::build(folded, true);
        Ok(table)
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Position of the first route that matches, in the order given to `compile`. Allocates nothing, unless a header of
    /// several lines, or a path with query that is compared as `:path`, is longer than 256 bytes.
    pub fn decide(&self, facts: &RequestFacts<'_>, trace: &mut impl Trace) -> Option<usize> {
        let best = self.find(facts);
        if trace.is_heard() {
            let until = best.map_or(self.rules.len(), |best| best + 1);
            for (index, rule) in self.rules[..until].iter().enumerate() {
                trace.step(Step::Route { index, mismatch: rule.mismatch(facts) });
            }
        }
        best
    }

    fn find(&self, facts: &RequestFacts<'_>) -> Option<usize> {
        let path = facts.path.as_bytes();
        let mut search = Search { rules: &self.rules, facts, best: self.rules.len() };
        search.improve(self.exact.get(facts.path).into_iter().flatten().copied());
        self.prefixes.matching(path).for_each(|positions| search.improve(positions));
        self.folded.matching(path).for_each(|positions| search.improve(positions));
        // Last, so that as few regular expressions as possible run: those before the best of the others.
        search.improve(self.patterns.iter().copied());
        (search.best < self.rules.len()).then_some(search.best)
    }
}

/// The best position so far; the number of routes is none.
struct Search<'a> {
    rules: &'a [Rule],
    facts: &'a RequestFacts<'a>,
    best: usize,
}

impl Search<'_> {
    /// Takes the first of the ascending `positions` that is better and whose conditions hold.
    fn improve(&mut self, positions: impl Iterator<Item = usize>) {
        let mut better = positions.take_while(|position| *position < self.best);
        if let Some(position) = better.find(|position| self.rules[*position].holds(self.facts)) {
            self.best = position;
        }
    }
}

impl Rule {
    fn compile(route: usize, conditions: RouteMatch) -> Result<Self, RouteError> {
        let lower = |condition: HeaderMatch| {
            let name = condition.name.clone();
            HeaderRule::compile(condition).ok_or(RouteError::HeaderName { route, name })
        };
        Ok(Self {
            path: conditions.path,
            headers: conditions.headers.into_iter().map(lower).collect::<Result<_, _>>()?,
            query: conditions.query.into(),
            grpc: conditions.grpc,
        })
    }

    /// Whether all conditions hold that no index has answered for.
    fn holds(&self, facts: &RequestFacts<'_>) -> bool {
        let path_holds = match &self.path {
            PathMatch::Regex(regex) => regex.is_match(facts.path),
            _ => true,
        };
        path_holds && self.further_mismatch(facts).is_none()
    }

    /// The first condition that does not hold.
    fn mismatch(&self, facts: &RequestFacts<'_>) -> Option<&'static str> {
        if self.path.matches(facts.path) { self.further_mismatch(facts) } else { Some("path") }
    }

    fn further_mismatch(&self, facts: &RequestFacts<'_>) -> Option<&'static str> {
        if !self.headers.iter().all(|header| header.holds(facts)) {
            Some("headers")
        } else if !self.query.iter().all(|parameter| parameter.holds(facts.query)) {
            Some("query parameters")
        } else if self.grpc && !is_grpc(facts.headers) {
            Some("gRPC only")
        } else {
            None
        }
    }
}

/// `application/grpc`, alone or with a `+` subtype (gRPC over HTTP/2, "Requests").
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    let subtype = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    subtype.is_some_and(|subtype| matches!(subtype.first(), None | Some(b'+')))
}

#[cfg(test)]
mod tests;
