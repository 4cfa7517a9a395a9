//! Verification of peers: chain to the mesh's roots, usage, time, and who they are.
//!
//! In: roots, and rules for the SPIFFE id. Out: a rustls verifier for either side. Names in the SNI or in the URL say
//! nothing about a workload's identity, so the server name is not compared (SPIFFE X509-SVID §5.2).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::id::SpiffeId;
use crate::peer::{PeerCertificate, PeerError};
use crate::tls;

/// A rule for the id of a peer. One rule of a list has to match; an empty list matches nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SanRule {
    Exact(Box<str>),
    /// Write the slash: `spiffe://td/` does not match `spiffe://td.example/`.
    Prefix(Box<str>),
}

impl SanRule {
    /// Everyone of a trust domain.
    pub fn trust_domain(trust_domain: &str) -> Self {
        SanRule::Prefix(format!("spiffe://{trust_domain}/").into())
    }

    pub fn matches(&self, id: &SpiffeId) -> bool {
        match self {
            SanRule::Exact(text) => id.as_str() == &**text,
            SanRule::Prefix(prefix) => id.as_str().starts_with(&**prefix),
        }
    }
}

/// Why a chain that is valid was refused all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the peer does not tell who it is")]
    Unreadable(#[from] PeerError),
    #[error("the peer's certificate has no SPIFFE id")]
    Missing,
    #[error("the peer is {0}, which is not expected here")]
    Unexpected(SpiffeId),
}

/// Roots that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    #[error("a root certificate cannot be read")]
    Root(#[source] Error),
    #[error("no verifier can be made of the roots")]
    Builder(#[from] VerifierBuilderError),
}

/// Verifies peers of the mesh, as a client and as a server.
#[derive(Clone, Debug)]
pub struct Verifier {
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    rules: Arc<[SanRule]>,
}

impl Verifier {
    /// As a server it insists on a client certificate.
    pub fn new(roots: &[CertificateDer<'static>], rules: Vec<SanRule>) -> Result<Self, VerifierError> {
        Self::build(roots, rules, false)
    }

    /// As a server it accepts clients without a certificate; one that is shown has to be good.
    pub fn optional(roots: &[CertificateDer<'static>], rules: Vec<SanRule>) -> Result<Self, VerifierError> {
        Self::build(roots, rules, true)
    }

    fn build(roots: &[CertificateDer<'static>], rules: Vec<SanRule>, optional: bool) -> Result<Self, VerifierError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone()).map_err(VerifierError::Root)?;
        }
        let roots = Arc::new(store);
        let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), tls::provider().clone());
        let builder = if optional { builder.allow_unauthenticated() } else { builder };
        Ok(Self { clients: builder.build()?, roots, rules: rules.into() })
    }

    /// Whether a certificate whose chain is verified belongs to somebody who is expected.
    pub fn check_identity(&self, leaf: &[u8]) -> Result<SpiffeId, IdentityError> {
        let id = PeerCertificate::from_der(leaf)?.id.ok_or(IdentityError::Missing)?;
        if self.rules.iter().any(|rule| rule.matches(&id)) { Ok(id) } else { Err(IdentityError::Unexpected(id)) }
    }

    fn identity(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        let refused = |error| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))));
        self.check_identity(leaf).map(drop).map_err(refused)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = tls::provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        self.identity(leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.clients.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.clients.verify_client_cert(leaf, intermediates, now)?;
        self.identity(leaf)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}
