//! Routes of a virtual host, as tables.

use http::{HeaderMap, HeaderValue};

use super::*;
use crate::{text::TextMatch, trace::Silent};

fn route(path: PathMatch) -> RouteMatch {
    RouteMatch { path, headers: Vec::new(), query: Vec::new(), grpc: false }
}

fn exact(path: &str) -> RouteMatch {
    route(PathMatch::Exact { path: path.into(), ignore_case: false })
}

fn prefix(prefix: &str) -> RouteMatch {
    route(PathMatch::Prefix { prefix: prefix.into(), ignore_case: false })
}

fn segments(prefix: &str) -> RouteMatch {
    route(PathMatch::SegmentPrefix { prefix: prefix.into(), ignore_case: false })
}

fn regex(pattern: &str) -> RouteMatch {
    route(PathMatch::regex(pattern).expect("a valid pattern"))
}

fn with_header(route: RouteMatch, name: &str, value: &str) -> RouteMatch {
    let value = Some(TextMatch::Exact { value: value.into(), ignore_case: false });
    let header = HeaderMatch { name: name.into(), value, invert: false, missing_is_empty: false };
    RouteMatch { headers: vec![header], ..route }
}

fn facts<'a>(path: &'a str, headers: &'a HeaderMap) -> RequestFacts<'a> {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    RequestFacts { method: "GET", scheme: "http", authority: "reviews", path, query, headers }
}

fn check(routes: Vec<RouteMatch>, cases: &[(&str, Option<usize>)]) {
    let table = RouteTable::compile(routes).expect("routes that compile");
    for (path, wanted) in cases {
        let headers = HeaderMap::new();
        assert_eq!(table.decide(&facts(path, &headers), &mut Silent), *wanted, "{path}");
    }
}

#[test]
fn the_first_route_wins_whatever_its_kind() {
    check(
        vec![exact("/a"), prefix("/a"), regex("/b/[0-9]+"), prefix("/b/1"), prefix("/")],
        &[
            ("/a", Some(0)),
            ("/a?x=1", Some(0)),
            ("/ab", Some(1)),
            ("/a/", Some(1)),
            ("/b/12", Some(2)),
            ("/b/1x", Some(3)),
            ("/b/x", Some(4)),
            ("*", None),
            ("", None),
        ],
    );
    check(vec![prefix("/"), exact("/a"), regex("/.*")], &[("/a", Some(0)), ("/", Some(0))]);
    check(vec![regex("/a.*"), prefix("/a")], &[("/a1", Some(0))]);
    check(Vec::new(), &[("/", None)]);
}

#[test]
fn segments_end_where_the_path_does_or_at_a_slash() {
    let cases = [("/a/b", Some(0)), ("/a/b/", Some(0)), ("/a/b/c", Some(0)), ("/a/bc", None), ("/a", None)];
    check(vec![segments("/a/b")], &cases);
    check(vec![segments("/a/b/")], &cases);
    check(vec![segments("/")], &[("/", Some(0)), ("/x", Some(0)), ("x", None)]);
    check(vec![segments("/a"), prefix("/a")], &[("/a/x", Some(0)), ("/ax", Some(1))]);
}

#[test]
fn case_is_ignored_where_asked() {
    let ignore = |path: fn(Box<str>, bool) -> PathMatch, text: &str| route(path(text.into(), true));
    let exact = |path, ignore_case| PathMatch::Exact { path, ignore_case };
    let prefix = |prefix, ignore_case| PathMatch::Prefix { prefix, ignore_case };
    let segments = |prefix, ignore_case| PathMatch::SegmentPrefix { prefix, ignore_case };
    check(
        vec![ignore(exact, "/Whole"), ignore(prefix, "/Pre"), ignore(segments, "/Seg")],
        &[("/wHOLE", Some(0)), ("/whole/", None), ("/PREfix", Some(1)), ("/sEG/x", Some(2)), ("/segx", None)],
    );
}

#[test]
fn nested_prefixes_lead_to_all_their_parents() {
    let routes = vec![
        with_header(prefix("/a/b/c"), "x", "1"),
        with_header(prefix("/a/b"), "x", "1"),
        prefix("/a/bb"),
        prefix("/a/b"),
        prefix("/a"),
    ];
    check(routes, &[("/a/b/c/d", Some(3)), ("/a/b", Some(3)), ("/a/bb", Some(2)), ("/a/c", Some(4)), ("/b", None)]);
}

#[test]
fn grpc_is_a_content_type() {
    let cases = [
        (Some("application/grpc"), Some(0)),
        (Some("application/grpc+proto"), Some(0)),
        (Some("application/grpc-web"), Some(1)),
        (Some("text/plain"), Some(1)),
        (None, Some(1)),
    ];
    let routes = vec![RouteMatch { grpc: true, ..prefix("/") }, prefix("/")];
    let table = RouteTable::compile(routes).expect("routes that compile");
    for (content_type, wanted) in cases {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        assert_eq!(table.decide(&facts("/s/m", &headers), &mut Silent), wanted, "{content_type:?}");
    }
}

#[test]
fn a_header_that_cannot_be_is_refused() {
    let routes = vec![prefix("/"), with_header(prefix("/"), ":status", "200")];
    let error = RouteTable::compile(routes).expect_err("routes that must be refused");
    assert_eq!(error, RouteError::HeaderName { route: 1, name: ":status".into() });
}

#[test]
fn the_trace_tells_why_others_did_not_match() {
    struct Heard(Vec<(usize, Option<&'static str>)>);
    impl Trace for Heard {
        fn step(&mut self, step: Step<'_>) {
            if let Step::Route { index, mismatch } = step {
                self.0.push((index, mismatch));
            }
        }
    }
    let query = QueryMatch { name: "q".into(), value: None };
    let routes = vec![
        exact("/x"),
        with_header(prefix("/"), "x", "1"),
        RouteMatch { query: vec![query], ..prefix("/") },
        RouteMatch { grpc: true, ..prefix("/") },
        prefix("/"),
        prefix("/"),
    ];
    let table = RouteTable::compile(routes).expect("routes that compile");
    let mut heard = Heard(Vec::new());
    let headers = HeaderMap::new();
    assert_eq!(table.decide(&facts("/a", &headers), &mut heard), Some(4));
    let wanted = [Some("path"), Some("headers"), Some("query parameters"), Some("gRPC only"), None];
    assert_eq!(heard.0, wanted.into_iter().enumerate().collect::<Vec<_>>());
}
