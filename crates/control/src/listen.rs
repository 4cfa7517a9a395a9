//! The listeners for proxies: connections, handshakes, and which service a request is for.
//!
//! In: sockets. Out: requests for [`discovery`](crate::discovery) and [`ca`](crate::ca), from callers that are
//! authenticated. Every limit of HTTP/2 is set here.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mizzen_pki::wire::{CREATE_CERTIFICATE, IstioCertificateRequest};
use mizzen_pki::{SpiffeId, wire};
use mizzen_xds::DELTA_PATH;
use mizzen_xds::grpc::{self, Body};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tonic::Status;

use crate::ca;
use crate::certificate::now;
use crate::discovery::{self, Caller};
use crate::identity::{Credentials, authenticate};
use crate::mesh::Mesh;
use crate::run::Shared;

/// Connections at a time, per listener; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 20_000;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Reading of a request of the certificate service.
const UNARY_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept, as when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const STREAMS_PER_CONNECTION_MAX: u32 = 64;
const HEADER_BYTES_MAX: u32 = 16 << 10;
const WINDOW_BYTES: u32 = 256 << 10;
const SEND_BUFFER_BYTES: usize = 256 << 10;
const RESETS_MAX: usize = 32;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What requests are answered with.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) mesh: Mesh,
    pub(crate) shared: Arc<Shared>,
}

/// Who is at the other end of a connection.
#[derive(Clone)]
enum Peer {
    /// With the verified certificate, if the client showed one.
    Tls(Option<CertificateDer<'static>>),
    Loopback,
}

/// Accepts for as long as it is polled; `tls` `None` is plain text.
pub(crate) async fn run(listener: TcpListener, tls: Option<TlsAcceptor>, services: Services) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, services) = (tls.clone(), services.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection(socket, tls, services).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

async fn connection(socket: TcpStream, tls: Option<TlsAcceptor>, services: Services) -> io::Result<()> {
    // ACKs and small pushes must not wait for each other.
    socket.set_nodelay(true)?;
    let Some(tls) = tls else { return serve(socket, Peer::Loopback, services).await };
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(socket));
    let stream = handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = Peer::Tls(certificate.map(|leaf| leaf.clone().into_owned()));
    serve(stream, peer, services).await
}

async fn serve<S>(stream: S, peer: Peer, services: Services) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (peer, services) = (peer.clone(), services.clone());
        async move { Ok::<_, Infallible>(answer(request, &peer, services).await) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

async fn answer(request: Request<Incoming>, peer: &Peer, services: Services) -> Response<Body> {
    if request.method() != Method::POST {
        return grpc::refusal(&Status::unimplemented("gRPC is POST"));
    }
    let certificates = request.uri().path() == CREATE_CERTIFICATE;
    if !certificates && request.uri().path() != DELTA_PATH {
        return grpc::refusal(&Status::unimplemented("no such method here"));
    }
    let caller = match peer {
        Peer::Loopback => Caller::Loopback,
        Peer::Tls(certificate) => match known(&request, certificate.as_ref(), &services.shared) {
            Ok(id) => Caller::Known(id),
            Err(status) => return grpc::refusal(&status),
        },
    };
    match caller {
        caller if !certificates => discovery::open(request, caller, services.mesh, services.shared),
        Caller::Known(id) => match create_certificate(request, &id, &services.shared).await {
            Ok(answer) => grpc::reply(&answer),
            Err(status) => grpc::refusal(&status),
        },
        Caller::Loopback => grpc::refusal(&Status::unauthenticated("certificates are signed over TLS only")),
    }
}

/// The caller's identity. What is wrong with its proof is logged and not told.
fn known(
    request: &Request<Incoming>,
    certificate: Option<&CertificateDer<'static>>,
    shared: &Shared,
) -> Result<SpiffeId, Status> {
    let credentials =
        Credentials { certificate: certificate.map(|der| &**der), bearer: grpc::bearer(request.headers()) };
    authenticate(&credentials, &shared.token_key, &shared.trust_domain, now()).map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "caller refused");
        Status::unauthenticated("not authenticated")
    })
}

async fn create_certificate(
    request: Request<Incoming>,
    caller: &SpiffeId,
    shared: &Shared,
) -> Result<wire::IstioCertificateResponse, Status> {
    let mut messages = grpc::incoming::<IstioCertificateRequest, _>(request, ca::REQUEST_BYTES_MAX);
    let reading = tokio::time::timeout(UNARY_TIMEOUT, messages.message()).await;
    let request = reading.map_err(|_| Status::deadline_exceeded("no request"))??;
    let request = request.ok_or_else(|| Status::invalid_argument("no request"))?;
    shared.certificates.create(&request, caller, (now(), Instant::now()))
}
