//! HTTP/1 framing and smuggling, on raw bytes: each ambiguous form is refused with 400, or forwarded as exactly one
//! unambiguous message. One line of the security checklist's first section each.

mod common;

use common::{Plane, Proxy, RawServer, ask, connect, exchange, port, wire};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

struct Bench {
    plane: Plane,
    _proxy: Proxy,
    server: RawServer,
    port: u16,
}

fn bench(answer: &'static [u8]) -> Bench {
    let plane = Plane::start();
    let proxy = Proxy::start(&plane, 1);
    let (server, port) = (RawServer::start(answer), port());
    plane.put(wire::gateway(port, &[server.port]));
    Bench { plane, _proxy: proxy, server, port }
}

impl Bench {
    /// A server that has seen nothing yet, in the place of the last.
    fn renew(&mut self, answer: &'static [u8]) {
        self.server = RawServer::start(answer);
        self.plane.put(vec![wire::endpoints("backend", &[self.server.port])]);
    }
}

/// What may become of a request.
#[derive(Clone, Copy)]
enum Fate {
    /// 400, and not a byte reaches the server.
    Refused,
    /// One message, with this in its head or body, and without that.
    One { with: &'static str, without: &'static str },
    /// The head was right, so the server may see it and may have answered; the message is never completed.
    Broken,
}

use Fate::{Broken, One, Refused};

