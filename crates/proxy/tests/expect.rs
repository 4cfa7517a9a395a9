//! `Expect: 100-continue` is end to end on HTTP/1, and HTTP/1.0 clients are served (RFC 9110 §10.1.1, RFC 9112 §9.3).

mod common;

use std::io::{Read, Write};

use common::{Plane, Proxy, RawServer, ask, connect, eventually, port, wire};

struct Bench {
    _plane: Plane,
    _proxy: Proxy,
    server: RawServer,
    port: u16,
}

fn bench(answer: &'static [u8]) -> Bench {
    let plane = Plane::start();
    let proxy = Proxy::start(&plane, 1);
    let (server, port) = (RawServer::start(answer), port());
    plane.put(wire::gateway(port, &[server.port]));
    Bench { _plane: plane, _proxy: proxy, server, port }
}

const ASKING: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";

#[test]
fn the_servers_100_releases_the_body() {
    // The server says 100 to the head; its second piece, after the body, is of no interest.
    let bench = bench(b"HTTP/1.1 100 Continue\r\n\r\n");
    let mut stream = connect(bench.port);
    let answer = ask(&mut stream, ASKING);
    assert!(answer.starts_with("HTTP/1.1 100"), "{answer:?}");
    assert!(bench.server.text().contains("expect: 100-continue"), "{}", bench.server.text());
    assert!(!bench.server.text().contains("BODY"));
    stream.write_all(b"BODY").expect("sent");
    eventually("the body at the server", || bench.server.text().ends_with("BODY"));
}

#[test]
fn a_final_answer_is_passed_on_and_the_body_is_not_asked_for() {
    let bench = bench(b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno");
    let mut stream = connect(bench.port);
    let answer = ask(&mut stream, ASKING);
    assert!(answer.starts_with("HTTP/1.1 417"), "{answer:?}");
    // Nobody asked for the body; what follows cannot be told from it, so the connection ends.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("closed in order");
    assert!(!bench.server.text().contains("BODY"));
}

#[test]
fn a_final_answer_with_a_long_body_arrives_whole() {
    static ANSWER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let mut answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: 300000\r\n\r\n".to_vec();
        answer.resize(answer.len() + 300_000, b'x');
        answer
    });
    let bench = bench(&ANSWER);
    let mut stream = connect(bench.port);
    stream.write_all(ASKING).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("closed in order");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 413"), "{}", &text[..100.min(text.len())]);
    assert!(text.ends_with(&"x".repeat(300_000)), "{} bytes", answer.len());
}

#[test]
fn another_expectation_goes_to_the_server() {
    let bench = bench(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let answer = ask(&mut connect(bench.port), b"GET / HTTP/1.1\r\nhost: a\r\nexpect: a-miracle\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(bench.server.text().contains("expect: a-miracle"), "{}", bench.server.text());
}

#[test]
fn http_1_0_gets_a_plain_body_and_a_close() {
    let bench = bench(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let mut stream = connect(bench.port);
    stream.write_all(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("closed in order");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.0 200") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(body, "hello");
    assert!(bench.server.text().contains("GET / HTTP/1.1\r\n"), "{}", bench.server.text());
}

#[test]
fn http_1_0_that_asks_for_it_is_kept_alive() {
    let bench = bench(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let mut stream = connect(bench.port);
    for _ in 0..2 {
        let answer = ask(&mut stream, b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("connection: keep-alive"), "{answer:?}");
        if !answer.ends_with("hello") {
            stream.read_exact(&mut [0; 5]).expect("the body");
        }
    }
}

#[test]
fn informational_answers_do_not_end_the_request() {
    let bench = bench(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let answer = ask(&mut connect(bench.port), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}
