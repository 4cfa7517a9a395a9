//! TLS of connections: our identity, the settings that a chain or cluster asks for, and what a handshake showed of the peer.
//!
//! Keys and certificates are not part of the Snapshot: they rotate on their own. A worker builds rustls configurations on
//! first use and drops them when the identity changes; connections that are open stay.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use mizzen_pki::{PeerCertificate, SanRule, Svid, Verifier, tls};
use mizzen_snapshot::listener::{ClientTls, SanMatch, ServerTls, TlsVersion, TlsVersions};
use rustls::{
    ClientConfig, CommonState, ProtocolVersion, ServerConfig, SupportedProtocolVersion, server::ResolvesServerCert,
};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    io::{Replayed, Stream},
    upstream::pool::{Key, Protocol},
    worker::{Config, Worker},
};

/// Our certificate and the roots we trust.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) svid: Svid,
    /// `spiffe://…`, shared with every connection's facts.
    pub(crate) principal: Arc<str>,
}

impl Identity {
    pub(crate) fn new(svid: Svid) -> Self {
        let principal = svid.id.as_str().into();
        Self { svid, principal }
    }
}

/// What a handshake showed.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The peer's SPIFFE id; `None` when it showed no certificate.
    pub(crate) principal: Option<Arc<str>>,
    pub(crate) uri_sans: Vec<Arc<str>>,
    pub(crate) dns_sans: Vec<String>,
    pub(crate) subject: Arc<str>,
    pub(crate) serial: Arc<str>,
    /// SHA-256 of the certificate, hex.
    pub(crate) fingerprint: Arc<str>,
    /// DER.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// Unix seconds; `u64::MAX` without a certificate.
    pub(crate) not_after: u64,
    /// Ours.
    pub(crate) local_principal: Option<Arc<str>>,
    /// `TLSv1.3`
    pub(crate) version: &'static str,
    pub(crate) cipher: &'static str,
    /// IANA name of the group.
    pub(crate) key_exchange: Option<&'static str>,
    pub(crate) alpn: Option<Box<str>>,
}

impl Peer {
    /// Whether the peer is still among those allowed.
    pub(crate) fn satisfies(&self, rules: &[SanMatch]) -> bool {
        rules.is_empty()
            || rules.iter().any(|rule| {
                self.uri_sans.iter().any(|uri| match rule {
                    SanMatch::Exact(text) => **uri == **text,
                    SanMatch::Prefix(prefix) => uri.starts_with(&**prefix),
                })
            })
    }
}

/// Why a handshake did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("this proxy has no certificate yet")]
    NoIdentity,
    #[error("the settings cannot be used")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("handshake: {0}")]
    Handshake(#[source] std::io::Error),
    #[error("handshake took too long")]
    Timeout,
    #[error("the peer's certificate cannot be read")]
    Peer(#[from] mizzen_pki::peer::PeerError),
}

/// rustls configurations of this worker.
#[derive(Default)]
pub(crate) struct TlsCache {
    inner: RefCell<Configs>,
}

#[derive(Default)]
struct Configs {
    /// Everything here was built with this identity.
    identity: Option<Arc<Identity>>,
    servers: HashMap<(Arc<ServerTls>, bool), Arc<ServerConfig>>,
    clients: HashMap<(Arc<ClientTls>, Alpn), Arc<ClientConfig>>,
}

/// Which protocols a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Alpn {
    /// What the cluster says.
    Given,
    MeshHttp1,
    MeshHttp2,
}

impl Configs {
    fn bind(&mut self, identity: &Arc<Identity>) {
        if !self.identity.as_ref().is_some_and(|known| Arc::ptr_eq(known, identity)) {
            self.servers.clear();
            self.clients.clear();
            self.identity = Some(Arc::clone(identity));
        }
    }
}

impl TlsCache {
    /// Drops configurations of settings that nobody else holds any more.
    pub(crate) fn retain(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.servers.retain(|(spec, _), _| Arc::strong_count(spec) > 1);
        inner.clients.retain(|(spec, _), _| Arc::strong_count(spec) > 1);
    }

