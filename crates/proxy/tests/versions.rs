//! The version matrix: every feature of layer 7 over HTTP/1 and HTTP/2 downstream × HTTP/1 and HTTP/2 upstream.

mod common;

use std::{future::Future, pin::Pin};

use common::{
    Mesh,
    peer::{self, Answer, Client, Payload, Seen},
};
use http::{Method, header, request::Builder};

/// One cell of the matrix.
#[derive(Clone, Copy)]
struct Pair<'a> {
    mesh: &'a Mesh,
    down: bool,
    up: bool,
    feature: &'static str,
}

impl Pair<'_> {
    /// The path of this feature, so that the server's log can tell it from others.
    fn path(&self, what: &str) -> String {
        let version = if self.up { "h2" } else { "h1" };
        format!("/{version}/{what}/{}/{}", self.feature, u8::from(self.down) + 1)
    }

    async fn call(&self, method: Method, what: &str, adjust: impl FnOnce(Builder) -> Builder, body: Payload) -> Answer {
        let mut client = Client::open(self.mesh.port, self.down).await;
        let request = adjust(client.request(method, &self.path(what))).body(body).expect("valid");
        client.call(request).await.expect("an answer")
    }

    /// The one request that the server saw.
    fn seen(&self) -> Seen {
        let at = format!("{}/{}", self.feature, u8::from(self.down) + 1);
        let mut seen = self.mesh.backend(self.up).seen(&at);
        assert_eq!(seen.len(), 1, "{at}: {seen:?}");
        seen.remove(0)
    }
}

type Cell<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
type Feature = (&'static str, for<'a> fn(Pair<'a>) -> Cell<'a>);

const FEATURES: &[Feature] = &[
    ("get", |p| Box::pin(get(p))),
    ("post-length", |p| Box::pin(post_with_a_length(p))),
    ("post-chunked", |p| Box::pin(post_of_unknown_length(p))),
    ("post-empty", |p| Box::pin(post_without_a_body(p))),
    ("request-trailers", |p| Box::pin(request_trailers(p))),
    ("response-trailers", |p| Box::pin(response_trailers(p))),
    ("head", |p| Box::pin(head(p))),
    ("status-204", |p| Box::pin(no_content(p))),
    ("status-304", |p| Box::pin(not_modified(p))),
    ("te", |p| Box::pin(te(p))),
    ("cookies", |p| Box::pin(cookies(p))),
    ("identity", |p| Box::pin(identity(p))),
    ("hops", |p| Box::pin(hop_by_hop(p))),
    ("query", |p| Box::pin(query(p))),
    ("reuse", |p| Box::pin(reuse(p))),
    ("early", |p| Box::pin(early_answer(p))),
];

#[test]
fn matrix() {
    let mesh = Mesh::start(2);
    for (feature, run) in FEATURES {
        for (down, up) in [(false, false), (false, true), (true, false), (true, true)] {
            let name = |http2| if http2 { "h2" } else { "h1" };
            println!("{feature}: {} to {}", name(down), name(up));
            peer::block(run(Pair { mesh: &mesh, down, up, feature }));
        }
    }
}

async fn get(pair: Pair<'_>) {
    let answer = pair.call(Method::GET, "hello", |r| r, peer::empty()).await;
    assert_eq!((answer.status, &*answer.body), (200, &b"hello"[..]));
    assert_eq!(answer.headers[header::CONTENT_LENGTH], "5");
    let seen = pair.seen();
    assert_eq!(seen.version == http::Version::HTTP_2, pair.up);
    assert!(
        !seen.headers.contains_key(header::CONTENT_LENGTH) && !seen.headers.contains_key(header::TRANSFER_ENCODING)
    );
}

async fn post_with_a_length(pair: Pair<'_>) {
    let body = vec![b'a'; 200_000];
    let answer = pair.call(Method::POST, "echo", |r| r, peer::full(body.clone())).await;
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    assert_eq!(pair.seen().headers[header::CONTENT_LENGTH], "200000");
}

async fn post_of_unknown_length(pair: Pair<'_>) {
    let answer = pair.call(Method::POST, "echo", |r| r, peer::chunks(200_000, None)).await;
    assert_eq!((answer.status, answer.body.len()), (200, 200_000));
    let seen = pair.seen();
    assert!(!seen.headers.contains_key(header::CONTENT_LENGTH), "{seen:?}");
    assert_eq!(seen.headers.contains_key(header::TRANSFER_ENCODING), !pair.up, "{seen:?}");
}

async fn post_without_a_body(pair: Pair<'_>) {
    let answer = pair.call(Method::POST, "sink", |r| r, peer::empty()).await;
    assert_eq!((answer.status, &*answer.body), (200, &b"0"[..]));
    let seen = pair.seen();
    assert!(!seen.headers.contains_key(header::TRANSFER_ENCODING), "{seen:?}");
}

/// HTTP/1 passes trailers that were announced, to a client that takes them (RFC 9110 §6.5.1).
async fn request_trailers(pair: Pair<'_>) {
    let announce = |r: Builder| r.header(header::TRAILER, "x-check").header(header::TE, "trailers");
    let body = peer::chunks(10, Some(peer::fields("x-check", "asked")));
    let answer = pair.call(Method::POST, "echo", announce, body).await;
    assert_eq!(answer.body.len(), 10);
    assert_eq!(answer.trailers.get("x-check").expect("trailers went both ways"), "asked");
}

async fn response_trailers(pair: Pair<'_>) {
    let answer = pair.call(Method::GET, "trailers", |r| r.header(header::TE, "trailers"), peer::empty()).await;
    assert_eq!(&*answer.body, b"xxxx");
    assert_eq!(answer.trailers.get("x-check").expect("trailers"), "yes");
}

async fn head(pair: Pair<'_>) {
    let answer = pair.call(Method::HEAD, "hello", |r| r, peer::empty()).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.headers[header::CONTENT_LENGTH], "5", "as a GET would say");
}

