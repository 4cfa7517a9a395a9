//! An HTTP/1.1 server for one handler: listens on both IP families, answers `/health`, and on SIGTERM finishes what it
//! has begun.

use std::{future::Future, io, net::Ipv4Addr, net::Ipv6Addr, rc::Rc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::{JoinSet, LocalSet},
    time::timeout,
};

/// The longest request body; a rating or a login is far below.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// What is unfinished so long after SIGTERM is given up.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long a client may take to send a request head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A request whose body has arrived.
pub type Request = hyper::Request<Bytes>;
/// A whole response.
pub type Reply = Response<Full<Bytes>>;

/// Runs `main` on a runtime of one thread.
pub fn run(main: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(main))
}

/// Listens on `port` of all addresses and answers with `handler` until SIGTERM or SIGINT.
pub async fn serve<H, F>(port: u16, handler: H) -> io::Result<()>
where
    H: Fn(Request) -> F + 'static,
    F: Future<Output = Reply> + 'static,
{
    // One socket for both families where there is IPv6.
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?,
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, stopping) = watch::channel(());
    let handler = Rc::new(handler);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A failed accept is about that one client, or about descriptors, which the next end of a connection
                // frees.
                let Ok((socket, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                connections.spawn_local(connection(socket, handler.clone(), stopping.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    drop(listener);
    drop(stop);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(DRAIN_MAX, drained).await;
    Ok(())
}

async fn connection<H, F>(socket: TcpStream, handler: Rc<H>, mut stopping: watch::Receiver<()>)
where
    H: Fn(Request) -> F + 'static,
    F: Future<Output = Reply> + 'static,
{
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| answer(handler.clone(), request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        // A broken connection is the client's affair.
        _ = connection.as_mut() => return,
        _ = stopping.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer<H, F>(handler: Rc<H>, request: hyper::Request<Incoming>) -> Result<Reply, hyper::Error>
where
    H: Fn(Request) -> F,
    F: Future<Output = Reply>,
{
    if request.uri().path() == "/health" {
        return Ok(json(StatusCode::OK, &serde_json::json!({"status": "healthy"})));
    }
    let (head, body) = request.into_parts();
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(handler(Request::from_parts(head, body.to_bytes())).await),
        Err(_) => Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or did not arrive")),
    }
}

/// A JSON reply.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    reply(status, "application/json", value.to_string())
}

/// An HTML reply.
pub fn html(status: StatusCode, page: String) -> Reply {
    reply(status, "text/html; charset=utf-8", page)
}

/// A plain-text reply.
pub fn text(status: StatusCode, text: &str) -> Reply {
    reply(status, "text/plain; charset=utf-8", text.to_owned())
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::from(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
