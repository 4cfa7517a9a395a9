//! The HTTP server: says what it was asked, and does what the query tells it to.
//!
//! Every response carries `x-peer` (its name) and, where it is known beforehand, `x-body-sha256`. `GET /count` is not
//! counted itself.

mod controls;
mod count;
mod reply;
mod upgrade;

use std::sync::Arc;

use hyper::{
    Request, Response,
    body::Incoming,
    header::{HeaderValue, UPGRADE},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use self::{controls::Controls, count::Count};
use crate::{connect::Body, listen::Listen, output, tls};

/// Options of `echo`.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    listen: Listen,
    /// Its name, told in `x-peer`.
    #[arg(long, default_value = "echo")]
    name: String,
    #[command(flatten)]
    tls: tls::ServerOptions,
}

/// What all connections share.
struct Server {
    name: HeaderValue,
    count: Count,
    tls: Option<TlsAcceptor>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let tls = options.tls.acceptor()?;
    let server = Arc::new(Server { name: HeaderValue::from_str(&options.name)?, count: Count::default(), tls });
    options.listen.serve(|socket, _| connection(socket, server.clone())).await
}

async fn connection(socket: TcpStream, server: Arc<Server>) {
    server.count.connected();
    let mut facts = Facts::of(&socket);
    let Some(acceptor) = &server.tls else {
        return serve(socket, server, facts).await;
    };
    match acceptor.accept(socket).await {
        Ok(stream) => {
            facts.tls = Some(tls::describe(stream.get_ref().1));
            serve(stream, server, facts).await;
        }
        Err(error) => output::line(&json!({"handshake": false, "error": error.to_string()})),
    }
}

async fn serve<S>(socket: S, server: Arc<Server>, facts: Facts)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (server, facts) = (server.clone(), facts.clone());
        async move { anyhow::Ok(answer(request, &server, &facts).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1_000);
    // A broken connection is for the client to report.
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(socket), service).await;
}

/// The two ends of a connection.
#[derive(Clone)]
struct Facts {
    remote: String,
    local: String,
    tls: Option<Value>,
}

impl Facts {
    fn of(socket: &TcpStream) -> Self {
        let text = |address: std::io::Result<std::net::SocketAddr>| {
            address.map(|address| address.to_string()).unwrap_or_default()
        };
        Self { remote: text(socket.peer_addr()), local: text(socket.local_addr()), tls: None }
    }
}

async fn answer(request: Request<Incoming>, server: &Server, facts: &Facts) -> Response<Body> {
    let mut response = if request.uri().path() == "/count" {
        reply::json(&server.count.report(request.uri().query()))
    } else {
        let _present = server.count.begin(&request);
        counted(request, server, facts).await
    };
    response.headers_mut().insert("x-peer", server.name.clone());
    response
}

async fn counted(request: Request<Incoming>, server: &Server, facts: &Facts) -> Response<Body> {
    let controls = match Controls::parse(request.uri().query().unwrap_or_default()) {
        Ok(controls) => controls,
        Err(message) => return reply::error(&message),
    };
    sleep(controls.delay).await;
    let controls = controls.resolve_failures(|key| server.count.attempts(key), request.headers());
    if request.headers().contains_key(UPGRADE) && controls.status.is_success() {
        return upgrade::answer(request);
    }
    reply::answer(request, &controls, server.name.to_str().unwrap_or_default(), facts).await
}
