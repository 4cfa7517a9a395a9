//! The HTTP side of a downstream connection: hyper as the codec, with every limit set, and its end.

use std::{
    cell::{Cell, OnceCell, RefCell},
    convert::Infallible,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use http::HeaderValue;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use mizzen_snapshot::{Handler, HttpManager};
use mizzen_telemetry::ConnFacts;
use tokio::task::JoinSet;

use super::request;
use crate::{
    connection::Connection,
    detect::{Inspector, Verdict},
    io::Stream,
    registry::{Ending, Speaks},
    telemetry::{self, Log},
    worker::find_chain,
};

/// HTTP/2 flow-control windows: of a stream, and of a connection. A client may have this much unread here.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes buffered per HTTP/2 stream towards a slow reader.
pub(crate) const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Streams reset by a peer that we still remember, and ones that we reset for its errors, before the connection is
/// closed (rapid reset, CVE-2023-44487, CVE-2025-8671).
pub(crate) const RESET_STREAMS_MAX: usize = 64;
/// Read buffer of an HTTP/1 connection; a request head must fit.
pub(crate) const HEAD_BUFFER_BYTES: usize = 64 * 1024;

/// Spawns hyper's own tasks on this worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// A downstream HTTP connection.
pub(crate) struct HttpConnection {
    pub(crate) connection: Connection,
    pub(crate) facts: ConnFacts,
    /// Bytes received when the last request's record was made.
    pub(crate) received_before: Cell<u64>,
    /// The element of `x-forwarded-client-cert` for this peer.
    pub(crate) client_cert: OnceCell<HeaderValue>,
    /// The peer's address as text, for `x-forwarded-for`.
    pub(crate) peer_text: OnceCell<HeaderValue>,
    /// What the connection does after it left HTTP; it ends with the connection's task.
    pub(crate) tunnel: Cell<Option<JoinSet<()>>>,
    manager: RefCell<(u64, Arc<HttpManager>)>,
    log: RefCell<Option<Rc<Log>>>,
}

impl HttpConnection {
    /// The connection manager of the present generation: the connection pins the key (listener, chain), not its content.
    pub(crate) fn manager(&self, config: &crate::worker::Config) -> Arc<HttpManager> {
        let mut manager = self.manager.borrow_mut();
        if manager.0 != config.epoch {
            manager.0 = config.epoch;
            let found = config
                .snapshot
                .listener(&self.connection.listener.name)
                .and_then(|listener| find_chain(listener, &self.connection.chain.name));
            if let Some(chain) = found
                && let Handler::Http(now) = &chain.handler
                && !Arc::ptr_eq(now, &manager.1)
            {
                manager.1 = Arc::clone(now);
                *self.log.borrow_mut() = self.connection.worker.observer.log(now.access_log.as_ref());
            }
        }
        Arc::clone(&manager.1)
    }

    pub(crate) fn log(&self) -> Option<Rc<Log>> {
        self.log.borrow().clone()
    }

    /// `http` or `https`, from the transport.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.connection.peer.is_some() { "https" } else { "http" }
    }
}

/// Serves a connection's requests until it ends.
pub(crate) async fn serve(connection: Connection, manager: Arc<HttpManager>, stream: Stream, inspector: Inspector) {
    // From here on the registry watches the time, also of who never says a first word.
    connection.entry.idle_timeout.set(Some(manager.idle_timeout));
    connection.entry.stream_idle_timeout.set(manager.stream_idle_timeout);
    connection.entry.headers_timeout.set(manager.request_headers_timeout);
    let Some((http2, stream)) = version(&connection, stream, inspector).await else { return };
    connection.speaks(if http2 { Speaks::Http2 } else { Speaks::Http1 });
    let epoch = connection.worker.config().epoch;
    let log = connection.worker.observer.log(manager.access_log.as_ref());
    let http = Rc::new(HttpConnection {
        facts: telemetry::connection_facts(&connection),
        received_before: Cell::new(0),
        client_cert: OnceCell::new(),
        peer_text: OnceCell::new(),
        tunnel: Cell::new(None),
        // One less than the present: the first request looks again, a reload may have come during the handshake.
        manager: RefCell::new((epoch.wrapping_sub(1), Arc::clone(&manager))),
        log: RefCell::new(log),
        connection,
    });
    // Boxed apart: a connection holds the codec of its version only.
    if http2 {
        Box::pin(serve_http2(http, &manager, stream)).await;
    } else {
        Box::pin(serve_http1(http, &manager, stream)).await;
    }
}

