//! A real `mizzen-proxy` under a scripted control plane, with scripted servers behind it, all on loopback.

#![allow(dead_code, reason = "each test file uses its part of the harness")]

pub(crate) mod h2raw;
pub(crate) mod load;
pub(crate) mod peer;
pub(crate) mod wire;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mizzen_xds::{Generation, Kind, Resource, Version, serve, server};
use peer::Backend;
use prost::Message;
use tokio::sync::watch;

/// No step of these tests takes longer, unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A control plane that serves what it is told to.
pub(crate) struct Plane {
    pub(crate) address: SocketAddr,
    feed: watch::Sender<Arc<Generation>>,
    applied: Arc<Mutex<Option<u64>>>,
    next_version: AtomicU32,
}

impl Plane {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (feed, receiver) = watch::channel(Arc::new(Generation::empty(0)));
        let applied: Arc<Mutex<Option<u64>>> = Arc::default();
        let shared = Arc::clone(&applied);
        std::thread::spawn(move || serve_xds(listener, &receiver, &shared));
        Self { address, feed, applied, next_version: AtomicU32::new(1) }
    }

    /// Puts resources, and waits until the proxy has them in force.
    pub(crate) fn put(&self, resources: Vec<(Kind, String, Vec<u8>)>) {
        self.edit(resources, &[]);
    }

    pub(crate) fn edit(&self, resources: Vec<(Kind, String, Vec<u8>)>, removed: &[(Kind, &str)]) {
        let mut number = 0;
        self.feed.send_modify(|generation| {
            let mut next = generation.next(generation.number + 1);
            number = next.number;
            for (kind, name, body) in resources {
                let version = Version(u64::from(self.next_version.fetch_add(1, Ordering::Relaxed)));
                let resource = Resource { name: name.into(), version, body: Bytes::from(body) };
                next.put(next.set(kind).edited([resource], []));
            }
            for (kind, name) in removed {
                next.put(next.set(*kind).edited([], [*name]));
            }
            *generation = Arc::new(next);
        });
        eventually("the edit in force", || {
            self.applied.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|applied| applied >= number)
        });
    }
}

fn serve_xds(listener: TcpListener, feed: &watch::Receiver<Arc<Generation>>, applied: &Arc<Mutex<Option<u64>>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        listener.set_nonblocking(true).expect("non-blocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("registered");
        while let Ok((socket, _)) = listener.accept().await {
            let (feed, applied) = (feed.clone(), Arc::clone(applied));
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (feed, applied) = (feed.clone(), Arc::clone(&applied));
                async move {
                    let (opening, response) = serve::accept(request);
                    tokio::spawn(async move {
                        let Some(stream) = opening.first().await else { return };
                        let observe = |event| match event {
                            serve::Event::Applied(number) => {
                                *applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
                            }
                            serve::Event::Refused(nack) => eprintln!("refused: {nack:?}"),
                            _ => {}
                        };
                        stream.run(feed, server::Limits::default(), observe).await;
                    });
                    Ok::<_, std::convert::Infallible>(response)
                }
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), service),
            );
        }
    });
}

/// A running proxy; ended when dropped.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) admin: PathBuf,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Proxy {
    pub(crate) fn start(plane: &Plane, workers: usize) -> Self {
        Self::start_with(plane, workers, |_| {})
    }

    pub(crate) fn start_with(plane: &Plane, workers: usize, adjust: impl FnOnce(&mut Command)) -> Self {
        let name = format!("mzp-{}-{}.sock", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = std::env::temp_dir().join(name);
        let config = format!(
            r#"{{"discoveryAddress":"{}","proxyAdminPort":0,"statusPort":0,"terminationDrainDuration":"10s"}}"#,
            plane.address
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_mizzen-proxy"));
        command
            .args(["router", "--plaintext", "--no-dns", "--workers", &workers.to_string(), "--admin-socket"])
            .arg(&admin)
            .env("PROXY_CONFIG", config)
            .env("INSTANCE_IP", "127.0.0.1")
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null());
        adjust(&mut command);
        let child = command.spawn().expect("the proxy started");
        Self { child, admin }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A figure of `/proc/PID/status` in KiB: `VmRSS`, `VmHWM`.
    pub(crate) fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a living process");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a known name");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("a living process");
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let done = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status().expect("kill runs");
        assert!(done.success());
    }

    /// The standard output, if it was asked for as a pipe.
    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// The downstream connections that the admin API lists.
    pub(crate) fn connections(&self) -> Vec<serde_json::Value> {
        let listed: serde_json::Value = serde_json::from_str(&self.admin("/connections")).expect("JSON");
        listed["connections"].as_array().cloned().unwrap_or_default()
    }

    /// `GET path` on the admin socket.
    pub(crate) fn admin(&self, path: &str) -> String {
        let mut stream = std::os::unix::net::UnixStream::connect(&self.admin).expect("the admin socket");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_file(&self.admin).ok();
    }
}

