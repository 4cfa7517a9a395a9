//! TCP: half-close, servers that speak first, and the detection that never guesses by the clock.

mod common;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use common::{PATIENCE, Plane, Proxy, ask, connect, peer::Backend, port, wire};

/// A server that runs `serve` on each connection.
fn server(serve: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

struct Bench {
    plane: Plane,
    proxy: Proxy,
    port: u16,
}

/// A listener for `serve` behind it as TCP; `sniffing`, HTTP goes to `http` instead.
fn bench(serve: fn(TcpStream), http: Option<&Backend>) -> Bench {
    let plane = Plane::start();
    let proxy = Proxy::start(&plane, 1);
    let port = port();
    let mut resources = vec![wire::cluster("tcp", false), wire::endpoints("tcp", &[server(serve)])];
    match http {
        None => resources.push(wire::tcp(port, "tcp")),
        Some(http) => resources.extend([
            wire::cluster("http", false),
            wire::endpoints("http", &[http.port]),
            wire::sniffing(port, "tcp"),
            wire::routes("http", |_| {}),
        ]),
    }
    plane.put(resources);
    Bench { plane, proxy, port }
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("closed in order");
    text
}

/// Answers what it read when the client has closed its side.
fn answer_after_the_end(mut stream: TcpStream) {
    let mut text = String::new();
    stream.read_to_string(&mut text).ok();
    stream.write_all(text.to_uppercase().as_bytes()).ok();
}

#[test]
fn the_client_closes_its_side_first() {
    for sniffing in [false, true] {
        let http = Backend::start(false);
        let bench = bench(answer_after_the_end, sniffing.then_some(&http));
        let mut stream = connect(bench.port);
        stream.write_all(b"some words\n").expect("sent");
        stream.shutdown(Shutdown::Write).expect("half closed");
        assert_eq!(read_all(&mut stream), "SOME WORDS\n", "sniffing {sniffing}");
    }
}

/// Speaks, closes its side, and keeps on reading.
fn farewell_first(mut stream: TcpStream) {
    stream.write_all(b"bye").ok();
    stream.shutdown(Shutdown::Write).ok();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok();
    LAST_WORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_str(&text);
}

static LAST_WORDS: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());

#[test]
fn the_server_closes_its_side_first() {
    let bench = bench(farewell_first, None);
    let mut stream = connect(bench.port);
    assert_eq!(read_all(&mut stream), "bye");
    stream.write_all(b"still here").expect("sent after the server's end");
    stream.shutdown(Shutdown::Write).expect("half closed");
    common::eventually("the client's words", || {
        *LAST_WORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner) == "still here"
    });
    common::eventually("the connection gone", || bench.proxy.connections().is_empty());
}

fn greet(mut stream: TcpStream) {
    stream.write_all(b"220 ready\r\n").ok();
    let mut command = [0; 6];
    if stream.read_exact(&mut command).is_ok() {
        stream.write_all(b"221 ").ok();
        stream.write_all(&command).ok();
    }
}

#[test]
fn a_server_that_speaks_first_through_detection() {
    let http = Backend::start(false);
    let bench = bench(greet, Some(&http));
    let mut stream = connect(bench.port);
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting).expect("the greeting, though the client is silent");
    assert_eq!(&greeting, b"220 ready\r\n");
    stream.write_all(b"QUIT\r\n").expect("sent");
    assert_eq!(read_all(&mut stream), "221 QUIT\r\n");
}

/// Reads for ever.
fn listen_only(mut stream: TcpStream) {
    let mut buffer = [0; 100];
    while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
}

/// The first byte comes after two seconds, the rest of the line later still: it is HTTP all the same, and its routes hold.
#[test]
fn late_http_is_http() {
    let http = Backend::start(false);
    let bench = bench(listen_only, Some(&http));
    let mut stream = connect(bench.port);
    let connected = Instant::now();
    common::eventually("two seconds of silence", || connected.elapsed() >= Duration::from_secs(2));
    stream.write_all(b"G").expect("sent");
    let answer = ask(&mut stream, b"ET /x/hello HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(http.seen("hello").len(), 1);
}

/// The server closes without a word while the client is silent: still HTTP when it speaks.
#[test]
fn http_after_the_speculative_server_has_gone() {
    let http = Backend::start(false);
    let bench = bench(drop, Some(&http));
    let mut stream = connect(bench.port);
    let connected = Instant::now();
    common::eventually("a moment of silence", || connected.elapsed() >= Duration::from_millis(300));
    let answer = ask(&mut stream, b"GET /x/hello HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn bytes_that_are_no_http_are_tcp() {
    let http = Backend::start(false);
    let bench = bench(answer_after_the_end, Some(&http));
    for bytes in [&b"\x00\x01\x02"[..], b"\x16\x03not tls", b"hello there\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G"] {
        let mut stream = connect(bench.port);
        stream.write_all(bytes).expect("sent");
        stream.shutdown(Shutdown::Write).expect("half closed");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("closed in order");
        assert_eq!(answer.len(), bytes.len(), "{bytes:?}: {answer:?}");
    }
    assert!(http.seen("").is_empty());
}

/// A server that resets, and one that is not there, are a reset for the client, not an orderly end.
#[test]
fn nobody_there_is_a_reset() {
    let bench = bench(drop, None);
    bench.plane.put(vec![wire::endpoints("tcp", &[port()])]);
    let mut stream = connect(bench.port);
    let error = stream.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// 50 MB through the pump, both ways at once.
#[test]
fn much_data() {
    const BYTES: usize = 50_000_000;
    fn echo(mut stream: TcpStream) {
        let mut reader = stream.try_clone().expect("a second handle");
        std::io::copy(&mut reader, &mut stream).ok();
    }
    let bench = bench(echo, None);
    let mut stream = connect(bench.port);
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let mut writer = stream.try_clone().expect("a second handle");
    let writing = std::thread::spawn(move || {
        let piece = vec![b'x'; 100_000];
        for _ in 0..BYTES / piece.len() {
            writer.write_all(&piece).expect("sent");
        }
        writer.shutdown(Shutdown::Write).expect("half closed");
    });
    let received = std::io::copy(&mut stream, &mut std::io::sink()).expect("closed in order");
    writing.join().expect("written");
    assert_eq!(received, BYTES as u64);
}
