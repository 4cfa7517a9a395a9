//! Who a caller has proven to be: by client certificate, else by bootstrap token.
//!
//! In: the certificate of the handshake, if any, already verified by TLS; the `authorization` header. Out: a SPIFFE id.
//! Why it failed is for the log; callers are told nothing but "not authenticated".

use mizzen_pki::peer::PeerError;
use mizzen_pki::token::{TokenError, TokenKey};
use mizzen_pki::{PeerCertificate, SpiffeId, id::IdError};
use rustls_pki_types::UnixTime;

/// What a caller shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials<'a> {
    /// DER of the leaf certificate.
    pub(crate) certificate: Option<&'a [u8]>,
    pub(crate) bearer: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("neither certificate nor token")]
    Nothing,
    #[error("the certificate does not tell who it is of")]
    Certificate(#[from] PeerError),
    #[error("the certificate has no SPIFFE id")]
    NoId,
    #[error("the token")]
    Token(#[from] TokenError),
    #[error("the token's names")]
    Names(#[from] IdError),
}

/// The first proof that is shown decides: a certificate, else a token.
pub(crate) fn authenticate(
    credentials: &Credentials<'_>,
    key: &TokenKey,
    trust_domain: &str,
    now: UnixTime,
) -> Result<SpiffeId, IdentityError> {
    if let Some(der) = credentials.certificate {
        return PeerCertificate::from_der(der)?.id.ok_or(IdentityError::NoId);
    }
    let token = credentials.bearer.ok_or(IdentityError::Nothing)?;
    let claims = key.verify(token, now)?;
    Ok(SpiffeId::workload(trust_domain, &claims.namespace, &claims.service_account)?)
}
