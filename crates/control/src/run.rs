//! Wiring: from the command line to everything that runs.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mizzen_pki::store::{self, StoreError};
use mizzen_pki::token::TokenKey;
use mizzen_pki::{Authority, IssueError, SanRule, Verifier, tls};
use mizzen_sources::{OpenError, Sources};
use mizzen_world::World;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::api::{self, Api};
use crate::ca::CertificateService;
use crate::certificate::{OwnCertificate, now};
use crate::listen::{self, Services};
use crate::mesh::{Mesh, unenforced_policies};
use crate::monitor::{self, Metrics};
use crate::options::Options;
use crate::tracker::Tracker;

/// xDS streams at a time; a further one is refused.
const STREAMS_MAX: usize = 20_000;
/// How often late changes are looked for.
const TICK: Duration = Duration::from_millis(250);

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("the manifests cannot be followed")]
    Sources(#[from] OpenError),
    #[error(
        "policies that are not enforced yet, and would let through what they were written to deny:\n{list}\n\
         remove them, or start with --allow-unenforced"
    )]
    Unenforced { list: String },
    #[error("the certificate authority")]
    Authority(#[from] StoreError),
    #[error("the control plane's own certificate")]
    Certificate(#[from] IssueError),
    #[error("TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("listening on {address}")]
    Listen { address: String, source: io::Error },
    #[error("{address} is not a loopback address; xDS in plain text is served to this machine only")]
    PlaintextAddress { address: SocketAddr },
    #[error("no thread can be started")]
    Thread(#[source] io::Error),
}

/// What everything that serves refers to.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) certificates: Arc<CertificateService>,
    pub(crate) token_key: TokenKey,
    pub(crate) trust_domain: Arc<str>,
    pub(crate) metrics: Metrics,
    pub(crate) streams: Arc<Semaphore>,
    tracker: Mutex<Tracker>,
    pulse: watch::Sender<()>,
}

impl Shared {
    /// Changes the tracker and wakes those who wait for it.
    pub(crate) fn track<T>(&self, change: impl FnOnce(&mut Tracker) -> T) -> T {
        let result = change(&mut self.tracker.lock().unwrap_or_else(PoisonError::into_inner));
        self.pulse.send_replace(());
        result
    }

    /// Reads the tracker.
    pub(crate) fn track_quietly<T>(&self, read: impl FnOnce(&Tracker) -> T) -> T {
        read(&self.tracker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes whenever the tracker does.
    pub(crate) fn pulse(&self) -> watch::Receiver<()> {
        self.pulse.subscribe()
    }
}

/// A control plane that runs; dropping it ends it.
#[derive(Debug)]
pub struct Running {
    pub xds: SocketAddr,
    pub plaintext: SocketAddr,
    pub monitoring: SocketAddr,
    control_socket: Option<PathBuf>,
    tasks: JoinSet<()>,
    /// Followed until the end.
    _sources: Arc<Sources>,
}

impl Running {
    /// Waits until something that should run for ever has ended.
    pub async fn ended(&mut self) {
        self.tasks.join_next().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(path) = &self.control_socket {
            // A socket that stays is removed by the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Reads, compiles, listens. Everything is ready on return.
pub async fn start(options: &Options) -> Result<Running, StartError> {
    if !options.plaintext_address.ip().is_loopback() {
        return Err(StartError::PlaintextAddress { address: options.plaintext_address });
    }
    private_directory(&options.state)?;
    let sources = Arc::new(Sources::open(&options.config, mizzen_sources::Options::default())?);
    let first = sources.current();
    let policies: Vec<String> = unenforced_policies(&first).map(|finding| place(&finding)).collect();
    if !options.allow_unenforced && !policies.is_empty() {
        return Err(StartError::Unenforced { list: policies.join("\n") });
    }
    let (world, _) = World::new(first.generation, &first.objects);
    let trust_domain = world.mesh().trust_domain.clone();
    let certificates = Arc::new(CertificateService::new(authority(options, &trust_domain)?, options.cert_ttl));
    let shared = Arc::new(Shared {
        certificates: certificates.clone(),
        token_key: store::load_or_create_token_key(&options.state)?,
        trust_domain: trust_domain.clone(),
        metrics: Metrics::default(),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        tracker: Mutex::default(),
        pulse: watch::Sender::new(()),
    });
    let (own, renew_at) = OwnCertificate::issue(&certificates, &trust_domain)?;
    let acceptor = acceptor(&certificates, &world, own.clone())?;
    let mut running = listeners(options, &shared, &sources, acceptor).await?;
    running.tasks.spawn(own.keep(certificates, trust_domain, renew_at));
    running.tasks.spawn(tick(shared));
    tracing::info!(xds = %running.xds, plaintext = %running.plaintext, monitoring = %running.monitoring, "serving");
    Ok(running)
}

/// Opens the sockets and puts their tasks to work.
async fn listeners(
    options: &Options,
    shared: &Arc<Shared>,
    sources: &Arc<Sources>,
    acceptor: TlsAcceptor,
) -> Result<Running, StartError> {
    let (xds, xds_address) = bind(options.xds()).await?;
    let (plaintext, plaintext_address) = bind(options.plaintext_address).await?;
    let (monitoring, monitoring_address) = bind(options.monitoring()).await?;
    let control = options.control_socket.as_deref().map(bind_unix).transpose()?;
    let started = Mesh::start(sources.subscribe(), shared.clone(), options.allow_unenforced);
    let (mesh, follow) = started.map_err(StartError::Thread)?;
    let view = mesh.view.clone();
    let services = Services { mesh, shared: shared.clone() };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { drop(follow.await) });
    tasks.spawn(listen::run(xds, Some(acceptor), services.clone()));
    tasks.spawn(listen::run(plaintext, None, services));
    tasks.spawn(monitor::run(monitoring, shared.clone()));
    if let Some(control) = control {
        tasks.spawn(api::run(control, Api { shared: shared.clone(), sources: sources.clone(), view }));
    }
    Ok(Running {
        xds: xds_address,
        plaintext: plaintext_address,
        monitoring: monitoring_address,
        control_socket: options.control_socket.clone(),
        tasks,
        _sources: sources.clone(),
    })
}

async fn tick(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        shared.track(|tracker| tracker.tick(Instant::now()));
    }
}

fn authority(options: &Options, trust_domain: &str) -> Result<Authority, StoreError> {
    match &options.ca_dir {
        Some(dir) => store::load_plugged(dir, now()),
        None => store::load_or_create(&options.state, trust_domain, now()),
    }
}

/// TLS for proxies: a client certificate is optional, and one that is shown must be of this mesh.
fn acceptor(
    certificates: &CertificateService,
    world: &World,
    own: Arc<OwnCertificate>,
) -> Result<TlsAcceptor, StartError> {
    let rules = world.mesh().trust_domains().map(|domain| SanRule::trust_domain(domain)).collect();
    let verifier = Verifier::optional(certificates.authority().roots(), rules);
    let verifier = verifier.map_err(|error| StartError::Tls(error.into()))?;
    let config = tls::server_config(Arc::new(verifier), own, tls::TLS12_UP, &[b"h2"]);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| StartError::Tls(error.into()))?)))
}

/// `file:line: Kind/NAMESPACE/NAME`
fn place(finding: &mizzen_api::Finding) -> String {
    let object = finding.object.as_ref().map_or_else(String::new, ToString::to_string);
    format!("  {}:{}: {object}", finding.file, finding.line)
}

fn private_directory(path: &Path) -> Result<(), StartError> {
    let make = || {
        std::fs::create_dir_all(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
    };
    make().map_err(|source| StartError::Directory { path: path.to_owned(), source })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// A socket for this user only. One that a dead process left is replaced; one that is answered is not.
fn bind_unix(path: &Path) -> Result<UnixListener, StartError> {
    let failed = |source| StartError::Listen { address: path.display().to_string(), source };
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(failed(io::Error::from(io::ErrorKind::AddrInUse)));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}
