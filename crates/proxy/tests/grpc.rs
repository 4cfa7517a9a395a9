//! gRPC: the four kinds of calls, trailers, a status without a body, and the proxy's own answers in gRPC's terms.

mod common;

use bytes::Bytes;
use common::{
    Mesh, Plane, Proxy,
    peer::{self, Answer, Client, Payload},
    port, wire,
};
use http::{Method, header};
use http_body_util::BodyExt;

/// A message as gRPC frames it.
fn message(text: &str) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes.into()
}

async fn call(client: &mut Client, path: &str, body: Payload) -> Answer {
    let request = client
        .request(Method::POST, path)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(body)
        .expect("valid");
    client.call(request).await.expect("an answer")
}

#[test]
fn unary_and_client_streaming() {
    let mesh = Mesh::start(1);
    peer::block(async {
        let mut client = Client::open(mesh.port, true).await;
        let answer = call(&mut client, "/h2/grpc/unary", peer::full(message("one"))).await;
        assert_eq!((answer.status, &answer.body), (200, &message("one")));
        assert_eq!(answer.trailers["grpc-status"], "0");
        assert_eq!(mesh.http2.seen("unary")[0].headers[header::TE], "trailers");

        let answer = call(&mut client, "/h2/grpc/client-streaming", peer::chunks(300_000, None)).await;
        assert_eq!((answer.body.len(), &answer.trailers["grpc-status"]), (300_000, &"0".parse().expect("valid")));
    });
}

/// Each message is answered before the next is sent: nothing on the way waits for more.
#[test]
fn bidirectional_streaming() {
    let mesh = Mesh::start(1);
    peer::block(async {
        let mut client = Client::open(mesh.port, true).await;
        let (sender, body) = peer::channel();
        let request = client
            .request(Method::POST, "/h2/grpc/bidi")
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(body)
            .expect("valid");
        let mut response = client.send(request).await.expect("headers before the first message");
        for n in 0..20 {
            let sent = message(&format!("message {n}"));
            sender.send(sent.clone()).await.expect("taken");
            let frame = response.body_mut().frame().await.expect("a frame").expect("an open stream");
            assert_eq!(frame.into_data().expect("data"), sent);
        }
        drop(sender);
        let frame = response.body_mut().frame().await.expect("trailers").expect("an open stream");
        assert_eq!(frame.into_trailers().expect("trailers")["grpc-status"], "0");
    });
}

#[test]
fn trailers_only() {
    let mesh = Mesh::start(1);
    peer::block(async {
        let mut client = Client::open(mesh.port, true).await;
        let answer = call(&mut client, "/h2/grpc/trailers-only", peer::full(message("x"))).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert_eq!(
            (&answer.headers["grpc-status"], &answer.headers["grpc-message"]),
            (&"5".parse().expect("valid"), &"none".parse().expect("valid"))
        );
    });
}

/// HTTP statuses of the proxy's own answers become gRPC's (Envoy's mapping).
#[test]
fn local_replies() {
    let plane = Plane::start();
    let (_proxy, port) = (Proxy::start(&plane, 1), port());
    plane.put(vec![
        wire::cluster("nobody", true),
        wire::endpoints("nobody", &[]),
        wire::listener(port, |_| {}),
        wire::route_config(vec![wire::route("/empty", "nobody", |_| {})]),
    ]);
    common::connect(port);
    peer::block(async {
        let mut client = Client::open(port, true).await;
        for (path, code, text) in [("/empty", "14", Some("no healthy upstream")), ("/no-route", "12", None)] {
            let answer = call(&mut client, path, peer::full(message("x"))).await;
            assert_eq!(
                (answer.status, &answer.headers[header::CONTENT_TYPE]),
                (200, &"application/grpc".parse().expect("valid"))
            );
            assert_eq!(answer.headers["grpc-status"], code, "{path}");
            assert_eq!(answer.headers.get("grpc-message").and_then(|m| m.to_str().ok()), text, "{path}");
        }
    });
}

/// `grpc-status` in the headers is a reason for a retry.
#[test]
fn retried_by_grpc_status() {
    let mesh = Mesh::with(1, |_| {}, |action| action.retry_policy = Some(wire::retry("unavailable", 2, |_| {})));
    peer::block(async {
        let mut client = Client::open(mesh.port, true).await;
        let answer = call(&mut client, "/h2/grpc/unavailable", peer::full(message("x"))).await;
        assert_eq!(answer.headers["grpc-status"], "14");
        assert_eq!(mesh.http2.seen("unavailable").len(), 3);
    });
}
