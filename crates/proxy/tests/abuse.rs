//! HTTP/2 peers that mean harm: the connection ends or the stream does, memory and processor time stay bounded, and other
//! clients are served. One line of the security checklist's "HTTP/2 denial of service" each.

mod common;

use std::{
    io::{ErrorKind, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use common::{
    Mesh, PATIENCE, Plane, Proxy, connect, eventually,
    h2raw::{
        self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
        SETTINGS_INITIAL_WINDOW_SIZE, SETTINGS_MAX_CONCURRENT_STREAMS, WINDOW_UPDATE, frame,
    },
    peer::{self, Client},
    port, wire,
};

/// What the proxy may grow by while it is attacked.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

/// Writes until all is written or the other side has closed; whether it has. An attacker does not read: a side that stops
/// taking bytes, because its answers are not read, has defended itself too.
fn flood(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    match stream.write_all(bytes) {
        Ok(()) => false,
        Err(error) => {
            let known = [
                ErrorKind::BrokenPipe,
                ErrorKind::ConnectionReset,
                ErrorKind::ConnectionAborted,
                ErrorKind::WouldBlock,
                ErrorKind::TimedOut,
            ];
            assert!(known.contains(&error.kind()), "{error}");
            true
        }
    }
}

/// Runs an attack, and checks what it cost.
fn attacked(name: &str, mesh: &Mesh, attack: impl FnOnce(&mut TcpStream)) {
    let before = mesh.proxy.memory_kib("VmRSS");
    let cpu = mesh.proxy.cpu();
    let mut stream = h2raw::open(mesh.port, &[]);
    attack(&mut stream);
    served(mesh, name);
    let grown = mesh.proxy.memory_kib("VmRSS").saturating_sub(before);
    println!("{name}: {grown} KiB, {:?} of processor time", mesh.proxy.cpu().saturating_sub(cpu));
    assert!(grown <= GROWTH_KIB_MAX, "{name}: grew by {grown} KiB");
    drop(stream);
    eventually("the attacker's connection forgotten", || mesh.proxy.connections().is_empty());
}

/// Another client has its answer.
fn served(mesh: &Mesh, name: &str) {
    peer::block(async {
        let answer = Client::open(mesh.port, true).await.get("/h2/hello").await;
        assert_eq!(answer.unwrap_or_else(|error| panic!("{name}: {error}")).status, 200);
    });
}

#[test]
fn floods() {
    let mesh = Mesh::start(1);
    served(&mesh, "before");
    attacked("rapid reset", &mesh, |stream| {
        let mut bytes = Vec::new();
        for n in 0..20_000 {
            let id = 2 * n + 1;
            bytes.extend(h2raw::request(id, &h2raw::get("/h2/hang")));
            bytes.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        }
        flood(stream, &bytes);
        assert!(closed(stream), "rapid reset ends the connection");
    });
    attacked("CONTINUATION flood", &mesh, |stream| {
        let mut bytes = frame(HEADERS, END_STREAM, 1, &h2raw::block(&h2raw::get("/h2/hello")));
        let piece = frame(CONTINUATION, 0, 1, &h2raw::block(&[("x-a", &"b".repeat(8000))]));
        for _ in 0..4000 {
            bytes.extend(&piece);
        }
        flood(stream, &bytes);
        assert!(closed(stream), "a head of 32 MB ends the connection");
    });
    attacked("empty CONTINUATION flood", &mesh, |stream| {
        let mut bytes = frame(HEADERS, END_STREAM, 1, &h2raw::block(&h2raw::get("/h2/hello")));
        bytes.extend(frame(CONTINUATION, 0, 1, &[]).repeat(100_000));
        flood(stream, &bytes);
        assert!(closed(stream), "100,000 empty frames end the connection");
    });
    for (name, one) in [
        ("PING flood", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS flood", h2raw::settings(&[(SETTINGS_INITIAL_WINDOW_SIZE, 65_535)])),
        ("PRIORITY flood", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0])),
    ] {
        attacked(name, &mesh, |stream| {
            flood(stream, &one.repeat(300_000));
        });
    }
    attacked("empty DATA flood", &mesh, |stream| {
        let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "mesh.test"), (":path", "/h2/sink")];
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &h2raw::block(&fields));
        bytes.extend(frame(DATA, 0, 1, &[]).repeat(300_000));
        flood(stream, &bytes);
    });
}

/// Frames for a stream.
type Frames = fn(u32) -> Vec<u8>;

/// Frames that are errors of their stream, so that the proxy resets it: more than it will count, and the connection ends.
#[test]
fn made_to_reset() {
    let mesh = Mesh::start(1);
    served(&mesh, "before");
    let errors: [(&str, Frames); 3] = [
        ("WINDOW_UPDATE of nothing", |id| frame(WINDOW_UPDATE, 0, id, &[0; 4])),
        ("WINDOW_UPDATE over the top", |id| frame(WINDOW_UPDATE, 0, id, &0x7fff_ffff_u32.to_be_bytes())),
        ("DATA after the end", |id| frame(DATA, 0, id, b"more")),
    ];
    for (name, error) in errors {
        attacked(name, &mesh, |stream| {
            let mut bytes = Vec::new();
            for n in 0..5000 {
                let id = 2 * n + 1;
                bytes.extend(h2raw::request(id, &h2raw::get("/h2/hang")));
                bytes.extend(error(id));
            }
            flood(stream, &bytes);
            assert!(closed(stream), "{name}");
        });
    }
}

