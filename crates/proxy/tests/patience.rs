//! Clients that take their time: dribbled heads, silence, heads that are too large, bodies that stop.

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use common::{
    Mesh, ask, connect, eventually,
    h2raw::{self, GOAWAY, HEADERS},
    peer::{self, Client},
    wire,
};

/// Times are counted in ticks of 250 ms; a limit is never early, and at most two ticks late plus scheduling.
const HEADERS_MILLIS: u32 = 1000;

/// Reads to the end of the connection and returns what came.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "a reset is an end too, silence is not");
    }
    bytes
}

#[test]
fn slowloris_is_cut_and_others_are_served() {
    let mesh = Mesh::with(1, |manager| manager.request_headers_timeout = Some(wire::millis(HEADERS_MILLIS)), |_| {});
    let started = Instant::now();
    let mut slow: Vec<TcpStream> = (0..50).map(|_| connect(mesh.port)).collect();
    let heads: [&[u8]; 4] = [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: a\r\nx-a: ", b"PRI * HT"];
    for (n, stream) in slow.iter_mut().enumerate() {
        stream.write_all(heads[n % heads.len()]).expect("sent");
    }
    // One more byte now and then does not buy time.
    let mut served = 0;
    eventually("the slow ones closed", || {
        for stream in &mut slow {
            stream.write_all(b"x").ok();
        }
        peer::block(async {
            let answer = Client::open(mesh.port, false).await.get("/h1/hello").await.expect("an answer");
            assert_eq!(answer.status, 200);
        });
        served += 1;
        mesh.proxy.connections().iter().filter(|c| c["requests"] == 0).count() == 0
    });
    assert!(started.elapsed() >= Duration::from_millis(u64::from(HEADERS_MILLIS)), "{:?}", started.elapsed());
    for stream in &mut slow {
        rest(stream);
    }
    println!("{served} requests of others were served meanwhile");
}

/// A connection that asks for nothing ends after the idle time; one over which requests go stays.
#[test]
fn idle_connections_end() {
    let idle = |manager: &mut wire::HttpConnectionManager| {
        manager.common_http_protocol_options.get_or_insert_default().idle_timeout = Some(wire::millis(1000));
    };
    let mesh = Mesh::with(1, idle, |_| {});
    let started = Instant::now();
    let mut mute = connect(mesh.port);
    let mut once = connect(mesh.port);
    assert!(ask(&mut once, b"GET /h1/hello HTTP/1.1\r\nhost: a\r\n\r\n").starts_with("HTTP/1.1 200"));
    let mut http2 = h2raw::open(mesh.port, &[]);
    http2.write_all(&h2raw::request(1, &h2raw::get("/h1/hello"))).expect("sent");
    h2raw::read_until(&mut http2, &[HEADERS]).expect("an answer");
    rest(&mut mute);
    rest(&mut once);
    assert!(h2raw::read_until(&mut http2, &[GOAWAY]).is_some(), "HTTP/2 is told before it is closed");
    rest(&mut http2);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}

/// A body that stops in the middle is given up after the stream's idle time.
#[test]
fn a_stalled_body_ends() {
    let idle = |manager: &mut wire::HttpConnectionManager| manager.stream_idle_timeout = Some(wire::millis(1000));
    let mesh = Mesh::with(1, idle, |_| {});
    let started = Instant::now();
    let mut stream = connect(mesh.port);
    stream.write_all(b"POST /h1/sink HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345").expect("sent");
    rest(&mut stream);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn heads_that_are_too_large_get_431() {
    let mesh = Mesh::start(1);
    let many = "x-a: b\r\n".repeat(101);
    let long = format!("x-a: {}\r\n", "b".repeat(61 * 1024));
    for (name, fields) in [("lines", many), ("bytes", long)] {
        let request = format!("GET /h1/hello HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
        let answer = ask(&mut connect(mesh.port), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 431"), "{name}: {answer:?}");
    }
    peer::block(async {
        let mut client = Client::open(mesh.port, true).await;
        let mut many = client.request(http::Method::GET, "/h1/hello");
        for _ in 0..101 {
            many = many.header("x-a", "b");
        }
        let answer = client.call(many.body(peer::empty()).expect("valid")).await.expect("an answer");
        assert_eq!(answer.status, 431);
        assert_eq!(client.get("/h1/hello").await.expect("the connection goes on").status, 200);
    });
    assert!(mesh.http1.seen("hello").len() == 1);
}
