//! Queries, their mistakes, and failing the first N.

use std::time::Duration;

use hyper::{HeaderMap, StatusCode, header::HeaderValue};

use super::{Content, Controls, Framing, decode};

#[test]
fn a_query_is_parsed() {
    let controls =
        Controls::parse("status=418&delay_ms=5&bytes=10&trailers=1&x=y&early&header=a:b%20c").expect("all known");
    assert_eq!(controls.status, StatusCode::IM_A_TEAPOT);
    assert_eq!((controls.delay, controls.content), (Duration::from_millis(5), Content::Pattern(10)));
    assert_eq!((controls.framing, controls.early), (Framing::Trailers, true));
    assert_eq!(controls.headers[0].1, "b c");
    assert_eq!(Controls::parse(""), Ok(Controls::default()));
}

#[test]
fn mistakes_are_named() {
    for query in ["status=1", "delay_ms=x", "bytes=-1", "header=nocolon", "fail_first="] {
        assert_eq!(Controls::parse(query), Err(query.to_owned()));
    }
}

#[test]
fn the_first_ones_fail() {
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", HeaderValue::from_static("r1"));
    for (query, attempt, status) in [
        ("fail_first=2", 1, 503),
        ("fail_first=2", 2, 503),
        ("fail_first=2", 3, 200),
        ("fail_first=1&status=500", 1, 500),
        ("fail_first=1&status=500", 2, 200),
        ("status=500", 9, 500),
    ] {
        let attempts = |key: &str| if key == "r1" { attempt } else { 0 };
        let controls = Controls::parse(query).expect(query).resolve_failures(attempts, &headers);
        assert_eq!(controls.status, status, "{query}, attempt {attempt}");
    }
}

#[test]
fn decoding() {
    for (text, decoded) in [("a+b", "a b"), ("%41%zz%4", "A%zz%4"), ("%", "%"), ("%C3%A9", "é")] {
        assert_eq!(decode(text), decoded);
    }
}
