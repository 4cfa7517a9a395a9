//! What the side thread does for the proxy's configuration: get a certificate, renew it, follow the control plane, and
//! publish what both bring.
//!
//! ```text
//! bootstrap token ─► CA ─► Svid ─► Shared::publish_identity        (again at half of its life)
//! xDS updates ─► Store::apply ─► Store::publish ─► Shared::publish ─► ACK ("applied" means in force)
//! ```

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::future::BoxFuture;
use mizzen_net::sock::{self, mark};
use mizzen_pki::{KeyAndCsr, SpiffeId, Svid, tls, wire};
use mizzen_snapshot::{Resource, Store, Update};
use mizzen_xds::{
    Kind, Rejection,
    connect::{self, Client, Event, Upstream},
    grpc::{self, Target},
};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::{TcpSocket, TcpStream};

use crate::{shared::Shared, tls::Identity};

/// Between two tries to get a first certificate.
const RETRY: Duration = Duration::from_millis(500);
/// Between two tries to renew one that is still good.
const RENEW_RETRY: Duration = Duration::from_secs(2);
/// Bytes of the CA's answer: a chain and a bundle of roots.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Name in the control plane's certificate (Istio).
const CONTROL_PLANE_NAME: &str = "istiod.istio-system.svc";

/// What the agent knows of how it is going; read by readiness and by the admin API.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// One bit for each of [`SUBSCRIPTIONS`] that arrived in full.
    arrived: AtomicU8,
    /// When all of [`REQUIRED`] had arrived.
    required_since: OnceLock<Instant>,
    /// What the last disconnect, rejection or wait was about.
    last: Mutex<Option<String>>,
}

impl Progress {
    /// Clusters and listeners arrived in full, and so did the kinds that not every control plane sends, or it does not.
    pub(crate) fn is_ready(&self) -> bool {
        let arrived = self.arrived.load(Ordering::Relaxed);
        let all = (1 << SUBSCRIPTIONS.len()) - 1;
        arrived == all || self.required_since.get().is_some_and(|since| since.elapsed() >= OPTIONAL_PATIENCE)
    }

    fn arrived(&self, kind: Kind) {
        let bit = |kind| SUBSCRIPTIONS.iter().position(|(k, _)| *k == kind).map_or(0, |at| 1 << at);
        let arrived = self.arrived.fetch_or(bit(kind), Ordering::Relaxed) | bit(kind);
        if REQUIRED.iter().all(|kind| arrived & bit(*kind) != 0) {
            self.required_since.get_or_init(Instant::now);
        }
    }

    pub(crate) fn last(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, text: impl Into<String>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.into());
    }
}

/// How the control plane and CA are reached.
struct ControlPlane {
    shared: Arc<Shared>,
    address: String,
    token: Option<String>,
    roots: Option<Vec<CertificateDer<'static>>>,
}

impl Upstream for ControlPlane {
    fn authority(&self) -> String {
        self.address.clone()
    }