/// Waits for a condition.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A free port of loopback.
pub(crate) fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}

/// Connects as soon as somebody listens.
pub(crate) fn connect(port: u16) -> TcpStream {
    let mut stream = None;
    eventually("the listener to accept", || {
        stream = TcpStream::connect(("127.0.0.1", port)).ok();
        stream.is_some()
    });
    let stream = stream.expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A server that keeps the raw bytes of each connection and answers each request head with `answer`.
pub(crate) struct RawServer {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl RawServer {
    pub(crate) fn start(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || record(stream, answer, &shared));
            }
        });
        Self { port, seen }
    }

    /// Everything received so far, connection by connection.
    pub(crate) fn seen(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All bytes as text.
    pub(crate) fn text(&self) -> String {
        self.seen().iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<Vec<_>>().join("\n---\n")
    }
}

fn record(mut stream: TcpStream, answer: &[u8], seen: &Mutex<Vec<Vec<u8>>>) {
    let at = {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(Vec::new());
        seen.len() - 1
    };
    let mut answered = 0;
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        let heads = {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen[at].extend_from_slice(&buffer[..n]);
            seen[at].windows(4).filter(|w| *w == b"\r\n\r\n").count()
        };
        while answered < heads {
            answered += 1;
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

/// A proxy as a gateway: `/h1/…` goes to an HTTP/1 server, `/h2/…` to an HTTP/2 one.
pub(crate) struct Mesh {
    pub(crate) plane: Plane,
    pub(crate) proxy: Proxy,
    pub(crate) http1: Backend,
    pub(crate) http2: Backend,
    pub(crate) port: u16,
}

impl Mesh {
    pub(crate) fn start(workers: usize) -> Self {
        Self::with(workers, |_| {}, |_| {})
    }

    /// With an adjusted connection manager and routes.
    pub(crate) fn with(
        workers: usize,
        manager: impl FnOnce(&mut wire::HttpConnectionManager),
        action: impl Fn(&mut wire::RouteAction),
    ) -> Self {
        let plane = Plane::start();
        let proxy = Proxy::start(&plane, workers);
        let (http1, http2, port) = (Backend::start(false), Backend::start(true), port());
        plane.put(vec![
            wire::cluster("h1", false),
            wire::cluster("h2", true),
            wire::endpoints("h1", &[http1.port]),
            wire::endpoints("h2", &[http2.port]),
            wire::listener(port, manager),
            wire::two_routes(action),
        ]);
        connect(port);
        Self { plane, proxy, http1, http2, port }
    }

    pub(crate) fn backend(&self, http2: bool) -> &Backend {
        if http2 { &self.http2 } else { &self.http1 }
    }
}

/// Sends raw bytes on a connection of their own and reads one response head (and what came with it).
pub(crate) fn exchange(port: u16, bytes: &[u8]) -> String {
    ask(&mut connect(port), bytes)
}

/// Sends raw bytes and reads one response head (and what came with it).
pub(crate) fn ask(stream: &mut TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).ok();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(n @ 1..) => answer.extend_from_slice(&buffer[..n]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Encodes a message for [`Plane::put`].
pub(crate) fn resource(kind: Kind, name: &str, message: &impl Message) -> (Kind, String, Vec<u8>) {
    (kind, name.to_owned(), message.encode_to_vec())
}
