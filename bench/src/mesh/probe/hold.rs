//! A client with many connections that do nothing, after a request was in flight on all of them at once.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use mizzen_pki::{SanRule, Svid, Verifier, tls};
use rustls_pki_types::{PrivatePkcs8KeyDer, ServerName, UnixTime};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use super::{Identity, line, serve};
use crate::load::Local;

/// What a sidecar offers its peer for HTTP/2 (Istio's ALPN names).
const ALPN: [&[u8]; 3] = [b"istio-h2", b"istio", b"h2"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// `ADDRESS:PORT`
    #[arg(long)]
    to: String,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    http2: bool,
    /// Speaks TLS and shows this certificate; JSON.
    #[arg(long)]
    identity: Option<PathBuf>,
}

type Body = Empty<Bytes>;

/// An open connection; it lives as long as its sender.
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// One line when all requests are answered; then holds the connections until it is killed.
pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let connector = options.identity.as_deref().map(connector).transpose()?;
    let mut asked = JoinSet::new();
    for _ in 0..options.connections {
        let sender = open(&options, connector.as_ref()).await?;
        // The first request tells a proxy how many streams the server allows, the second is in flight with all others.
        let (sender, _) = ask(sender, &options.to, "/").await?;
        let to = options.to.clone();
        asked.spawn_local(async move { ask(sender, &to, serve::HELD).await });
    }
    let mut held = Vec::with_capacity(options.connections);
    let mut upstreams = 0;
    while let Some(answered) = asked.join_next().await {
        let (sender, count) = answered??;
        held.push(sender);
        upstreams = upstreams.max(count);
    }
    line(&json!({"open": held.len(), "upstreams": upstreams}))?;
    std::future::pending().await
}

async fn open(options: &Options, connector: Option<&TlsConnector>) -> anyhow::Result<Sender> {
    let stream = TcpStream::connect(&options.to).await?;
    stream.set_nodelay(true)?;
    let Some(connector) = connector else { return handshake(stream, options.http2).await };
    let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
    let stream = connector.connect(name, stream).await.context("the handshake")?;
    if options.http2 {
        ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "HTTP/2 was not agreed on");
    }
    handshake(stream, options.http2).await
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, over_http2: bool) -> anyhow::Result<Sender> {
    let io = TokioIo::new(stream);
    if over_http2 {
        let (sender, connection) = http2::handshake(Local, io).await?;
        tokio::task::spawn_local(connection);
        return Ok(Sender::Http2(sender));
    }
    let (sender, connection) = http1::handshake(io).await?;
    tokio::task::spawn_local(connection);
    Ok(Sender::Http1(sender))
}

/// The connection, and how many the server says it has had.
async fn ask(mut sender: Sender, to: &str, path: &str) -> anyhow::Result<(Sender, u64)> {
    let response = match &mut sender {
        Sender::Http1(sender) => sender.send_request(Request::get(path).header("host", to).body(Body::new())?).await?,
        Sender::Http2(sender) => {
            sender.send_request(Request::get(format!("http://{to}{path}")).body(Body::new())?).await?
        }
    };
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    ensure!(status.is_success(), "status {status}: {text}");
    Ok((sender, text.parse()?))
}

/// A client of the mesh, which checks the server's identity as a sidecar does.
fn connector(identity: &Path) -> anyhow::Result<TlsConnector> {
    let identity: Identity = serde_json::from_slice(&fs::read(identity)?)?;
    let svid = Svid::assemble(PrivatePkcs8KeyDer::from(identity.key), &identity.answer, UnixTime::now())?;
    let verifier = Verifier::new(&svid.roots, vec![SanRule::trust_domain(svid.id.trust_domain())])?;
    let config = tls::client_config(Arc::new(verifier), Some(svid.certified_key), tls::TLS13_ONLY, &ALPN)?;
    Ok(TlsConnector::from(Arc::new(config)))
}