async fn no_content(pair: Pair<'_>) {
    let answer = pair.call(Method::GET, "status/204", |r| r, peer::empty()).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert!(!answer.headers.contains_key(header::CONTENT_LENGTH), "RFC 9110 §8.6: {:?}", answer.headers);
}

async fn not_modified(pair: Pair<'_>) {
    let answer = pair.call(Method::GET, "status/304", |r| r.header(header::IF_NONE_MATCH, "x"), peer::empty()).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
}

async fn te(pair: Pair<'_>) {
    pair.call(Method::GET, "hello", |r| r.header(header::TE, "trailers"), peer::empty()).await;
    assert_eq!(pair.seen().headers[header::TE], "trailers");
}

/// HTTP/2 may split the cookie; HTTP/1 has one line of it (RFC 9113 §8.2.3).
async fn cookies(pair: Pair<'_>) {
    let crumbs = |r: Builder| {
        if pair.down {
            r.header(header::COOKIE, "a=1").header(header::COOKIE, "b=2")
        } else {
            r.header(header::COOKIE, "a=1; b=2")
        }
    };
    pair.call(Method::GET, "hello", crumbs, peer::empty()).await;
    let seen = pair.seen();
    let lines: Vec<_> = seen.headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).collect();
    if !pair.up {
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
    assert_eq!(lines.join("; "), "a=1; b=2");
}

/// At the edge, who the client is comes from the connection, not from what it says.
async fn identity(pair: Pair<'_>) {
    let lies = |r: Builder| {
        r.header("x-forwarded-for", "1.2.3.4")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-client-cert", "URI=spiffe://evil")
            .header("x-envoy-original-path", "/admin")
            .header("x-envoy-internal", "true")
            .header("x-envoy-max-retries", "100")
            .header("x-request-id", "mine")
    };
    pair.call(Method::GET, "hello", lies, peer::empty()).await;
    let headers = pair.seen().headers;
    assert_eq!(headers["x-forwarded-for"], "1.2.3.4,127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-envoy-external-address"], "127.0.0.1");
    assert_ne!(headers["x-request-id"], "mine");
    assert_eq!(headers["x-request-id"].len(), 36);
    for stripped in ["x-forwarded-client-cert", "x-envoy-original-path", "x-envoy-internal", "x-envoy-max-retries"] {
        assert!(!headers.contains_key(stripped), "{stripped}: {headers:?}");
    }
}

async fn hop_by_hop(pair: Pair<'_>) {
    let hops = |r: Builder| {
        if pair.down {
            return r;
        }
        r.header(header::CONNECTION, "x-hop, keep-alive").header("x-hop", "1").header("keep-alive", "timeout=5")
    };
    let answer = pair.call(Method::GET, "hello", hops, peer::empty()).await;
    let headers = pair.seen().headers;
    for stripped in ["connection", "x-hop", "keep-alive"] {
        assert!(!headers.contains_key(stripped), "{stripped}: {headers:?}");
        assert!(!pair.down || !answer.headers.contains_key(stripped), "{stripped}: {:?}", answer.headers);
    }
    assert!(answer.headers.contains_key("x-envoy-upstream-service-time"));
}

async fn query(pair: Pair<'_>) {
    let mut client = Client::open(pair.mesh.port, pair.down).await;
    let path = format!("{}?a=1&b=%2F?c", pair.path("hello"));
    assert_eq!(client.get(&path).await.expect("an answer").status, 200);
}

/// One connection serves one request after the other, bodies of every shape among them.
async fn reuse(pair: Pair<'_>) {
    let mut client = Client::open(pair.mesh.port, pair.down).await;
    for what in ["hello", "status/204", "stream/100000", "trailers", "status/404", "hello"] {
        let answer = client.get(&pair.path(what)).await.expect(what);
        assert!(answer.status < 500, "{what}: {answer:?}");
    }
    let request = client.request(Method::POST, &pair.path("echo")).body(peer::chunks(70_000, None)).expect("valid");
    assert_eq!(client.call(request).await.expect("echo").body.len(), 70_000);
}

/// An answer that comes before the request's body is complete is passed on.
async fn early_answer(pair: Pair<'_>) {
    let mut client = Client::open(pair.mesh.port, pair.down).await;
    let (sender, body) = peer::channel();
    sender.send("first".into()).await.expect("taken");
    let request = client.request(Method::POST, &pair.path("status/403")).body(body).expect("valid");
    let response = client.send(request).await.expect("an early answer");
    assert_eq!(response.status(), 403);
}
