//! Scripted HTTP peers: a server whose paths say what it does, and a client, each of either version.

use std::{
    convert::Infallible,
    future::Future,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, request};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client, server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use super::PATIENCE;

/// Any error.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Any body.
pub(crate) type Payload = UnsyncBoxBody<Bytes, Failure>;

/// Runs a test's asynchronous part; longer than three times [`PATIENCE`] is a failure.
pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(3 * PATIENCE, future).await.expect("in time") })
}

pub(crate) fn empty() -> Payload {
    Empty::new().map_err(unreachable).boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Payload {
    Full::new(bytes.into()).map_err(unreachable).boxed_unsync()
}

fn unreachable(never: Infallible) -> Failure {
    match never {}
}

/// A body of unknown length, in chunks.
pub(crate) fn chunks(bytes: u64, trailers: Option<HeaderMap>) -> Payload {
    static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    let frames = stream::unfold((bytes, trailers), |(left, mut trailers)| async move {
        if left == 0 {
            let last = trailers.take()?;
            return Some((Ok(Frame::trailers(last)), (0, None)));
        }
        let now = left.min(CHUNK.len() as u64);
        Some((Ok(Frame::data(Bytes::from_static(&CHUNK[..now as usize]))), (left - now, trailers)))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A body that is what is sent into the channel.
pub(crate) fn channel() -> (mpsc::Sender<Bytes>, Payload) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let frames = stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|bytes| bytes.map(|b| Ok(Frame::data(b)))));
    (sender, StreamBody::new(frames).boxed_unsync())
}

/// One header as a map.
pub(crate) fn fields(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
}

/// A request as the server got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
}

/// A server; what it does is the last part of the path, see [`answer`].
pub(crate) struct Backend {
    pub(crate) port: u16,
    log: Arc<Mutex<Vec<Seen>>>,
}

impl Backend {
    pub(crate) fn start(http2: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let log: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let shared = Arc::clone(&log);
        std::thread::spawn(move || serve(listener, http2, &shared));
        Self { port, log }
    }

    /// Requests so far whose path holds `part`.
    pub(crate) fn seen(&self, part: &str) -> Vec<Seen> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|seen| seen.path.contains(part)).cloned().collect()
    }
}

fn serve(listener: TcpListener, http2: bool, log: &Arc<Mutex<Vec<Seen>>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        listener.set_nonblocking(true).expect("non-blocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("registered");
        while let Ok((socket, _)) = listener.accept().await {
            let log = Arc::clone(log);
            let service = service_fn(move |request| {
                let log = Arc::clone(&log);
                async move { Ok::<_, Infallible>(answer(request, &log).await) }
            });
            let io = TokioIo::new(socket);
            if http2 {
                let mut builder = server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.max_concurrent_streams(1000).serve_connection(io, service));
            } else {
                tokio::spawn(server::conn::http1::Builder::new().serve_connection(io, service));
            }
        }
    });
}

