//! Formats, values, escaping, and a sink whose reader does not read.

use std::{
    io::{Read as _, pipe},
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use serde_json::{Value as Json, json};

use super::{Captured, Format, QUEUE_CHUNKS, Sink, Target};
use crate::{
    flags::{Flag, Flags},
    metrics::{Counter, Limits, Metrics, RequestProtocol},
    record::{ConnFacts, Flow, HttpRecord, TlsFacts, Upstream},
};

fn conn() -> ConnFacts {
    let tls = TlsFacts {
        version: "TLSv1.3",
        peer_uri_sans: vec!["spiffe://a".into(), "spiffe://b".into()],
        ..TlsFacts::default()
    };
    ConnFacts {
        id: 7,
        remote: "10.244.0.5:33000".parse().expect("an address"),
        local: "[fd77::9]:9080".parse().expect("an address"),
        server_name: Some("outbound_.9080_._.reviews.default.svc.cluster.local".into()),
        tls: Some(Arc::new(tls)),
    }
}

fn flow() -> Flow {
    let mut flow = Flow::new(UNIX_EPOCH + Duration::from_millis(1_481_818_059_001));
    flow.duration = Duration::from_micros(4_900);
    (flow.bytes_received, flow.bytes_sent) = (11, 22);
    flow.details = Some("via_upstream".into());
    flow.route = Some("default".into());
    flow.upstream = Upstream {
        cluster: Some("inbound|9080||".into()),
        host: Some("127.0.0.1:9080".parse().expect("an address")),
        local: Some("127.0.0.6:40000".parse().expect("an address")),
        transport_failure: None,
        attempts: 2,
    };
    flow
}

fn headers(pairs: &[(&str, &[u8])]) -> HeaderMap {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).expect("a header name");
    pairs.iter().map(|(key, value)| (name(key), HeaderValue::from_bytes(value).expect("a header value"))).collect()
}

fn record(format: &Format, request: &HeaderMap, response: &HeaderMap) -> HttpRecord {
    let mut record = HttpRecord::new(UNIX_EPOCH, Version::HTTP_2, Method::GET);
    record.flow = flow();
    record.path = Some("/reviews/0?u=x".parse().expect("a path"));
    record.authority = Some(HeaderValue::from_static("reviews:9080"));
    record.code = 200;
    record.response_begun = Some(Duration::from_millis(3));
    record.protocol = RequestProtocol::Grpc { status: Some(5) };
    format.capture_request(request, &mut record.captured);
    format.capture_response(response, &mut record.captured);
    record
}

