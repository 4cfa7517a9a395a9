//! Timeouts and retries, over every pair of versions.

mod common;

use std::time::{Duration, Instant};

use common::{
    Mesh, Plane, Proxy, RawServer,
    peer::{self, Answer, Client},
    port, wire,
};
use http::Method;

const PAIRS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

fn path(up: bool, what: &str, down: bool) -> String {
    format!("/{}/{what}/{}", if up { "h2" } else { "h1" }, u8::from(down) + 1)
}

async fn post(mesh: &Mesh, (down, up): (bool, bool), what: &str, bytes: usize) -> Answer {
    let mut client = Client::open(mesh.port, down).await;
    let request =
        client.request(Method::POST, &path(up, what, down)).body(peer::full(vec![b'a'; bytes])).expect("valid");
    client.call(request).await.expect("an answer")
}

#[test]
fn the_routes_timeout_gives_504_and_not_before() {
    let mesh = Mesh::with(1, |_| {}, |action| action.timeout = Some(wire::millis(300)));
    for (down, up) in PAIRS {
        peer::block(async {
            let mut client = Client::open(mesh.port, down).await;
            let started = Instant::now();
            let answer = client.get(&path(up, "hang", down)).await.expect("an answer");
            assert_eq!((answer.status, &*answer.body), (504, &b"upstream request timeout"[..]));
            assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
            // The connection goes on.
            assert_eq!(client.get(&path(up, "hello", down)).await.expect("an answer").status, 200);
        });
    }
}

/// It covers the whole response: one that stays away in the middle is broken off, never passed as complete.
#[test]
fn the_routes_timeout_covers_the_body() {
    let mesh = Mesh::with(1, |_| {}, |action| action.timeout = Some(wire::millis(300)));
    for (down, up) in PAIRS {
        peer::block(async {
            let mut client = Client::open(mesh.port, down).await;
            let request = client.request(Method::GET, &path(up, "stall", down)).body(peer::empty()).expect("valid");
            let response = client.send(request).await.expect("a head");
            assert_eq!(response.status(), 200);
            let broken = peer::whole(response).await;
            assert!(broken.is_err(), "{broken:?}");
        });
    }
}

#[test]
fn each_try_has_its_time() {
    let policy = |action: &mut wire::RouteAction| {
        action.retry_policy = Some(wire::retry("gateway-error", 2, |p| p.per_try_timeout = Some(wire::millis(200))));
    };
    let mesh = Mesh::with(1, |_| {}, policy);
    for (down, up) in PAIRS {
        peer::block(async {
            let answer = post(&mesh, (down, up), "late/1", 100).await;
            assert_eq!(answer.status, 200, "the second try answers");
            let started = Instant::now();
            let answer = post(&mesh, (down, up), "late/9", 100).await;
            assert_eq!(answer.status, 504);
            assert!(started.elapsed() >= Duration::from_millis(600), "{:?}", started.elapsed());
        });
        assert_eq!(mesh.backend(up).seen(&path(up, "late/9", down)).len(), 3, "one try and two retries");
    }
}

/// A body of up to 64 KiB is kept and sent again; a larger one passes once.
#[test]
fn retriable_statuses_and_replayed_bodies() {
    let policy = |action: &mut wire::RouteAction| action.retry_policy = Some(wire::retry("5xx", 2, |_| {}));
    let mesh = Mesh::with(1, |_| {}, policy);
    for pair in PAIRS {
        let (down, up) = pair;
        peer::block(async {
            for bytes in [0, 1, 1000, 64 * 1024] {
                let what = format!("flaky/2/{bytes}");
                let answer = post(&mesh, pair, &what, bytes).await;
                assert_eq!((answer.status, &*answer.body), (200, bytes.to_string().as_bytes()), "{pair:?}");
                assert_eq!(mesh.backend(up).seen(&path(up, &what, down)).len(), 3, "{pair:?}");
            }
            let answer = post(&mesh, pair, "flaky/2/large", 64 * 1024 + 1).await;
            assert_eq!(answer.status, 503);
            assert_eq!(mesh.backend(up).seen(&path(up, "flaky/2/large", down)).len(), 1, "{pair:?}");
            let answer = post(&mesh, pair, "flaky/9", 10).await;
            assert_eq!(answer.status, 503, "the last answer is the client's when retries are over");
            assert_eq!(mesh.backend(up).seen(&path(up, "flaky/9", down)).len(), 3, "{pair:?}");
        });
    }
}

#[test]
fn a_dead_endpoint_is_passed_over() {
    let plane = Plane::start();
    let proxy = Proxy::start(&plane, 1);
    let (alive, dead, port) = (peer::Backend::start(false), port(), port());
    let policy =
        |action: &mut wire::RouteAction| action.retry_policy = Some(wire::retry("connect-failure", 2, wire::elsewhere));
    plane.put(vec![
        wire::cluster("backend", false),
        wire::endpoints("backend", &[dead, alive.port]),
        wire::listener(port, |_| {}),
        wire::routes("backend", policy),
    ]);
    common::connect(port);
    peer::block(async {
        let mut client = Client::open(port, false).await;
        for n in 0..20 {
            let request = client.request(Method::POST, "/x/sink").body(peer::full("0123456789")).expect("valid");
            assert_eq!(client.call(request).await.expect("an answer").status, 200, "request {n}");
        }
    });
    assert_eq!(alive.seen("sink").len(), 20);
    drop(proxy);
}

/// A server that closes idle connections: a request on one that is just going away is sent again on another, unseen by
/// the client and without a retry policy, because nothing of it was taken.
#[test]
fn a_stale_connection_costs_nothing() {
    let plane = Plane::start();
    let proxy = Proxy::start(&plane, 1);
    let server = RawServer::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    let port = port();
    plane.put(wire::gateway(port, &[server.port]));
    common::connect(port);
    peer::block(async {
        let mut client = Client::open(port, false).await;
        for _ in 0..20 {
            assert_eq!(client.get("/").await.expect("an answer").status, 200);
        }
    });
    drop(proxy);
}

#[test]
fn nobody_there() {
    let plane = Plane::start();
    let proxy = Proxy::start(&plane, 1);
    let (dead, port) = (port(), port());
    plane.put(wire::gateway(port, &[dead]));
    common::connect(port);
    peer::block(async {
        for down in [false, true] {
            let answer = Client::open(port, down).await.get("/").await.expect("an answer");
            assert_eq!(answer.status, 503);
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(text.starts_with("upstream connect error or disconnect/reset before headers"), "{text}");
        }
    });
    drop(proxy);
}