/// The server's behaviour by path.
async fn answer(request: Request<Incoming>, log: &Mutex<Vec<Seen>>) -> Response<Payload> {
    let path = request.uri().path().to_owned();
    let before = {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let before = log.iter().filter(|seen| seen.path == path).count();
        log.push(Seen { path: path.clone(), version: request.version(), headers: request.headers().clone() });
        before
    };
    let words: Vec<&str> = path.split('/').skip(2).collect();
    match words[..] {
        ["echo", ..] => Response::builder()
            .header(header::TRAILER, "x-check")
            .body(request.into_body().map_err(Into::into).boxed_unsync())
            .expect("valid"),
        ["stream", bytes, ..] => Response::new(chunks(bytes.parse().unwrap_or(0), None)),
        ["sink", ..] => match drain(request.into_body()).await {
            Some(bytes) => Response::new(full(bytes.to_string())),
            None => status(StatusCode::BAD_REQUEST),
        },
        ["trailers", ..] => Response::builder()
            .header(header::TRAILER, "x-check")
            .body(chunks(4, Some(fields("x-check", "yes"))))
            .expect("valid"),
        ["status", code, ..] => status(StatusCode::from_bytes(code.as_bytes()).unwrap_or(StatusCode::IM_A_TEAPOT)),
        // As a GET would say (RFC 9110 §9.3.2).
        ["hello", ..] if request.method() == Method::HEAD => {
            Response::builder().header(header::CONTENT_LENGTH, "5").body(empty()).expect("valid")
        }
        ["hang", ..] => std::future::pending().await,
        // Headers and a first piece, then nothing.
        ["stall", ..] => {
            let rest = stream::once(async { Ok(Frame::data(Bytes::from_static(b"first"))) });
            Response::new(StreamBody::new(stream::StreamExt::chain(rest, stream::pending())).boxed_unsync())
        }
        // The first `n` requests of this path fail.
        ["flaky", n, ..] => {
            let bytes = drain(request.into_body()).await.unwrap_or(0);
            if before < n.parse().unwrap_or(0) {
                status(StatusCode::SERVICE_UNAVAILABLE)
            } else {
                Response::new(full(bytes.to_string()))
            }
        }
        // The first `n` requests of this path are not answered.
        ["late", n, ..] if before < n.parse().unwrap_or(0) => std::future::pending().await,
        ["grpc", how, ..] => grpc(how, request),
        _ => Response::new(full("hello")),
    }
}

fn status(code: StatusCode) -> Response<Payload> {
    Response::builder().status(code).body(empty()).expect("valid")
}

/// gRPC over HTTP/2: messages come back as they came, the status in trailers.
fn grpc(how: &str, request: Request<Incoming>) -> Response<Payload> {
    let response = Response::builder().header(header::CONTENT_TYPE, "application/grpc");
    match how {
        "trailers-only" => response.header("grpc-status", "5").header("grpc-message", "none").body(empty()),
        "unavailable" => response.header("grpc-status", "14").body(empty()),
        _ => response.body(
            request
                .into_body()
                .map_err(Into::into)
                .with_trailers(async { Some(Ok(fields("grpc-status", "0"))) })
                .boxed_unsync(),
        ),
    }
    .expect("valid")
}

async fn drain(mut body: Incoming) -> Option<u64> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.ok()?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Some(bytes)
}

/// A client's connection.
pub(crate) enum Client {
    Http1(client::conn::http1::SendRequest<Payload>),
    Http2(client::conn::http2::SendRequest<Payload>),
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Client {
    pub(crate) async fn open(port: u16, http2: bool) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = tokio::net::TcpStream::connect(address).await.expect("the listener accepts");
        stream.set_nodelay(true).expect("a socket option");
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, connection) =
                client::conn::http2::Builder::new(TokioExecutor::new()).handshake(io).await.expect("a handshake");
            tokio::spawn(connection);
            Self::Http2(sender)
        } else {
            let (sender, connection) = client::conn::http1::handshake(io).await.expect("a handshake");
            tokio::spawn(connection.with_upgrades());
            Self::Http1(sender)
        }
    }

    /// A request in this version's form.
    pub(crate) fn request(&self, method: Method, path: &str) -> request::Builder {
        let builder = Request::builder().method(method);
        match self {
            Self::Http1(_) => builder.uri(path).header(header::HOST, "mesh.test"),
            Self::Http2(_) => builder.uri(format!("http://mesh.test{path}")),
        }
    }

    pub(crate) async fn send(&mut self, request: Request<Payload>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Sends a request and takes the whole response.
    pub(crate) async fn call(&mut self, request: Request<Payload>) -> Result<Answer, Failure> {
        whole(self.send(request).await?).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        let request = self.request(Method::GET, path).body(empty()).expect("valid");
        self.call(request).await
    }

    /// Whether the other side has closed, or told that it will.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    /// Waits until the other side has closed.
    pub(crate) async fn closed(&self) {
        while !self.is_closed() {
            // poll: between two looks at the connection
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) async fn whole(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: collected.to_bytes(), trailers })
}