fn line(format: &Format, request: &HeaderMap) -> String {
    let response = headers(&[("x-envoy-upstream-service-time", b"3")]);
    let mut out = Vec::new();
    format.write_http(&conn(), &record(format, request, &response), &mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn istios_default_line() {
    let format = Format::text("").expect("the default compiles");
    let request = headers(&[("user-agent", b"curl/8"), ("x-request-id", b"id-1"), ("x-unrelated", b"z")]);
    assert_eq!(
        line(&format, &request),
        "[2016-12-15T16:07:39.001Z] \"GET /reviews/0?u=x HTTP/2\" 200 - via_upstream - \"-\" 11 22 4 3 \"-\" \"curl/8\" \"id-1\" \
         \"reviews:9080\" \"127.0.0.1:9080\" inbound|9080|| 127.0.0.6:40000 [fd77::9]:9080 10.244.0.5:33000 \
         outbound_.9080_._.reviews.default.svc.cluster.local default\n"
    );
    let mut out = Vec::new();
    let mut flow = flow();
    flow.flags = [Flag::UpstreamConnectFailure, Flag::RetryLimitExceeded].into_iter().collect::<Flags>();
    format.write_tcp(&conn(), &flow, &mut out);
    let tcp = String::from_utf8(out).expect("UTF-8");
    assert!(
        tcp.starts_with("[2016-12-15T16:07:39.001Z] \"- - -\" 0 UF,URX via_upstream - \"-\" 11 22 4 - \"-\""),
        "{tcp}"
    );
}

#[test]
fn operators() {
    let request =
        headers(&[("x-envoy-original-path", b"/old"), ("x-long", b"abcdefgh"), ("x-two", b"first"), ("x-empty", b"")]);
    for (spelled, expected) in [
        ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ(X-NONE?:PATH)%", "/old /reviews/0?u=x"),
        ("%REQ_WITHOUT_QUERY(:PATH)%", "/reviews/0"),
        ("%REQ(X-LONG):3%|%REQ(:METHOD):99%|%START_TIME(%Y):2%|%REQ(X-EMPTY)%", "abc|GET|20|"),
        ("%REQ(X-TWO)% %REQ(x-two)% %REQ(X-MISSING)% %REQ(A?B)%", "first first - -"),
        ("%RESP(:STATUS)% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% %TRAILER(GRPC-MESSAGE)%", "200 3 -"),
        (
            "%UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_LOCAL_PORT%",
            "127.0.0.1:9080 127.0.0.1 40000",
        ),
        ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%", "fd77::9 9080"),
        ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_PEER_URI_SAN%", "10.244.0.5:33000 spiffe://a,spiffe://b"),
        ("%RESPONSE_DURATION% %RESPONSE_TX_DURATION% %REQUEST_DURATION%", "3 1 -"),
        ("%GRPC_STATUS% %GRPC_STATUS_NUMBER% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %CONNECTION_ID%", "NotFound 5 2 7"),
        ("%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% 100%%", "TLSv1.3 - 100%"),
    ] {
        let format = Format::text(spelled).expect(spelled);
        assert_eq!(line(&format, &request), expected, "{spelled}");
    }
}

#[test]
fn bad_formats_are_named() {
    for (spelled, message) in [
        ("%NOPE%", "unknown access log operator %NOPE%"),
        ("a %FILTER_STATE(x)%", "unknown access log operator %FILTER_STATE%"),
        ("%DURATION", "access log format ends inside an operator: %DURATION"),
        ("%REQ(X%", "access log format ends inside an operator: %REQ(X%"),
        ("%REQ()%", "access log operator %REQ()%: a header name is missing"),
        ("%REQ(a b)%", "access log operator %REQ(a b)%: \"a b\" is not a header name"),
        ("%REQ(A):x%", "access log operator %REQ(A):x%: the length is not a number"),
        ("%REQ(A)b%", "access log operator %REQ(A)b%: text follows the parenthesis"),
        ("%START_TIME(%Q)%", "access log operator %START_TIME(%Q)%: %Q is not supported"),
    ] {
        let error = Format::text(spelled).expect_err(spelled);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn json_values_keep_their_type() {
    let Json::Object(map) = json!({
        "code": "%RESPONSE_CODE%",
        "path": "%REQ(:PATH)%",
        "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "flags": "%RESPONSE_FLAGS%",
        "mixed": "a \"%REQ(X-BAD)%\" %UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "sans": "%DOWNSTREAM_PEER_URI_SAN%",
        "labels": {"app": "x", "n": 3, "list": ["%PROTOCOL%", true]},
        "time": "%START_TIME%",
    }) else {
        unreachable!("the literal is an object");
    };
    let format = Format::json(&map).expect("it compiles");
    let text = line(&format, &headers(&[("x-bad", b"q\"\\\xff\t")]));
    assert!(text.ends_with("}\n"), "{text}");
    let found: Json = serde_json::from_str(&text).expect("valid JSON");
    assert_eq!(
        found,
        json!({
            "code": 200,
            "path": "/reviews/0?u=x",
            "failure": null,
            "flags": "-",
            "mixed": "a \"q\"\\\u{fffd}\t\" -",
            "sans": "spiffe://a,spiffe://b",
            "labels": {"app": "x", "n": 3, "list": ["HTTP/2", true]},
            "time": "2016-12-15T16:07:39.001Z",
        })
    );
}

#[test]
fn a_peer_cannot_leave_its_field() {
    let format = Format::text("\"%REQ(X)%\"").expect("it compiles");
    for (sent, written) in [
        (&b"a\" 200 \"b"[..], "\"a\\\" 200 \\\"b\""),
        (b"back\\slash", "\"back\\\\slash\""),
        (b"tab\there", "\"tab\\there\""),
        (b"\xff\xfe", "\"\\xff\\xfe\""),
        ("\u{9b}31m".as_bytes(), "\"\\xc2\\x9b31m\""),
        ("größe".as_bytes(), "\"größe\""),
    ] {
        assert_eq!(line(&format, &headers(&[("x", sent)])), written);
    }
    // Text of our own may quote what a peer sent (TLS errors do), and an SNI is a peer's.
    let format = Format::text("%UPSTREAM_TRANSPORT_FAILURE_REASON%").expect("it compiles");
    let mut flow = flow();
    flow.upstream.transport_failure = Some("bad\nline\x1b[0m\x7f".into());
    let mut out = Vec::new();
    format.write_tcp(&conn(), &flow, &mut out);
    assert_eq!(out, b"bad\\nline\\x1b[0m\\x7f");
}

#[test]
fn only_what_is_named_is_copied() {
    let format = Format::text("%REQ(A)% %REQ(B?A)% %RESP(C)%").expect("it compiles");
    let mut captured = Captured::default();
    format.capture_request(&headers(&[("a", b"1"), ("z", b"2")]), &mut captured);
    assert_eq!(captured.request.len(), 2);
    assert!(captured.response.is_empty());
}

#[test]
fn lines_reach_the_reader_in_order() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let sink = Sink::start(Target::Fd(OwnedFd::from(writer)), Counter::detached()).expect("a thread");
    let format = Format::text("%CONNECTION_ID%\n").expect("it compiles");
    let mut log = sink.writer();
    for id in 0..10 {
        log.tcp(&format, &ConnFacts { id, ..conn() }, &flow());
    }
    log.flush();
    assert!(sink.flush(Duration::from_secs(10)));
    log.tcp(&format, &ConnFacts { id: 10, ..conn() }, &flow());
    drop((log, sink)); // the last writer flushes, the thread ends and closes the pipe
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("the writer closed it");
    assert_eq!(text, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
}

#[test]
fn a_stopped_reader_costs_lines_and_no_time() {
    let metrics = Metrics::new(Limits::default());
    let dropped = metrics.counter(super::DROPPED_METRIC, &[]);
    let (mut reader, writer) = pipe().expect("a pipe");
    let sink = Sink::start(Target::Fd(OwnedFd::from(writer)), dropped.clone()).expect("a thread");
    let format = Format::text("").expect("the default compiles");
    let (mut log, conn, flow) = (sink.writer(), conn(), flow());
    let mut line = Vec::new();
    format.write_tcp(&conn, &flow, &mut line);

    // Far more than pipe, thread and queue can hold.
    let lines = 4 * (QUEUE_CHUNKS * super::CHUNK_BYTES + 1024 * 1024) / line.len();
    let begun = Instant::now();
    for _ in 0..lines {
        log.tcp(&format, &conn, &flow);
    }
    log.flush();
    assert!(begun.elapsed() < Duration::from_secs(20), "the writer waited for the reader");
    assert!(!sink.flush(Duration::ZERO), "nothing can be flushed to a reader that stopped");
    assert!(dropped.value() > 0);

    // When the reader comes back, exactly the lines that were not dropped are there, each whole.
    drop((log, sink));
    let mut text = Vec::new();
    reader.read_to_end(&mut text).expect("the thread closes the pipe");
    assert_eq!(text.len() % line.len(), 0);
    assert_eq!((text.len() / line.len()) as u64 + dropped.value(), lines as u64);
    assert!(text.chunks(line.len()).all(|found| found == line));
}

#[test]
fn a_closed_reader_counts_as_dropped() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let dropped = Metrics::new(Limits::default()).counter(super::DROPPED_METRIC, &[]);
    let sink = Sink::start(Target::Fd(OwnedFd::from(writer)), dropped.clone()).expect("a thread");
    let mut log = sink.writer();
    log.tcp(&Format::text("x\n").expect("it compiles"), &conn(), &flow());
    drop(log);
    assert!(sink.flush(Duration::from_secs(10)));
    assert_eq!(dropped.value(), 1);
}
