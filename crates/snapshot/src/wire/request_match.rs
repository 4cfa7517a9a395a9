//! `RouteMatch` → the conditions of a route.

use envoy_types::pb::envoy::config::route::v3::{
    self as wire, header_matcher::HeaderMatchSpecifier, query_parameter_matcher::QueryParameterMatchSpecifier,
    route_match::PathSpecifier,
};
use mizzen_rules::{HeaderMatch, PathMatch, QueryMatch, RouteMatch, TextMatch};

use super::{At, Result, each, named, refuse, text, unsupported};

pub(crate) fn from_wire(wire: &wire::RouteMatch) -> Result<RouteMatch> {
    unsupported(&[
        ("runtime_fraction", wire.runtime_fraction.is_some()),
        ("tls_context", wire.tls_context.is_some()),
        ("dynamic_metadata", !wire.dynamic_metadata.is_empty()),
        ("filter_state", !wire.filter_state.is_empty()),
        ("cookies", !wire.cookies.is_empty()),
    ])?;
    let ignore_case = wire.case_sensitive.as_ref().is_some_and(|sensitive| !sensitive.value);
    let path = match &wire.path_specifier {
        Some(PathSpecifier::Path(path)) => PathMatch::Exact { path: path.as_str().into(), ignore_case },
        Some(PathSpecifier::Prefix(prefix)) => PathMatch::Prefix { prefix: prefix.as_str().into(), ignore_case },
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            PathMatch::SegmentPrefix { prefix: prefix.as_str().into(), ignore_case }
        }
        Some(PathSpecifier::SafeRegex(pattern)) => {
            PathMatch::regex(&pattern.regex).map_err(|error| text::bad_regex(&error)).at("safe_regex")?
        }
        Some(PathSpecifier::ConnectMatcher(_)) => {
            return refuse("is not supported in this release").at("connect_matcher");
        }
        Some(PathSpecifier::PathMatchPolicy(_)) => {
            return refuse("is not supported in this release").at("path_match_policy");
        }
        None => return refuse("expected path, prefix, path_separated_prefix or safe_regex"),
    };
    Ok(RouteMatch {
        path,
        headers: each("headers", &wire.headers, header)?,
        query: each("query_parameters", &wire.query_parameters, query)?,
        grpc: wire.grpc.is_some(),
    })
}

fn header(wire: &wire::HeaderMatcher) -> Result<HeaderMatch> {
    let name = named("name", &wire.name)?.to_ascii_lowercase().into();
    let (value, is_absence) = match &wire.header_match_specifier {
        None | Some(HeaderMatchSpecifier::PresentMatch(true)) => (None, false),
        Some(HeaderMatchSpecifier::PresentMatch(false)) => (None, true),
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => (Some(text::from_wire(matcher).at("string_match")?), false),
        Some(HeaderMatchSpecifier::SafeRegexMatch(pattern)) => {
            (Some(text::regex(pattern).at("safe_regex_match")?), false)
        }
        Some(HeaderMatchSpecifier::RangeMatch(_)) => {
            return refuse("is not supported in this release").at("range_match");
        }
        Some(HeaderMatchSpecifier::ExactMatch(value)) => {
            (Some(TextMatch::Exact { value: value.as_str().into(), ignore_case: false }), false)
        }
        Some(HeaderMatchSpecifier::PrefixMatch(value)) => {
            (Some(TextMatch::Prefix { value: value.as_str().into(), ignore_case: false }), false)
        }
        Some(HeaderMatchSpecifier::SuffixMatch(value)) => {
            (Some(TextMatch::Suffix { value: value.as_str().into(), ignore_case: false }), false)
        }
        Some(HeaderMatchSpecifier::ContainsMatch(value)) => {
            (Some(TextMatch::Contains { value: value.as_str().into(), ignore_case: false }), false)
        }
    };
    let invert = wire.invert_match != is_absence;
    // "Present" asks for the header itself: it is not made present by standing for the empty value.
    let missing_is_empty = wire.treat_missing_header_as_empty && value.is_some();
    Ok(HeaderMatch { name, value, invert, missing_is_empty })
}

fn query(wire: &wire::QueryParameterMatcher) -> Result<QueryMatch> {
    let value = match &wire.query_parameter_match_specifier {
        None | Some(QueryParameterMatchSpecifier::PresentMatch(true)) => None,
        Some(QueryParameterMatchSpecifier::PresentMatch(false)) => {
            return refuse("false is not supported in this release").at("present_match");
        }
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => Some(text::from_wire(matcher).at("string_match")?),
    };
    Ok(QueryMatch { name: named("name", &wire.name)?.into(), value })
}