/// Whether the other side ends the connection, with a GOAWAY or without.
fn closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    loop {
        match h2raw::read(stream) {
            None => return true,
            Some(frame) if frame.kind == GOAWAY => return true,
            Some(_) => {}
        }
    }
}

/// Few bytes on the wire, many when decoded: the decoded size counts, cookie crumbs and repeated hosts included.
#[test]
fn header_bombs() {
    let mesh = Mesh::start(1);
    served(&mesh, "before");
    for name in ["x-bomb", "cookie", "host"] {
        let mut block = h2raw::block(&h2raw::get("/h1/hello/bomb"));
        // Literal with incremental indexing, then references to the dynamic table's newest entry (RFC 7541 §6.1, §6.2.1).
        block.push(0x40);
        h2raw::string(&mut block, name.as_bytes());
        h2raw::string(&mut block, "b".repeat(3000).as_bytes());
        block.resize(block.len() + 10_000, 0xbe);
        attacked(name, &mesh, |stream| {
            stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).expect("sent");
            // 431, or the end of the stream or connection.
            h2raw::read_until(stream, &[HEADERS, RST_STREAM, GOAWAY]);
        });
    }
    assert!(mesh.http1.seen("bomb").is_empty());
}

/// Malformed requests (RFC 9113 §8) reach no server.
#[test]
fn malformed_heads() {
    let good = h2raw::get("/h1/hello/bad");
    let without = |name: &str| good.iter().filter(|field| field.0 != name).copied().collect::<Vec<_>>();
    let with = |field| [&good[..], &[field]].concat();
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("CR in a value", with(("x-a", "b\rc"))),
        ("LF in a value", with(("x-a", "b\nevil: 1"))),
        ("NUL in a value", with(("x-a", "b\0c"))),
        ("upper case name", with(("X-A", "b"))),
        ("space in a name", with(("x a", "b"))),
        ("colon in a name", with(("x:a", "b"))),
        ("CR LF in a name", with(("x\r\na", "b"))),
        ("empty name", with(("", "b"))),
        ("connection", with(("connection", "close"))),
        ("transfer-encoding", with(("transfer-encoding", "chunked"))),
        ("te", with(("te", "gzip"))),
        ("no path", without(":path")),
        ("no method", without(":method")),
        ("no authority", without(":authority")),
        ("two paths", with((":path", "/h1/admin"))),
        ("late pseudo-header", [&[("x-a", "b")][..], &good[..]].concat()),
        ("unknown pseudo-header", with((":evil", "1"))),
        ("status in a request", with((":status", "200"))),
        ("length without a body", with(("content-length", "5"))),
        ("length that is none", with(("content-length", "+0"))),
        ("path with a space", [&without(":path")[..], &[(":path", "/h1/hello/bad /x")]].concat()),
        ("path with CR LF", [&without(":path")[..], &[(":path", "/h1/hello/bad\r\nx: y")]].concat()),
        ("path without a slash", [&without(":path")[..], &[(":path", "h1/hello/bad")]].concat()),
        ("authority with a user", [&without(":authority")[..], &[(":authority", "a@b")]].concat()),
        ("two hosts for an authority", [&without(":authority")[..], &[("host", "a"), ("host", "b")]].concat()),
    ];
    let mesh = Mesh::start(1);
    for (name, fields) in cases {
        let mut stream = h2raw::open(mesh.port, &[]);
        stream.write_all(&h2raw::request(1, &fields)).expect("sent");
        // What comes first is what became of it: 400 (`:status` 400 is entry 12 of the static table), or the end of it.
        if let Some(answer) = h2raw::read_until(&mut stream, &[HEADERS, RST_STREAM, GOAWAY]) {
            assert!(answer.kind != HEADERS || answer.payload[0] == 0x8c, "{name}: {answer:?}");
        }
        assert!(mesh.http1.seen("").is_empty(), "{name}: {:?}", mesh.http1.seen(""));
    }
}

/// Forms that have one meaning are forwarded with it, to HTTP/1 as to HTTP/2.
#[test]
fn one_meaning() {
    let mesh = Mesh::start(1);
    for up in [false, true] {
        let path = format!("/h{}/hello", u8::from(up) + 1);
        let fields =
            [(":method", "GET"), (":scheme", "HTTP"), (":authority", "mesh.test"), (":path", &*path), ("host", "evil")];
        let mut stream = h2raw::open(mesh.port, &[]);
        stream.write_all(&h2raw::request(1, &fields)).expect("sent");
        assert!(h2raw::read_until(&mut stream, &[HEADERS, GOAWAY]).is_some_and(|answer| answer.kind == HEADERS));
        let seen = mesh.backend(up).seen("hello");
        let hosts: Vec<_> = seen[0].headers.get_all("host").iter().filter_map(|host| host.to_str().ok()).collect();
        // HTTP/2's authority is in the URI.
        assert_eq!(hosts, if up { vec![] } else { vec!["mesh.test"] });
        assert!(seen[0].headers.keys().all(|name| name.as_str() == name.as_str().to_ascii_lowercase()));
    }
}

