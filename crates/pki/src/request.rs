//! The client's half of getting a certificate: a key that never leaves, and a signing request for it.

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::id::SpiffeId;

/// A fresh ECDSA P-256 key and a request for its certificate.
pub struct KeyAndCsr {
    pub key: PrivatePkcs8KeyDer<'static>,
    /// The request, PEM.
    pub csr: String,
}

impl std::fmt::Debug for KeyAndCsr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyAndCsr").field("csr", &self.csr).finish_non_exhaustive()
    }
}

/// The key could not be made, or the request not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not make a key and a signing request")]
pub struct RequestError(#[from] rcgen::Error);

impl KeyAndCsr {
    /// `id` goes into the request; the authority refuses any that is not the caller's.
    pub fn generate(id: &SpiffeId) -> Result<Self, RequestError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id.as_str())?)];
        let csr = params.serialize_request(&key)?.pem()?;
        Ok(Self { key: PrivatePkcs8KeyDer::from(key.serialize_der()), csr })
    }
}