#[test]
fn ambiguous_requests() {
    let cases: &[(&str, &[u8], Fate)] = &[
        ("CL.TE", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nG", One { with: "transfer-encoding: chunked", without: "content-length" }),
        ("TE.CL", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n1\r\nA\r\n0\r\n\r\n", One { with: "transfer-encoding: chunked", without: "content-length" }),
        ("TE.TE", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n", Refused),
        ("TE unknown", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n", Refused),
        ("TE list", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refused),
        ("TE with a tab", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n", Refused),
        ("two lengths", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nA", Refused),
        ("the same length twice", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nA", One { with: "content-length: 1\r\n", without: "content-length: 1\r\ncontent-length" }),
        ("length list", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\nA", Refused),
        ("length with a sign", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nA", Refused),
        ("length with a space", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1 1\r\n\r\nA", Refused),
        ("empty length", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \r\n\r\nA", Refused),
        ("huge length", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999999\r\n\r\nA", Refused),
        ("TE on HTTP/1.0", b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
        ("no host", b"GET / HTTP/1.1\r\n\r\n", Refused),
        ("two hosts", b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", Refused),
        ("host with a path", b"GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", Refused),
        ("host with a user", b"GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", Refused),
        ("bad chunk extension", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;a=\nA\r\n0\r\n\r\n", Broken),
        ("bytes after the body are the next request", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nAGARBAGE", One { with: "\r\n\r\nA", without: "GARBAGE" }),
        ("absolute form beats host", b"GET http://good/x HTTP/1.1\r\nhost: evil\r\n\r\n", One { with: "host: good", without: "evil" }),
        ("name with a trailing space", b"GET / HTTP/1.1\r\nhost: a\r\nx-a : b\r\n\r\n", Refused),
        ("folded line", b"GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\n c\r\n\r\n", Refused),
        ("NUL in a value", b"GET / HTTP/1.1\r\nhost: a\r\nx-a: b\0c\r\n\r\n", Refused),
        ("bare CR in a value", b"GET / HTTP/1.1\r\nhost: a\r\nx-a: b\rc: d\r\n\r\n", Refused),
        ("control in a value", b"GET / HTTP/1.1\r\nhost: a\r\nx-a: b\x01c\r\n\r\n", Refused),
        ("bare LF ends lines", b"GET /lf HTTP/1.1\nhost: a\n\n", One { with: "GET /lf HTTP/1.1\r\n", without: "HTTP/1.1\n" }),
        ("chunk size overflow", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nA\r\n0\r\n\r\n", Broken),
        ("NUL in the path", b"GET /a%00b HTTP/1.1\r\nhost: a\r\n\r\n", Refused),
        ("hop-by-hop by name", b"GET / HTTP/1.1\r\nhost: a\r\nconnection: x-secret, close\r\nx-secret: 1\r\nkeep-alive: 5\r\n\r\n", One { with: "host: a", without: "x-secret" }),
        ("connection cannot name host", b"GET / HTTP/1.1\r\nhost: a\r\nconnection: host\r\n\r\n", One { with: "host: a", without: "connection" }),
        ("unknown upgrade", b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\nSMUGGLED", Refused),
        ("h2c upgrade is ignored", b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAAA\r\n\r\n", One { with: "host: a", without: "h2c" }),
    ];
    let mut bench = bench(OK);
    for (name, bytes, fate) in cases {
        bench.renew(OK);
        let answer = exchange(bench.port, bytes);
        let status = answer.split(' ').nth(1).unwrap_or("none");
        let seen = bench.server.text();
        match fate {
            Refused => {
                assert!(matches!(status, "400" | "403"), "{name}: {answer:?}, server saw {seen:?}");
                assert!(seen.is_empty(), "{name}: the server saw {seen:?}");
            }
            Broken => {
                assert!(matches!(status, "400" | "200"), "{name}: {answer:?}");
                assert!(!seen.ends_with("0\r\n\r\n"), "{name}: the server saw {seen:?}");
            }
            One { with, without } => {
                assert!(
                    status == "200" || status == "400" && seen.is_empty(),
                    "{name}: {answer:?}, server saw {seen:?}"
                );
                if status == "200" {
                    assert_eq!(seen.matches(" HTTP/1.1\r\n").count(), 1, "{name}: {seen:?}");
                    assert!(seen.contains(with) && !seen.contains(without), "{name}: {seen:?}");
                }
            }
        }
    }
}

#[test]
fn a_switch_of_protocols_needs_a_101() {
    let bench = bench(OK);
    let mut stream = connect(bench.port);
    let request = b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nEARLY-BYTES";
    let answer = ask(&mut stream, request);
    assert!(answer.starts_with("HTTP/1.1 200"), "the server did not switch: {answer}");
    assert!(!bench.server.text().contains("EARLY-BYTES"), "bytes before a 101: {}", bench.server.text());
}

#[test]
fn bytes_flow_both_ways_after_a_101() {
    let bench = bench(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nHELLO");
    let mut stream = connect(bench.port);
    let mut answer =
        ask(&mut stream, b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    if !answer.ends_with("HELLO") {
        let mut frame = [0; 5];
        std::io::Read::read_exact(&mut stream, &mut frame).expect("the server's first frame");
        answer += &String::from_utf8_lossy(&frame);
    }
    assert!(answer.ends_with("HELLO"), "{answer}");
    std::io::Write::write_all(&mut stream, b"after").expect("sent");
    common::eventually("the client's bytes at the server", || bench.server.text().ends_with("after"));
}

#[test]
fn an_unasked_101_is_no_answer() {
    let bench = bench(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    let answer = exchange(bench.port, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer:?}");
}

#[test]
fn responses_that_lie_about_their_length_end_the_connection() {
    let bench = bench(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncontent-length: 20\r\n\r\n0123456789");
    let answer = exchange(bench.port, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer:?}");
}

/// What a server says after it refused to switch is for that client alone, and is no answer to another's request.
#[test]
fn a_failed_upgrade_leaves_nothing_behind() {
    let bench = bench(
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nnoHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nSTALE",
    );
    let upgrade = b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert!(exchange(bench.port, upgrade).starts_with("HTTP/1.1 403"));
    let mut other = connect(bench.port);
    for _ in 0..3 {
        let answer = ask(&mut other, b"GET /other HTTP/1.1\r\nhost: b\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 403") && !answer.contains("STALE"), "{answer:?}");
    }
}