/// HTTP/2 by ALPN or by the preface; everything else is HTTP/1, whose codec answers garbage with 400.
async fn version(connection: &Connection, stream: Stream, mut inspector: Inspector) -> Option<(bool, Stream)> {
    if let Some(peer) = &connection.peer {
        return Some((peer.alpn.as_deref() == Some("h2"), stream));
    }
    let Stream::Plain(mut stream) = stream else { return Some((false, stream)) };
    loop {
        match inspector.look(stream.front()) {
            Verdict::Http2 => return Some((true, Stream::Plain(stream))),
            // A first byte that is no preface's is enough: the codec waits for the rest.
            _ if !b"PRI * HTTP/2.0".starts_with(&stream.front()[..stream.front().len().min(14)])
                && !stream.front().is_empty() =>
            {
                return Some((false, Stream::Plain(stream)));
            }
            _ => {
                // A silent client costs no buffer.
                stream.readable().await.ok()?;
                if stream.fill().await.ok()? == 0 {
                    return None;
                }
            }
        }
    }
}

pub(super) async fn serve_http1(http: Rc<HttpConnection>, manager: &HttpManager, stream: Stream) {
    let service = service_fn({
        let http = Rc::clone(&http);
        move |request| {
            // In a box of its own: hyper keeps the place of a request's future while the connection is idle.
            let handling = Box::pin(request::handle(Rc::clone(&http), request));
            async move { Ok::<_, Infallible>(handling.await) }
        }
    });
    let connection = http1::Builder::new()
        .auto_date_header(false)
        // Idle and header times are the registry's: one sweep for all connections instead of a timer for each.
        .header_read_timeout(None)
        .max_headers(manager.header_count_max as usize)
        .max_header_size(manager.header_bytes_max as usize)
        .max_buf_size(HEAD_BUFFER_BYTES.max(manager.header_bytes_max as usize))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    drive(&http, std::pin::pin!(connection), http1::UpgradeableConnection::graceful_shutdown).await;
    if let Some(mut tunnel) = http.tunnel.take() {
        tunnel.join_next().await;
    }
}

async fn serve_http2(http: Rc<HttpConnection>, manager: &HttpManager, stream: Stream) {
    let service = service_fn({
        let http = Rc::clone(&http);
        move |request| {
            let http = Rc::clone(&http);
            async move { Ok::<_, Infallible>(request::handle(http, request).await) }
        }
    });
    let connection = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(manager.streams_max)
        .max_header_list_size(manager.header_bytes_max)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(RESET_STREAMS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    drive(&http, std::pin::pin!(connection), http2::Connection::graceful_shutdown).await;
}

/// Runs hyper's connection; when the registry asks for an end, requests under way finish first.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    http: &HttpConnection,
    mut connection: Pin<&mut C>,
    shut_down: impl Fn(Pin<&mut C>),
) {
    let entry = &http.connection.entry;
    let mut known = Ending::No;
    let ended = std::future::poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        // An abort drops this future from outside; a drain has to be told to the codec, once.
        if known == Ending::No
            && let Poll::Ready(ending) = entry.poll_ending(known, cx)
        {
            known = ending;
            shut_down(connection.as_mut());
            return connection.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(id = entry.id, peer = %entry.peer, error = %crate::http::local::chain(&error), "connection ended");
    }
}
