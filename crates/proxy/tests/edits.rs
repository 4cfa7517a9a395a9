//! Configuration changes under load: no request fails because of one.

mod common;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use common::{
    Plane, Proxy, eventually,
    load::Load,
    peer::{self, Backend, Client},
    port, wire,
};
use http::Method;
use http_body_util::BodyExt;
use mizzen_xds::Kind;

const TIME: Duration = Duration::from_secs(5);
/// 500 a second.
const REQUESTS: u64 = 2500;

/// One load at a time: they share the machine.
static LOAD: Mutex<()> = Mutex::new(());

struct Bench {
    plane: Plane,
    proxy: Proxy,
    a: Backend,
    b: Backend,
    port: u16,
}

fn bench() -> Bench {
    let plane = Plane::start();
    let proxy = Proxy::start(&plane, 2);
    let (a, b, port) = (Backend::start(false), Backend::start(false), port());
    plane.put(vec![
        wire::cluster("a", false),
        wire::cluster("b", false),
        wire::endpoints("a", &[a.port]),
        wire::endpoints("b", &[b.port]),
        wire::listener(port, |_| {}),
        wire::routes("a", |_| {}),
    ]);
    common::connect(port);
    Bench { plane, proxy, a, b, port }
}

/// Each edit is seen in force before the next: the server that the route names has a request.
#[test]
fn routes() {
    let bench = bench();
    let _alone = LOAD.lock().unwrap_or_else(PoisonError::into_inner);
    let load = Load::start(bench.port, "/x/hello", 3);
    for n in 0..50 {
        let (to, server) = if n % 2 == 0 { ("b", &bench.b) } else { ("a", &bench.a) };
        bench.plane.put(vec![wire::routes(to, |_| {})]);
        let before = server.seen("hello").len();
        eventually("the edit's effect", || server.seen("hello").len() > before);
    }
    load.stop(TIME, REQUESTS);
}

/// An endpoint comes and goes; requests on the one that goes are finished.
#[test]
fn endpoints() {
    let bench = bench();
    let _alone = LOAD.lock().unwrap_or_else(PoisonError::into_inner);
    let load = Load::start(bench.port, "/x/hello", 3);
    let (a, b) = (bench.a.port, bench.b.port);
    for ports in [[a].as_slice(), &[a, b], &[b], &[b, a]].iter().cycle().take(60) {
        let before = load.requests();
        bench.plane.put(vec![wire::endpoints("a", ports)]);
        eventually("requests on them", || load.requests() > before + 10);
    }
    load.stop(TIME, REQUESTS);
    assert!(!bench.b.seen("hello").is_empty());
}

/// Clusters are replaced, added and removed, and so are other listeners.
#[test]
fn clusters_and_listeners() {
    let bench = bench();
    let _alone = LOAD.lock().unwrap_or_else(PoisonError::into_inner);
    let load = Load::start(bench.port, "/x/hello", 3);
    let other = port();
    for n in 0..20 {
        let before = load.requests();
        let name = format!("c{n}");
        let server = if n % 2 == 0 { bench.a.port } else { bench.b.port };
        bench.plane.put(vec![wire::cluster(&name, false), wire::endpoints(&name, &[server])]);
        bench.plane.put(vec![wire::routes(&name, |_| {}), wire::listener(other, |_| {})]);
        eventually("requests on it", || load.requests() > before + 10);
        let listener = format!("0.0.0.0_{other}");
        if n > 0 {
            let old = format!("c{}", n - 1);
            bench.plane.edit(vec![], &[(Kind::Listener, &listener), (Kind::Cluster, &old), (Kind::Endpoints, &old)]);
        }
    }
    load.stop(TIME, REQUESTS);
}

/// A change of the listener's own settings is seen by the next request of an open connection.
#[test]
fn listener_settings() {
    let bench = bench();
    let _alone = LOAD.lock().unwrap_or_else(PoisonError::into_inner);
    let load = Load::start(bench.port, "/x/hello", 3);
    peer::block(async {
        let mut client = Client::open(bench.port, false).await;
        for name in ["one", "two", "three"] {
            bench.plane.put(vec![wire::listener(bench.port, |manager| manager.server_name = name.into())]);
            let answer = client.get("/x/hello").await.expect("an answer");
            assert_eq!(answer.headers["server"], name);
        }
    });
    load.stop(TIME, REQUESTS);
}

/// An endpoint is removed while a request is under way on it: the request goes on to its end.
#[test]
fn a_removed_endpoint_finishes_its_requests() {
    let bench = bench();
    for http2 in [false, true] {
        bench.plane.put(vec![wire::endpoints("a", &[bench.a.port])]);
        peer::block(async {
            let mut client = Client::open(bench.port, http2).await;
            let (sender, body) = peer::channel();
            let request = client.request(Method::POST, "/x/echo").body(body).expect("valid");
            sender.send("one".into()).await.expect("taken");
            let mut response = client.send(request).await.expect("a head");
            assert_eq!(
                &response.body_mut().frame().await.expect("a frame").expect("open").into_data().expect("data")[..],
                b"one"
            );
            bench.plane.put(vec![wire::endpoints("a", &[bench.b.port])]);
            sender.send("two".into()).await.expect("taken");
            drop(sender);
            assert_eq!(&peer::whole(response).await.expect("whole").body[..], b"two");
            client.get("/x/hello").await.expect("the connection goes on, to the other endpoint");
        });
    }
    assert_eq!((bench.a.seen("hello").len(), bench.b.seen("hello").len()), (0, 2));
}

/// A listener is removed: requests under way finish, then the connections close; idle ones at once.
#[test]
fn a_removed_listener_drains() {
    let bench = bench();
    peer::block(async {
        let mut busy = Vec::new();
        let mut idle = Vec::new();
        for http2 in [false, true] {
            let mut client = Client::open(bench.port, http2).await;
            client.get("/x/hello").await.expect("an answer");
            idle.push(client);
            let mut client = Client::open(bench.port, http2).await;
            let (sender, body) = peer::channel();
            let request = client.request(Method::POST, "/x/echo").body(body).expect("valid");
            sender.send("one".into()).await.expect("taken");
            busy.push((client.send(request).await.expect("a head"), sender, client));
        }
        bench.plane.edit(vec![], &[(Kind::Listener, &format!("0.0.0.0_{}", bench.port))]);
        for client in &idle {
            client.closed().await;
        }
        for (response, sender, client) in busy {
            sender.send("two".into()).await.expect("taken");
            drop(sender);
            assert_eq!(&peer::whole(response).await.expect("whole").body[..], b"onetwo");
            client.closed().await;
        }
    });
    eventually("nobody listening", || std::net::TcpStream::connect(("127.0.0.1", bench.port)).is_err());
    assert!(bench.proxy.connections().is_empty());
}
