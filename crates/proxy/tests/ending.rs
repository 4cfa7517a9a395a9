//! The proxy's end: SIGTERM lets requests under way finish, tells connections, and is bounded in time.

mod common;

use std::io::{Read, Write};

use common::{
    Mesh, Plane, Proxy, RawServer, ask, connect, eventually, h2raw,
    peer::{self, Client},
    port, wire,
};
use http::{Method, header};

#[test]
fn sigterm_drains() {
    let mut mesh = Mesh::start(2);
    peer::block(async {
        let mut idle = Vec::new();
        let mut busy = Vec::new();
        for http2 in [false, true] {
            let mut client = Client::open(mesh.port, http2).await;
            client.get("/h1/hello").await.expect("an answer");
            idle.push(client);
            let mut client = Client::open(mesh.port, http2).await;
            let (sender, body) = peer::channel();
            sender.send("one".into()).await.expect("taken");
            let request = client.request(Method::POST, "/h1/sink").body(body).expect("valid");
            busy.push((http2, sender, tokio::spawn(async move { client.call(request).await })));
        }
        while mesh.http1.seen("sink").len() < 2 {
            tokio::task::yield_now().await;
        }
        mesh.proxy.terminate();
        for client in &idle {
            client.closed().await;
        }
        for (http2, sender, answer) in busy {
            sender.send("two".into()).await.expect("taken");
            drop(sender);
            let answer = answer.await.expect("the client ran").expect("an answer");
            assert_eq!((answer.status, &*answer.body), (200, &b"6"[..]));
            let close = answer.headers.get(header::CONNECTION).is_some_and(|value| value == "close");
            assert_eq!(close, !http2, "HTTP/1 is told in the answer: {:?}", answer.headers);
        }
    });
    eventually("the process to end", || mesh.proxy.has_ended());
}

#[test]
fn http2_is_told_by_goaway() {
    let mut mesh = Mesh::start(1);
    let mut stream = h2raw::open(mesh.port, &[]);
    stream.write_all(&h2raw::request(1, &h2raw::get("/h1/hello"))).expect("sent");
    h2raw::read_until(&mut stream, &[h2raw::HEADERS]).expect("an answer");
    mesh.proxy.terminate();
    let goaway = h2raw::read_until(&mut stream, &[h2raw::GOAWAY]).expect("told before closed");
    assert_eq!(goaway.payload[4..8], [0; 4], "no error");
    eventually("the process to end", || mesh.proxy.has_ended());
}

/// A connection that left HTTP is listed, and counts while the process ends.
#[test]
fn an_upgraded_connection_stays_until_its_end() {
    let plane = Plane::start();
    let mut proxy = Proxy::start(&plane, 1);
    let server =
        RawServer::start(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    let port = port();
    plane.put(wire::gateway(port, &[server.port]));
    let mut stream = connect(port);
    let answer = ask(&mut stream, b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let listed = proxy.connections();
    assert!(listed.len() == 1 && listed[0]["protocol"] == "upgraded", "{listed:?}");
    proxy.terminate();
    stream.write_all(b"after").expect("sent");
    eventually("the client's bytes at the server", || server.text().ends_with("after"));
    assert!(!proxy.has_ended());
    stream.shutdown(std::net::Shutdown::Both).expect("closed");
    stream.read_to_end(&mut Vec::new()).ok();
    drop(server);
    eventually("the process to end", || proxy.has_ended());
}