    fn connect(&self) -> BoxFuture<'static, io::Result<TcpStream>> {
        let (shared, address) = (Arc::clone(&self.shared), self.address.clone());
        Box::pin(async move {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for to in tokio::net::lookup_host(&address).await? {
                let mark = shared.bootstrap.marks.then_some(mark::OUTBOUND);
                let socket = TcpSocket::from_std_stream(sock::client(to, mark, None)?);
                match socket.connect(to).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }

    fn tls(&self) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        let roots = self.roots.as_ref()?;
        let identity = self.shared.identity();
        let mut store = rustls::RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        if let Some(identity) = &identity {
            store.add_parsable_certificates(identity.svid.roots.iter().cloned());
        }
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(store.into(), tls::provider().clone());
        let certificate = identity.map(|identity| Arc::clone(&identity.svid.certified_key));
        let config = tls::client_config(verifier.build().ok()?, certificate, tls::TLS13_ONLY, &[b"h2"]).ok()?;
        let name = ServerName::try_from(CONTROL_PLANE_NAME).ok()?;
        Some((Arc::new(config), name))
    }

    fn bearer(&self) -> Option<String> {
        self.token.clone()
    }
}

/// Credentials from the command line.
pub(crate) struct Credentials {
    pub(crate) token: Option<String>,
    /// PEM; without it the control plane is spoken to in plain text.
    pub(crate) roots: Option<Vec<CertificateDer<'static>>>,
}

/// Runs until the process ends.
pub(crate) async fn run(
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    store: Arc<Mutex<Store>>,
    credentials: Credentials,
) {
    let upstream = |address: &str| {
        Arc::new(ControlPlane {
            shared: Arc::clone(&shared),
            address: address.to_owned(),
            token: credentials.token.clone(),
            roots: credentials.roots.clone(),
        })
    };
    if credentials.roots.is_some() {
        let ca = upstream(&shared.bootstrap.ca_address);
        first_identity(&shared, &progress, &ca).await;
        tokio::task::spawn_local(renew(Arc::clone(&shared), ca));
    }
    let discovery = upstream(&shared.bootstrap.discovery_address);
    follow(shared, progress, store, discovery).await;
}

async fn first_identity(shared: &Shared, progress: &Progress, ca: &ControlPlane) {
    loop {
        match certificate(shared, ca).await {
            Ok(svid) => {
                tracing::info!(id = svid.id.as_str(), serial = svid.serial, "certificate issued");
                return shared.publish_identity(Arc::new(Identity::new(svid)));
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "no certificate yet");
                progress.note(format!("no certificate yet: {error:#}"));
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Renews at half of the certificate's life, and goes on trying while the old one lasts.
async fn renew(shared: Arc<Shared>, ca: Arc<ControlPlane>) {
    loop {
        let Some(identity) = shared.identity() else { return };
        let at = identity.svid.renew_at(fastrand::f64());
        tokio::time::sleep(Duration::from_secs(at.as_secs().saturating_sub(now().as_secs()).max(1))).await;
        loop {
            match certificate(&shared, &ca).await {
                Ok(svid) => {
                    tracing::info!(id = svid.id.as_str(), serial = svid.serial, "certificate renewed");
                    shared.publish_identity(Arc::new(Identity::new(svid)));
                    break;
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "certificate not renewed");
                    tokio::time::sleep(RENEW_RETRY).await;
                }
            }
        }
    }
}

async fn certificate(shared: &Shared, ca: &ControlPlane) -> anyhow::Result<Svid> {
    let id: SpiffeId = shared.bootstrap.spiffe_id().parse()?;
    let KeyAndCsr { key, csr } = KeyAndCsr::generate(&id)?;
    let request = wire::IstioCertificateRequest::new(csr, shared.bootstrap.certificate_ttl);
    let mut connection = connect::open(ca).await?;
    let token = ca.bearer();
    let target = Target { authority: &ca.address, path: wire::CREATE_CERTIFICATE, bearer: token.as_deref() };
    let answer: wire::IstioCertificateResponse =
        grpc::unary(&mut connection, target, &request, ANSWER_BYTES_MAX).await?;
    Ok(Svid::assemble_for(&id, key, &answer.cert_chain, now())?)
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Without these nothing can be served.
const REQUIRED: [Kind; 2] = [Kind::Cluster, Kind::Listener];
/// How long the other kinds are waited for: a control plane that has no virtual hosts or names of its own stays silent.
const OPTIONAL_PATIENCE: Duration = Duration::from_secs(2);

/// Types followed, all of each: on-demand subscription has its place in `Snapshot`'s lookups.
const SUBSCRIPTIONS: [(Kind, &str); 6] = [
    (Kind::Cluster, "*"),
    (Kind::Endpoints, "*"),
    (Kind::Listener, "*"),
    (Kind::Route, "*"),
    (Kind::VirtualHost, "*"),
    (Kind::NameTable, "*"),
];

async fn follow(shared: Arc<Shared>, progress: Arc<Progress>, store: Arc<Mutex<Store>>, upstream: Arc<ControlPlane>) {
    let mut client = Client::start(upstream, shared.bootstrap.node().to_wire(), &SUBSCRIPTIONS, fastrand::Rng::new());
    while let Some(event) = client.next().await {
        match event {
            Event::Connected => tracing::info!("connected to the control plane"),
            Event::Disconnected { status, retry_in } => {
                progress.note(format!("control plane: {}", status.message()));
                tracing::warn!(
                    status = status.message(),
                    ?retry_in,
                    "control plane lost; the configuration in force stays"
                );
            }
            Event::Update(update) => {
                let (kind, complete) = (update.kind, update.complete);
                let refused = apply(&shared, &store, &update);
                for rejection in &refused {
                    tracing::error!(resource = %rejection.name, reason = %rejection.message, "refused; the last good version stays");
                    progress.note(format!("{}: {}", rejection.name, rejection.message));
                }
                if complete {
                    progress.arrived(kind);
                }
                client.applied(update.ticket, refused).await;
            }
        }
    }
}

/// Applies an update and puts the result in force; what could not be applied is named.
fn apply(shared: &Shared, store: &Mutex<Store>, update: &mizzen_xds::client::Update) -> Vec<Rejection> {
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    let applied = store.apply(Update {
        type_url: update.kind.type_url().to_owned(),
        added: update
            .added
            .iter()
            .map(|added| Resource {
                name: added.name.to_string(),
                version: added.version.to_string(),
                body: added.body.clone(),
            })
            .collect(),
        removed: update.removed.iter().map(ToString::to_string).collect(),
    });
    if let Some(snapshot) = store.publish() {
        shared.publish(snapshot);
    }
    applied.rejected.into_iter().map(|r| Rejection { name: r.name, message: r.message }).collect()
}
