//! A server that answers [`HELD`] when no further request has come for a while, so that all are in flight at once, and
//! everything else immediately. Its answer is the number of connections that it has accepted.
//!
//! On an HTTP/2 connection it allows one stream, so that a proxy needs one connection for each request there, too.

use std::{
    cell::Cell,
    convert::Infallible,
    net::Ipv6Addr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::load::Local;

/// Path of the requests that are answered together.
pub(super) const HELD: &str = "/held";
/// Without a new request for this long, all that will come are there.
const QUIET: Duration = Duration::from_secs(1);

struct Seen {
    connections: Cell<u64>,
    last_request: Cell<Instant>,
}

pub(super) async fn run(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await?;
    let seen = Rc::new(Seen { connections: Cell::new(0), last_request: Cell::new(Instant::now()) });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(serve(stream, Rc::clone(&seen)));
    }
}

async fn serve(stream: TcpStream, seen: Rc<Seen>) {
    let mut first = [0];
    // A probe of readiness says nothing, and is no connection of a client.
    if !matches!(stream.peek(&mut first).await, Ok(1)) {
        return;
    }
    seen.connections.set(seen.connections.get() + 1);
    let service = service_fn(|request: http::Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move { Ok::<_, Infallible>(answer(&seen, request.uri().path()).await) }
    });
    let io = TokioIo::new(stream);
    // Only a preface begins with P: the clients send GET.
    if first == *b"P" {
        conn::http2::Builder::new(Local).max_concurrent_streams(1).serve_connection(io, service).await.ok();
    } else {
        conn::http1::Builder::new().serve_connection(io, service).await.ok();
    }
}

async fn answer(seen: &Seen, path: &str) -> Response<Full<Bytes>> {
    seen.last_request.set(Instant::now());
    while path == HELD
        && let Some(left) = QUIET.checked_sub(seen.last_request.get().elapsed())
    {
        tokio::time::sleep(left).await;
    }
    Response::new(Full::new(seen.connections.get().to_string().into()))
}
