//! A workload's certificate with its key and the roots it trusts: what the authority's answer is turned into.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use crate::id::SpiffeId;
use crate::peer::{PeerCertificate, PeerError};
use crate::tls;

/// A verified certificate, its key, and the trust bundle that came with it.
#[derive(Clone, Debug)]
pub struct Svid {
    pub id: SpiffeId,
    /// Hexadecimal.
    pub serial: String,
    pub not_after: UnixTime,
    /// When it was received: the half of the life that is left counts from here, because validity is backdated.
    pub obtained: UnixTime,
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    pub roots: Vec<CertificateDer<'static>>,
    /// For rustls' configurations.
    pub certified_key: Arc<CertifiedKey>,
}

/// Why an authority's answer is not usable.
#[derive(Debug, thiserror::Error)]
pub enum SvidError {
    #[error("the answer has {0} elements, expected at least a certificate and the roots")]
    TooShort(usize),
    #[error("element {index} of the answer is not PEM")]
    NotPem { index: usize },
    #[error("the certificate does not tell its holder")]
    Peer(#[from] PeerError),
    #[error("the certificate has no SPIFFE id")]
    NoId,
    #[error("the certificate is for {found}, expected {expected}")]
    OtherId { found: SpiffeId, expected: SpiffeId },
    #[error("the key does not fit the certificate")]
    OtherKey(#[source] rustls::Error),
    #[error("the certificate does not lead to the roots that came with it")]
    Chain(#[source] rustls::Error),
}

impl Svid {
    /// Reads an answer of `istio.v1.auth`: certificates as PEM, leaf first, the last element the roots.
    pub fn assemble(key: PrivatePkcs8KeyDer<'static>, answer: &[String], now: UnixTime) -> Result<Self, SvidError> {
        let (roots, chain) = match answer.split_last() {
            Some((roots, chain)) if !chain.is_empty() => (roots, chain),
            _ => return Err(SvidError::TooShort(answer.len())),
        };
        let mut certificates = Vec::new();
        for (index, element) in chain.iter().enumerate() {
            certificates.extend(read_pem(element).ok_or(SvidError::NotPem { index })?);
        }
        let roots = read_pem(roots).ok_or(SvidError::NotPem { index: chain.len() })?;
        let leaf = certificates.first().ok_or(SvidError::TooShort(0))?;
        let peer = PeerCertificate::from_der(leaf)?;
        check_chain(&certificates, &roots, now)?;
        let certified_key = CertifiedKey::from_der(certificates.clone(), PrivateKeyDer::Pkcs8(key), tls::provider())
            .map_err(SvidError::OtherKey)?;
        certified_key.keys_match().map_err(SvidError::OtherKey)?;
        Ok(Self {
            id: peer.id.ok_or(SvidError::NoId)?,
            serial: peer.serial,
            not_after: peer.not_after,
            obtained: now,
            chain: certificates,
            roots,
            certified_key: Arc::new(certified_key),
        })
    }

    /// As [`Svid::assemble`], and refuses an answer for someone else.
    pub fn assemble_for(
        id: &SpiffeId,
        key: PrivatePkcs8KeyDer<'static>,
        answer: &[String],
        now: UnixTime,
    ) -> Result<Self, SvidError> {
        let svid = Self::assemble(key, answer, now)?;
        if svid.id != *id {
            return Err(SvidError::OtherId { found: svid.id, expected: id.clone() });
        }
        Ok(svid)
    }

    /// When to ask for the next one: half of the life that was left when it came, earlier by up to `jitter` (0 to 1)
    /// of a tenth of that, so that workloads started together do not renew together.
    pub fn renew_at(&self, jitter: f64) -> UnixTime {
        let life = self.not_after.as_secs().saturating_sub(self.obtained.as_secs());
        let half = Duration::from_secs(life).mul_f64(0.5 * (1.0 - 0.1 * jitter.clamp(0.0, 1.0)));
        UnixTime::since_unix_epoch(Duration::from_secs(self.obtained.as_secs()) + half)
    }
}

/// All certificates of a PEM text; `None` if there is none, or one cannot be read.
pub fn read_pem(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    certificates.ok().filter(|certificates| !certificates.is_empty())
}

fn check_chain(
    chain: &[CertificateDer<'static>],
    roots: &[CertificateDer<'static>],
    now: UnixTime,
) -> Result<(), SvidError> {
    let (leaf, intermediates) = chain.split_first().ok_or(SvidError::TooShort(0))?;
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(SvidError::Chain)?;
    }
    let leaf = ParsedCertificate::try_from(leaf).map_err(SvidError::Chain)?;
    let algorithms = tls::provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, &store, intermediates, now, algorithms).map_err(SvidError::Chain)
}
