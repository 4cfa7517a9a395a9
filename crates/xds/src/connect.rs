//! The client's shell: keeps one delta stream to a control plane, around [`client::Session`](crate::client::Session).
//!
//! In: how to reach the control plane ([`Upstream`]), subscriptions. Out: [`Event`]s through a bounded channel; the
//! caller answers each update with [`Client::applied`]. A broken stream is opened anew after a jittered back-off.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use futures_util::future::BoxFuture;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tonic::{Status, Streaming};

use crate::DELTA_PATH;
use crate::client::{Session, Ticket, Update};
use crate::grpc::{self, Body, Framed, Sender, Target, unavailable};
use crate::kind::Kind;
use crate::nack::Rejection;

/// Largest response in bytes; a larger one ends the stream. Other control planes send a kind in one message.
pub const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// Events that wait for the caller; then the stream is not read.
const EVENTS_MAX: usize = 4;
/// Commands that wait for the task; then the caller waits.
const COMMANDS_MAX: usize = 64;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach a control plane. Asked again at each connection, so that credentials may change.
pub trait Upstream: Send + Sync + 'static {
    /// Host and port, sent as `:authority`.
    fn authority(&self) -> String;

    fn connect(&self) -> BoxFuture<'static, io::Result<TcpStream>>;

    /// TLS and the name to verify; `None` for plain text.
    fn tls(&self) -> Option<(Arc<ClientConfig>, ServerName<'static>)>;

    /// Bearer token, if the caller is known by one.
    fn bearer(&self) -> Option<String>;
}

/// Opens an HTTP/2 connection for gRPC calls. It lives as long as the returned handle or a call of it.
pub async fn open(upstream: &dyn Upstream) -> Result<SendRequest<Body>, Status> {
    let connecting = async {
        let tcp = upstream.connect().await.map_err(|error| unavailable(&error))?;
        // Small requests would wait for the peer's delayed ACK; a socket that refuses the option still works.
        let _ = tcp.set_nodelay(true);
        match upstream.tls() {
            None => handshake(TokioIo::new(tcp)).await,
            Some((config, name)) => {
                let tls = TlsConnector::from(config).connect(name, tcp).await;
                handshake(TokioIo::new(tls.map_err(|error| unavailable(&error))?)).await
            }
        }
    };
    let timeout = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    timeout.unwrap_or_else(|_| Err(Status::deadline_exceeded("connecting took too long")))
}

async fn handshake<I>(io: I) -> Result<SendRequest<Body>, Status>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .max_header_list_size(16 << 10)
        .handshake(io)
        .await
        .map_err(|error| unavailable(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the control plane ended");
        }
    });
    Ok(send)
}

/// What the caller sees.
#[derive(Debug)]
pub enum Event {
    Connected,
    /// To be applied, and answered with [`Client::applied`].
    Update(Update),
    /// The stream ended; a new one is opened after `retry_in`.
    Disconnected {
        status: Status,
        retry_in: Duration,
    },
}

#[derive(Debug)]
enum Command {
    Applied(Ticket, Vec<Rejection>),
    Subscribe(Kind, Vec<String>),
    Unsubscribe(Kind, Vec<String>),
    Reconnect,
}

/// A running client. Dropping it ends the task and the stream.
#[derive(Debug)]
pub struct Client {
    events: mpsc::Receiver<Event>,
    handle: Handle,
}

/// Speaks to a running client from elsewhere. It does not keep the client alive.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Command>);

impl Client {
    /// Starts a task on the current runtime. `rng` spreads the reconnections of many clients.
    pub fn start(upstream: Arc<dyn Upstream>, node: Node, subscriptions: &[(Kind, &str)], rng: fastrand::Rng) -> Self {
        let (event_sender, events) = mpsc::channel(EVENTS_MAX);
        let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
        let session = Session::new(node, subscriptions.iter().copied());
        let task = Task { upstream, session, events: event_sender, commands, rng, failures: 0 };
        tokio::spawn(task.run());
        Self { events, handle: Handle(command_sender) }
    }

