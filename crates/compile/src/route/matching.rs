//! Match conditions of a rule, as Envoy says them.

use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher, RouteMatch};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use mizzen_world::virtual_service::{HttpMatch, Named, StringMatch};

use crate::wire::build::{bool_value, exact, prefix, regex};

/// Every request.
pub(super) fn everything() -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..RouteMatch::default() }
}

/// The conditions that a request itself can meet or not.
pub(super) fn route_match(written: &HttpMatch) -> RouteMatch {
    let path = match &written.uri {
        None | Some(StringMatch::Present) => PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.to_string()),
        Some(StringMatch::Prefix(path)) => PathSpecifier::Prefix(path.to_string()),
        Some(StringMatch::Regex(pattern)) => PathSpecifier::SafeRegex(regex(pattern)),
    };
    let pseudo = [(":method", &written.method), (":scheme", &written.scheme), (":authority", &written.authority)];
    let mut headers: Vec<HeaderMatcher> =
        pseudo.into_iter().filter_map(|(name, wanted)| wanted.as_ref().map(|wanted| header(name, wanted))).collect();
    headers.extend(written.headers.iter().map(|(name, wanted)| header(name, wanted)));
    headers.extend(written.without_headers.iter().map(without));
    RouteMatch {
        case_sensitive: written.ignore_uri_case.then(|| bool_value(false)),
        path_specifier: Some(path),
        headers,
        query_parameters: written.query_params.iter().map(query).collect(),
        ..RouteMatch::default()
    }
}

fn header(name: &str, wanted: &StringMatch) -> HeaderMatcher {
    let specifier = match string_matcher(wanted) {
        None => HeaderMatchSpecifier::PresentMatch(true),
        Some(matcher) => HeaderMatchSpecifier::StringMatch(matcher),
    };
    HeaderMatcher {
        name: name.to_ascii_lowercase(),
        header_match_specifier: Some(specifier),
        ..HeaderMatcher::default()
    }
}

/// The negation: an absent header satisfies it, which Envoy has only if absent is taken for empty.
fn without((name, unwanted): &Named) -> HeaderMatcher {
    HeaderMatcher {
        invert_match: true,
        treat_missing_header_as_empty: *unwanted != StringMatch::Present,
        ..header(name, unwanted)
    }
}

fn query((name, wanted): &Named) -> QueryParameterMatcher {
    let specifier = match string_matcher(wanted) {
        None => QueryParameterMatchSpecifier::PresentMatch(true),
        Some(matcher) => QueryParameterMatchSpecifier::StringMatch(matcher),
    };
    QueryParameterMatcher { name: name.to_string(), query_parameter_match_specifier: Some(specifier) }
}

/// `None` asks for nothing but presence.
fn string_matcher(wanted: &StringMatch) -> Option<StringMatcher> {
    match wanted {
        StringMatch::Present => None,
        StringMatch::Exact(value) => Some(exact(value)),
        StringMatch::Prefix(value) => Some(prefix(value)),
        StringMatch::Regex(pattern) => {
            Some(StringMatcher { match_pattern: Some(MatchPattern::SafeRegex(regex(pattern))), ignore_case: false })
        }
    }
}
