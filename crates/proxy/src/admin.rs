//! The proxy's own HTTP endpoints: administration (15000 on loopback, and a Unix socket), status (15020, 15021), metrics (15090).
//!
//! Names, ports and behaviour are Istio's and Envoy's. Nothing here changes traffic but `/drain` and `/quitquitquit`,
//! which are taken from loopback only.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use mizzen_snapshot::Store;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{Notify, oneshot},
};

use crate::{agent::Progress, config_dump, shared::Shared, worker::Command};

/// A client that says nothing is closed.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// For an answer from all workers.
const WORKERS_TIMEOUT: Duration = Duration::from_secs(2);

/// Which endpoints a socket offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surface {
    /// Everything.
    Admin,
    /// Readiness, metrics and, from loopback, drain and quit.
    Status { loopback: bool },
    /// `/healthz/ready` alone.
    Health,
    /// `/stats/prometheus` alone.
    Metrics,
}

/// Sets the log level by its name.
pub(crate) type LogLevel = Box<dyn Fn(&str) -> Result<(), String>>;

/// What the handlers need.
pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) store: Arc<Mutex<Store>>,
    /// Asked to end by `/quitquitquit`.
    pub(crate) quit: Arc<Notify>,
    pub(crate) log_level: LogLevel,
}

/// Opens the sockets and serves them; an endpoint whose port is taken is said in the log and left out.
pub(crate) async fn run(admin: Rc<Admin>) {
    let bootstrap = &admin.shared.bootstrap;
    if let Some(path) = &bootstrap.admin_socket {
        match unix(path) {
            Ok(socket) => drop(tokio::task::spawn_local(accept_unix(Rc::clone(&admin), socket))),
            Err(error) => tracing::error!(path = %path.display(), %error, "admin socket cannot be opened"),
        }
    }
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let any6 = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let status = Surface::Status { loopback: false };
    for (address, surface) in [
        (loopback(bootstrap.admin_port), Surface::Admin),
        (any(bootstrap.status_port), status),
        (any6(bootstrap.status_port), status),
        (any(15021), Surface::Health),
        (any6(15021), Surface::Health),
        (any(15090), Surface::Metrics),
        (any6(15090), Surface::Metrics),
    ] {
        match mizzen_net::sock::listen(address).and_then(TcpListener::from_std) {
            Ok(socket) => drop(tokio::task::spawn_local(accept_tcp(Rc::clone(&admin), socket, surface))),
            Err(error) => tracing::warn!(%address, %error, "endpoint cannot be opened"),
        }
    }
    std::future::pending::<()>().await;
}