    fn server(
        &self,
        identity: &Arc<Identity>,
        spec: &Arc<ServerTls>,
        alpn: bool,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let inner = &mut *self.inner.borrow_mut();
        inner.bind(identity);
        let key = (Arc::clone(spec), alpn);
        if let Some(known) = inner.servers.get(&key) {
            return Ok(Arc::clone(known));
        }
        let config = Arc::new(server_config(identity, spec, alpn)?);
        inner.servers.insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn client(
        &self,
        identity: &Arc<Identity>,
        spec: &Arc<ClientTls>,
        alpn: Alpn,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let inner = &mut *self.inner.borrow_mut();
        inner.bind(identity);
        let key = (Arc::clone(spec), alpn);
        if let Some(known) = inner.clients.get(&key) {
            return Ok(Arc::clone(known));
        }
        let config = Arc::new(client_config(identity, spec, alpn)?);
        inner.clients.insert(key, Arc::clone(&config));
        Ok(config)
    }
}

fn settings(error: impl std::error::Error + Send + Sync + 'static) -> TlsError {
    TlsError::Settings(Box::new(error))
}

/// The certificate of one handshake is the one of the configuration's identity.
#[derive(Debug)]
struct Always(Arc<rustls::sign::CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn server_config(identity: &Identity, spec: &ServerTls, alpn: bool) -> Result<ServerConfig, TlsError> {
    let rules = rules(&spec.peers);
    let verifier = if spec.require_client_certificate {
        Verifier::new(&identity.svid.roots, rules)
    } else {
        Verifier::optional(&identity.svid.roots, rules)
    };
    let alpn: Vec<&[u8]> = if alpn { spec.alpn.iter().map(|name| name.as_bytes()).collect() } else { Vec::new() };
    let certificate = Arc::new(Always(Arc::clone(&identity.svid.certified_key)));
    tls::server_config(Arc::new(verifier.map_err(settings)?), certificate, versions(spec.versions), &alpn)
        .map_err(settings)
}

fn client_config(identity: &Identity, spec: &ClientTls, alpn: Alpn) -> Result<ClientConfig, TlsError> {
    let verifier = Verifier::new(&identity.svid.roots, rules(&spec.peers)).map_err(settings)?;
    let certificate = spec.certificate.as_ref().map(|_| Arc::clone(&identity.svid.certified_key));
    let alpn: Vec<&[u8]> = match alpn {
        // We do not speak the metadata exchange that follows when it is agreed on.
        Alpn::Given => spec.alpn.iter().map(|a| a.as_bytes()).filter(|a| *a != b"istio-peer-exchange").collect(),
        Alpn::MeshHttp1 => vec![b"istio-http/1.1", b"istio", b"http/1.1"],
        Alpn::MeshHttp2 => vec![b"istio-h2", b"istio", b"h2"],
    };
    tls::client_config(Arc::new(verifier), certificate, versions(spec.versions), &alpn).map_err(settings)
}

fn rules(peers: &[SanMatch]) -> Vec<SanRule> {
    if peers.is_empty() {
        return vec![SanRule::Prefix("spiffe://".into())];
    }
    peers
        .iter()
        .map(|peer| match peer {
            SanMatch::Exact(text) => SanRule::Exact(text.clone()),
            SanMatch::Prefix(prefix) => SanRule::Prefix(prefix.clone()),
        })
        .collect()
}

/// A chain or cluster that insists on the old version.
static TLS12_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

fn versions(versions: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    match (versions.min, versions.max) {
        (TlsVersion::Tls13, _) => tls::TLS13_ONLY,
        (_, TlsVersion::Tls13) => tls::TLS12_UP,
        _ => TLS12_ONLY,
    }
}

/// The server's side of a handshake. `offered` is the client's ALPN: with nothing in common the handshake goes on
/// without one, as other proxies do.
pub(crate) async fn accept(
    config: &Config,
    worker: &Worker,
    (spec, offered): (&Arc<ServerTls>, &[String]),
    timeout: Duration,
    stream: Replayed,
) -> Result<(Stream, Peer), TlsError> {
    let identity = config.identity.as_ref().ok_or(TlsError::NoIdentity)?;
    let common = offered.iter().any(|name| spec.alpn.iter().any(|ours| **ours == **name));
    let server = worker.tls.server(identity, spec, common)?;
    let handshake = tokio::time::timeout(timeout, TlsAcceptor::from(server).accept(stream));
    let stream = handshake.await.map_err(|_| TlsError::Timeout)?.map_err(TlsError::Handshake)?;
    let peer = peer(stream.get_ref().1, identity)?;
    Ok((Stream::Server(Box::new(stream)), peer))
}

/// The client's side, within the caller's timeout.
pub(crate) async fn connect(
    worker: &Worker,
    spec: &Arc<ClientTls>,
    key: &Key,
    stream: Replayed,
) -> Result<(Stream, Peer), TlsError> {
    let config = worker.config();
    let identity = config.identity.as_ref().ok_or(TlsError::NoIdentity)?;
    let alpn = match (key.mesh_alpn, key.protocol) {
        (true, Protocol::Http1) => Alpn::MeshHttp1,
        (true, Protocol::Http2) => Alpn::MeshHttp2,
        _ => Alpn::Given,
    };
    let client = worker.tls.client(identity, spec, alpn)?;
    // A name that cannot go into SNI (`outbound_.80_._.host` can) is left out; identity is checked by SPIFFE id.
    let name = spec.sni.as_deref().and_then(|sni| ServerName::try_from(sni.to_owned()).ok());
    let name = name.unwrap_or_else(|| ServerName::IpAddress(stream_ip(&stream).into()));
    let stream = TlsConnector::from(client).connect(name, stream).await.map_err(TlsError::Handshake)?;
    let peer = peer(stream.get_ref().1, identity)?;
    Ok((Stream::Client(Box::new(stream)), peer))
}

fn stream_ip(stream: &Replayed) -> std::net::IpAddr {
    stream.tcp().peer_addr().map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip())
}

fn peer(state: &CommonState, identity: &Identity) -> Result<Peer, TlsError> {
    let leaf = state.peer_certificates().and_then(<[_]>::first);
    let parsed = leaf.map(|der| PeerCertificate::from_der(der)).transpose()?;
    let principal: Option<Arc<str>> = parsed.as_ref().and_then(|p| p.id.as_ref()).map(|id| id.as_str().into());
    Ok(Peer {
        uri_sans: principal.iter().cloned().collect(),
        principal,
        dns_sans: parsed.as_ref().map_or_else(Vec::new, |p| p.dns_names.clone()),
        subject: parsed.as_ref().map_or("", |p| &p.subject).into(),
        serial: parsed.as_ref().map_or("", |p| &p.serial).into(),
        fingerprint: parsed.as_ref().map_or("", |p| &p.hash).into(),
        certificate: leaf.map(|der| der.clone().into_owned()),
        not_after: parsed.as_ref().map_or(u64::MAX, |p| p.not_after.as_secs()),
        local_principal: Some(Arc::clone(&identity.principal)),
        version: match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("-"),
        key_exchange: state.negotiated_key_exchange_group().and_then(|group| group.name().as_str()).map(iana),
        alpn: state.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into()),
    })
}

/// rustls' names of groups are IANA's but for case (TLS Supported Groups registry).
fn iana(name: &'static str) -> &'static str {
    match name {
        "X25519" => "x25519",
        "X448" => "x448",
        other => other,
    }
}