    /// The next event. `None` only if the task is gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// See [`Handle::applied`].
    pub async fn applied(&self, ticket: Ticket, refused: Vec<Rejection>) {
        self.handle.applied(ticket, refused).await;
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Handle {
    /// The update is in force, without the refused resources, which are named to the server.
    pub async fn applied(&self, ticket: Ticket, refused: Vec<Rejection>) {
        self.send(Command::Applied(ticket, refused)).await;
    }

    pub async fn subscribe(&self, kind: Kind, names: Vec<String>) {
        self.send(Command::Subscribe(kind, names)).await;
    }

    pub async fn unsubscribe(&self, kind: Kind, names: Vec<String>) {
        self.send(Command::Unsubscribe(kind, names)).await;
    }

    /// Opens a new stream, for example with new credentials.
    pub async fn reconnect(&self) {
        self.send(Command::Reconnect).await;
    }

    async fn send(&self, command: Command) {
        // The client is gone: nothing is left to be told.
        let _ = self.0.send(command).await;
    }
}

/// Why a stream ended.
enum End {
    Broken(Status),
    /// The caller wants a new one.
    Renew,
    /// The caller is gone.
    Dropped,
}

struct Task {
    upstream: Arc<dyn Upstream>,
    session: Session,
    events: mpsc::Sender<Event>,
    commands: mpsc::Receiver<Command>,
    rng: fastrand::Rng,
    /// Streams in a row that brought nothing.
    failures: u32,
}

impl Task {
    async fn run(mut self) {
        loop {
            let end = match self.dial().await {
                Ok((out, responses)) => self.stream(out, responses).await,
                Err(status) => End::Broken(status),
            };
            self.session.disconnected();
            let status = match end {
                End::Dropped => return,
                End::Renew => continue,
                End::Broken(status) => status,
            };
            let retry_in = self.backoff();
            if self.events.send(Event::Disconnected { status, retry_in }).await.is_err() {
                return;
            }
            if !self.pause(retry_in).await {
                return;
            }
        }
    }

    async fn dial(&mut self) -> Result<(Sender, Streaming<DeltaDiscoveryResponse>), Status> {
        let mut connection = open(&*self.upstream).await?;
        let (out, body) = grpc::request_body();
        let authority = self.upstream.authority();
        let bearer = self.upstream.bearer();
        let target = Target { authority: &authority, path: DELTA_PATH, bearer: bearer.as_deref() };
        let calling = grpc::call(&mut connection, target, body, RESPONSE_BYTES_MAX);
        let calling = tokio::time::timeout(CONNECT_TIMEOUT, calling).await;
        let responses = calling.map_err(|_| Status::deadline_exceeded("no response headers"))??;
        Ok((out, responses))
    }

    async fn stream(&mut self, out: Sender, mut responses: Streaming<DeltaDiscoveryResponse>) -> End {
        self.session.connected();
        let events = self.events.clone();
        let mut outbox = Some(Event::Connected);
        let mut inbox = None;
        loop {
            if inbox.is_none() {
                inbox = self.session.poll();
            }
            tokio::select! {
                permit = events.reserve(), if outbox.is_some() => match (permit, outbox.take()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    _ => return End::Dropped,
                },
                permit = out.ready(), if inbox.is_some() => {
                    let request = inbox.take();
                    // If the stream is closed, the reason comes with the response.
                    if let (Ok(permit), Some(request)) = (permit, request) {
                        permit.send(Framed::message(&request));
                    }
                }
                command = self.commands.recv() => match command {
                    Some(Command::Reconnect) => return End::Renew,
                    Some(command) => self.obey(command),
                    None => return End::Dropped,
                },
                response = responses.message(), if outbox.is_none() => match response {
                    Ok(Some(response)) => match self.session.response(response) {
                        Ok(update) => {
                            self.failures = 0;
                            outbox = Some(Event::Update(update));
                        }
                        Err(violation) => return End::Broken(Status::failed_precondition(violation.to_string())),
                    },
                    Ok(None) => return End::Broken(Status::unavailable("the server ended the stream")),
                    Err(status) => return End::Broken(status),
                },
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Applied(ticket, refused) => self.session.applied(&ticket, refused),
            Command::Subscribe(kind, names) => self.session.subscribe(kind, names.iter().map(String::as_str)),
            Command::Unsubscribe(kind, names) => self.session.unsubscribe(kind, names.iter().map(String::as_str)),
            Command::Reconnect => {}
        }
    }

    /// Doubles up to [`BACKOFF_MAX`], of which a random half is left out.
    fn backoff(&mut self) -> Duration {
        let full = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + 0.5 * self.rng.f64())
    }

    /// Waits, still obeying. False if the caller is gone.
    async fn pause(&mut self, time: Duration) -> bool {
        let pause = tokio::time::sleep(time);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                command = self.commands.recv() => match command {
                    Some(Command::Reconnect) => return true,
                    Some(command) => self.obey(command),
                    None => return false,
                },
            }
        }
    }
}