fn unix(path: &Path) -> io::Result<UnixListener> {
    // A socket of a process that died is in the way.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

async fn accept_unix(admin: Rc<Admin>, socket: UnixListener) {
    loop {
        if let Ok((stream, _)) = socket.accept().await {
            tokio::task::spawn_local(serve(Rc::clone(&admin), stream, Surface::Admin));
        }
    }
}

async fn accept_tcp(admin: Rc<Admin>, socket: TcpListener, surface: Surface) {
    loop {
        let Ok((stream, peer)) = socket.accept().await else { continue };
        let surface = match surface {
            Surface::Status { .. } => Surface::Status { loopback: peer.ip().is_loopback() },
            other => other,
        };
        tokio::task::spawn_local(serve(Rc::clone(&admin), stream, surface));
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(admin: Rc<Admin>, stream: S, surface: Surface) {
    let service = service_fn(|request| {
        let admin = Rc::clone(&admin);
        async move { Ok::<_, Infallible>(admin.handle(surface, &request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}

type Reply = Response<Full<Bytes>>;

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    reply(status, "text/plain; charset=utf-8", body)
}

fn as_json(body: &impl serde::Serialize) -> Reply {
    match serde_json::to_vec_pretty(body) {
        Ok(bytes) => reply(StatusCode::OK, "application/json", bytes),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

impl Admin {
    async fn handle(&self, surface: Surface, request: &Request<Incoming>) -> Reply {
        let path = request.uri().path();
        match (surface, path) {
            (_, "/healthz/ready") | (Surface::Admin, "/ready") if surface != Surface::Metrics => self.ready(),
            (Surface::Admin | Surface::Status { .. } | Surface::Metrics, "/stats/prometheus" | "/metrics") => {
                self.metrics()
            }
            (Surface::Admin, _) => self.administer(request).await,
            (Surface::Status { loopback }, "/drain" | "/quitquitquit") => {
                if !loopback {
                    return text(StatusCode::FORBIDDEN, "only from loopback\n");
                }
                self.command(request).await
            }
            _ => text(StatusCode::NOT_FOUND, "no such endpoint here\n"),
        }
    }

    async fn administer(&self, request: &Request<Incoming>) -> Reply {
        match request.uri().path() {
            "/edges" => as_json(&self.shared.metrics.edges()),
            "/connections" => self.connections().await,
            "/clusters" => self.clusters().await,
            "/config_dump" => as_json(&config_dump::dump(&self.store, &self.shared)),
            "/server_info" => self.server_info(),
            "/logging" | "/drain" | "/quitquitquit" => self.command(request).await,
            "/" => text(StatusCode::OK, HELP),
            _ => text(StatusCode::NOT_FOUND, HELP),
        }
    }

    /// Endpoints that do something: POST only.
    async fn command(&self, request: &Request<Incoming>) -> Reply {
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "POST only\n");
        }
        match request.uri().path() {
            "/logging" => {
                let level = request.uri().query().and_then(|q| q.strip_prefix("level=")).unwrap_or_default();
                match (self.log_level)(level) {
                    Ok(()) => text(StatusCode::OK, "set\n"),
                    Err(error) => {
                        text(StatusCode::BAD_REQUEST, format!("{error}; expected level=error|warn|info|debug|trace\n"))
                    }
                }
            }
            "/drain" => {
                let all = !request.uri().query().is_some_and(|query| query.contains("inboundonly"));
                for worker in self.shared.workers() {
                    worker.send(Command::Drain { all }).await.ok();
                }
                text(StatusCode::OK, "draining\n")
            }
            _ => {
                self.quit.notify_one();
                text(StatusCode::OK, "ending\n")
            }
        }
    }

    fn ready(&self) -> Reply {
        if self.progress.is_ready() {
            return text(StatusCode::OK, "");
        }
        let why = self.progress.last().unwrap_or_else(|| "waiting for the first configuration".to_owned());
        text(StatusCode::SERVICE_UNAVAILABLE, why + "\n")
    }

    fn metrics(&self) -> Reply {
        let mut out = String::new();
        self.shared.metrics.render(&mut out);
        reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", out)
    }

    async fn connections(&self) -> Reply {
        let lists = self.ask(Command::Connections).await;
        as_json(&json!({ "connections": lists.into_iter().flatten().collect::<Vec<_>>() }))
    }

    async fn clusters(&self) -> Reply {
        let mut lines: Vec<String> = self.ask(Command::Clusters).await.into_iter().flatten().collect();
        lines.sort();
        text(StatusCode::OK, lines.join("\n") + "\n")
    }

    /// Asks every worker; one that does not answer in time is left out.
    async fn ask<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<T> {
        let mut answers = Vec::new();
        for worker in self.shared.workers() {
            let (sender, receiver) = oneshot::channel();
            if worker.send(command(sender)).await.is_ok()
                && let Ok(Ok(answer)) = tokio::time::timeout(WORKERS_TIMEOUT, receiver).await
            {
                answers.push(answer);
            }
        }
        answers
    }

    fn server_info(&self) -> Reply {
        let identity = self.shared.identity();
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        as_json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "node": self.shared.bootstrap.node_id(),
            "generation": self.shared.snapshot().generation,
            "workers": self.shared.bootstrap.workers,
            "waiting": store.waiting(),
            "certificate": identity.as_ref().map(|identity| json!({
                "id": identity.svid.id.as_str(),
                "serial": identity.svid.serial,
                "not_after": identity.svid.not_after.as_secs(),
            })),
            "last_problem": self.progress.last(),
        }))
    }
}

const HELP: &str = "\
/ready                readiness (also /healthz/ready)
/config_dump          resources accepted from the control plane
/clusters             endpoints in use
/connections          open connections
/edges                who called whom
/stats/prometheus     metrics
/server_info          version, identity, configuration
/logging?level=LEVEL  POST: set the log level
/drain[?inboundonly]  POST: take nothing new
/quitquitquit         POST: end
";
