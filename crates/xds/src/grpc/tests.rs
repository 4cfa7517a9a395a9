//! Framing, statuses and tokens on the wire.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tonic::Status;

use super::{Framed, bearer, refusal, reply, response_body, to_headers};

#[tokio::test]
async fn pieces_are_sent_as_they_are_behind_one_prefix() {
    let (sender, body) = response_body();
    let shared = Bytes::from_static(b"shared by many");
    let pieces = [Bytes::from_static(b"own "), Bytes::new(), shared.clone()];
    sender.send(Framed::new(pieces)).await.expect("open");
    tokio::spawn(async move { sender.end(Status::resource_exhausted("enough")).await });
    let mut frames = Vec::new();
    let mut body = body;
    let trailers = loop {
        let frame = body.frame().await.expect("no end before the trailers").expect("no error");
        match frame.into_data() {
            Ok(data) => frames.push(data),
            Err(frame) => break frame.into_trailers().expect("data or trailers"),
        }
    };
    assert_eq!(frames, [&b"\0\0\0\0\x12"[..], b"own ", b"shared by many"]);
    assert_eq!(frames[2].as_ptr(), shared.as_ptr());
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"8".parse().expect("a value"), &"enough".parse().expect("a value"))
    );
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_refusal_is_headers_alone() {
    let response = refusal(&Status::permission_denied("not you"));
    assert_eq!(response.headers()["grpc-status"], "7");
    assert!(response.body().is_end_stream());
    let answer = reply(&String::from("text"));
    assert!(!answer.body().is_end_stream());
    let collected = answer.into_body().collect().await.expect("no error");
    assert_eq!(
        collected.trailers().map(|trailers| trailers["grpc-status"].clone()),
        Some("0".parse().expect("a value"))
    );
}

#[test]
fn a_status_cannot_break_headers() {
    for message in ["a\r\nb: c", "\0", "\u{e4}", "x".repeat(10_000).as_str()] {
        let headers = to_headers(&Status::internal(message));
        assert_eq!(headers["grpc-status"], "13");
        assert!(!headers.contains_key("b"));
    }
}

#[test]
fn bearer_tokens() {
    for (value, token) in [
        (Some("Bearer abc"), Some("abc")),
        (Some("bearer  abc "), Some("abc")),
        (Some("Basic abc"), None),
        (Some("Bearer"), None),
        (None, None),
    ] {
        let headers: HeaderMap =
            value.iter().map(|value| (http::header::AUTHORIZATION, value.parse().expect("a value"))).collect();
        assert_eq!(bearer(&headers), token, "{value:?}");
    }
}
