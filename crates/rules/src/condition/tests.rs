//! Header and query conditions, as tables.

use http::{HeaderMap, HeaderValue};

use super::*;

/// A condition in short: what the value must be, inverted or not.
fn header(name: &str, value: Option<&str>, invert: bool) -> HeaderMatch {
    let value = value.map(|value| TextMatch::Exact { value: value.into(), ignore_case: false });
    HeaderMatch { name: name.into(), value, invert, missing_is_empty: false }
}

fn check(condition: HeaderMatch, lines: &[(&'static str, &[u8])]) -> bool {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value).expect("a header value"));
    }
    let facts = RequestFacts {
        method: "GET",
        scheme: "http",
        authority: "reviews:9080",
        path: "/a",
        query: Some("b=1"),
        headers: &headers,
    };
    HeaderRule::compile(condition).expect("a header name").holds(&facts)
}

#[test]
fn headers() {
    let plain: &[(&str, &[u8])] = &[("x", b"1")];
    let twice: &[(&str, &[u8])] = &[("x", b"1"), ("x", b"2")];
    let cases = [
        (header("x", Some("1"), false), plain, true),
        (header("x", Some("2"), false), plain, false),
        (header("x", Some("2"), true), plain, true),
        (header("x", None, false), plain, true),
        (header("x", None, true), plain, false),
        (header("y", None, false), plain, false),
        (header("y", None, true), plain, true),
        (header("y", Some("1"), false), plain, false),
        // Envoy: an absent header satisfies no condition on its value, not even an inverted one.
        (header("y", Some("1"), true), plain, false),
        (HeaderMatch { missing_is_empty: true, ..header("y", Some("1"), true) }, plain, true),
        (HeaderMatch { missing_is_empty: true, ..header("y", Some(""), false) }, plain, true),
        (header("x", Some("1,2"), false), twice, true),
        (header("x", Some("1"), false), twice, false),
        (header("x", Some("1"), true), twice, true),
        (header("cookie", Some("a=1; b=2"), false), &[("cookie", b"a=1"), ("cookie", b"b=2")], true),
        (header(":method", Some("GET"), false), plain, true),
        (header(":scheme", Some("https"), true), plain, true),
        (header(":authority", Some("reviews:9080"), false), plain, true),
        (header("host", Some("reviews:9080"), false), plain, true),
        (header(":path", Some("/a?b=1"), false), plain, true),
        // What is not text is no reason to let a request through a negative condition.
        (header("x", Some("1"), true), &[("x", b"\xff")], false),
        (header("x", Some("1"), false), &[("x", b"\xff")], false),
        (header("x", None, false), &[("x", b"\xff")], true),
    ];
    for (condition, lines, wanted) in cases {
        assert_eq!(check(condition.clone(), lines), wanted, "{condition:?} on {lines:?}");
    }
}

#[test]
fn names_that_no_request_can_carry() {
    for name in ["", ":status", "a b", "é"] {
        assert!(HeaderRule::compile(header(name, None, false)).is_none(), "{name:?}");
    }
}

#[test]
fn query_parameters() {
    let one = TextMatch::Exact { value: "1".into(), ignore_case: false };
    let cases = [
        ("a", Some(&one), Some("a=1"), true),
        ("a", Some(&one), Some("b=2&a=1"), true),
        ("a", Some(&one), Some("a=2&a=1"), false),
        ("a", Some(&one), Some("a=%31"), false),
        ("a", Some(&one), Some("A=1"), false),
        ("a", Some(&one), Some("aa=1"), false),
        ("a", Some(&one), Some(""), false),
        ("a", Some(&one), None, false),
        ("a", None, Some("&&a"), true),
        ("a", None, Some("a="), true),
        ("a", None, Some("b=a"), false),
    ];
    for (name, value, query, wanted) in cases {
        let condition = QueryMatch { name: name.into(), value: value.cloned() };
        assert_eq!(condition.holds(query), wanted, "{condition:?} on {query:?}");
    }
}