/// A body that is shorter or longer than its length says is never a complete message for the server.
#[test]
fn lengths_that_lie() {
    let mesh = Mesh::start(1);
    for up in [false, true] {
        let path = format!("/h{}/sink", u8::from(up) + 1);
        for body in ["1234", "123456"] {
            let fields = [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "a"),
                (":path", &*path),
                ("content-length", "5"),
            ];
            let mut stream = h2raw::open(mesh.port, &[]);
            stream.write_all(&frame(HEADERS, END_HEADERS, 1, &h2raw::block(&fields))).expect("sent");
            stream.write_all(&frame(DATA, END_STREAM, 1, body.as_bytes())).expect("sent");
            let answer = h2raw::read_until(&mut stream, &[HEADERS, RST_STREAM, GOAWAY]);
            assert!(
                answer.is_none_or(|answer| answer.kind != HEADERS || answer.payload[0] != 0x88),
                "{body} passed as 5 bytes"
            );
        }
    }
}

/// 100 streams whose answers are never read: their upstreams wait, memory stays, and others are served, also over the
/// same upstream connection.
#[test]
fn a_reader_that_does_not_read() {
    for up in [false, true] {
        let mesh = Mesh::start(1);
        served(&mesh, "before");
        let before = mesh.proxy.memory_kib("VmRSS");
        let mut stream = h2raw::open(mesh.port, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0)]);
        let path = format!("/h{}/stream/100000000", u8::from(up) + 1);
        for n in 0..99 {
            stream.write_all(&h2raw::request(2 * n + 1, &h2raw::get(&path))).expect("sent");
        }
        eventually("the requests at the server", || mesh.backend(up).seen("stream").len() == 99);
        for _ in 0..20 {
            served(&mesh, "beside a reader that does not read");
        }
        let grown = mesh.proxy.memory_kib("VmRSS").saturating_sub(before);
        println!("99 unread answers, upstream h2 {up}: {grown} KiB");
        // A stream's window, a send buffer, and what the codec has read.
        assert!(grown <= 99 * 512, "{grown} KiB");
    }
}

/// GOAWAY, then SETTINGS that allow no stream (CVE-2021-32780), from an upstream: the next request goes elsewhere.
#[test]
fn an_upstream_that_goes_away_and_allows_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let upstream = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut preface = [0; 24];
                std::io::Read::read_exact(&mut stream, &mut preface).ok();
                stream.write_all(&h2raw::settings(&[])).ok();
                while let Some(received) = h2raw::read(&mut stream) {
                    if received.kind != HEADERS {
                        continue;
                    }
                    // `:status` 204, then the farewell.
                    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, received.stream, &[0x89])).ok();
                    stream.write_all(&frame(GOAWAY, 0, 0, &[received.stream.to_be_bytes(), [0; 4]].concat())).ok();
                    stream.write_all(&h2raw::settings(&[(SETTINGS_MAX_CONCURRENT_STREAMS, 0)])).ok();
                }
            });
        }
    });
    let plane = Plane::start();
    let (_proxy, port) = (Proxy::start(&plane, 1), port());
    plane.put(vec![
        wire::cluster("backend", true),
        wire::endpoints("backend", &[upstream]),
        wire::listener(port, |_| {}),
        wire::routes("backend", |action| {
            action.timeout = Some(wire::millis(5000));
            // Istio's default among others: what GOAWAY cut off was not taken up.
            action.retry_policy = Some(wire::retry("refused-stream", 2, |_| {}));
        }),
    ]);
    connect(port);
    peer::block(async {
        let mut client = Client::open(port, false).await;
        for _ in 0..20 {
            assert_eq!(client.get("/").await.expect("an answer").status, 204);
        }
    });
}

/// Trailers that do not end their stream (CVE-2026-73513).
#[test]
fn trailers_that_do_not_end() {
    let mesh = Mesh::start(1);
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "mesh.test"), (":path", "/h1/sink")];
    let mut stream = h2raw::open(mesh.port, &[]);
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &h2raw::block(&fields))).expect("sent");
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &h2raw::block(&[("x-a", "b")]))).expect("sent");
    let answer = h2raw::read_until(&mut stream, &[HEADERS, RST_STREAM, GOAWAY]);
    assert!(answer.is_none_or(|answer| answer.kind != HEADERS));
    let acknowledged = frame(SETTINGS, h2raw::ACK, 0, &[]);
    stream.write_all(&acknowledged).ok();
    served(&mesh, "after trailers that do not end");
}
