//! Bootstrap tokens: what a workload proves itself with before it has a certificate.
//!
//! Outside Kubernetes `mizzend` signs them itself, with a key that never leaves its state directory. A token is a
//! JWT (RFC 7519) with one fixed header, HS256; any other header is not looked at.

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::UnixTime;
use serde::Deserialize;
use serde_json::json;

use crate::id::{IdError, SpiffeId};

/// Length of the key in bytes.
pub const KEY_BYTES: usize = 32;
/// Istio's audience for certificate requests.
pub const AUDIENCE: &str = "istio-ca";
const TOKEN_BYTES_MAX: usize = 4096;
/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const SUBJECT_PREFIX: &str = "system:serviceaccount:";

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub namespace: String,
    pub service_account: String,
    pub pod: String,
    pub expires: UnixTime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    aud: String,
    exp: u64,
    sub: String,
    pod: String,
}

/// Why a token is not accepted. Callers are told only that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not one of this control plane")]
    Malformed,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is for another audience")]
    Audience,
}

/// The key that signs tokens.
pub struct TokenKey(hmac::Key);

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Fresh key material, to be stored. `None` if there is no randomness.
    pub fn generate() -> Option<[u8; KEY_BYTES]> {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key).ok()?;
        Some(key)
    }

    /// Signs a token that is good for `ttl`. Fails if the names could not stand in an identity.
    pub fn sign(
        &self,
        namespace: &str,
        service_account: &str,
        pod: &str,
        (now, ttl): (UnixTime, Duration),
    ) -> Result<String, IdError> {
        SpiffeId::workload("any", namespace, service_account)?;
        let payload = json!({
            "aud": AUDIENCE,
            "exp": now.as_secs().saturating_add(ttl.as_secs()),
            "sub": format!("{SUBJECT_PREFIX}{namespace}:{service_account}"),
            "pod": pod,
        });
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(payload.to_string()));
        let tag = hmac::sign(&self.0, signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// Checks a token. The signature is compared in constant time, before anything in the token is read.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (signed, tag) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| TokenError::Malformed)?;
        hmac::verify(&self.0, signed.as_bytes(), &tag).map_err(|_| TokenError::Signature)?;
        let payload = signed.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix('.'));
        let payload = URL_SAFE_NO_PAD.decode(payload.ok_or(TokenError::Malformed)?);
        let payload = payload.map_err(|_| TokenError::Malformed)?;
        let payload: Payload = serde_json::from_slice(&payload).map_err(|_| TokenError::Malformed)?;
        if payload.aud != AUDIENCE {
            return Err(TokenError::Audience);
        }
        if now.as_secs() >= payload.exp {
            return Err(TokenError::Expired);
        }
        let (namespace, service_account) = payload
            .sub
            .strip_prefix(SUBJECT_PREFIX)
            .and_then(|names| names.split_once(':'))
            .ok_or(TokenError::Malformed)?;
        Ok(Claims {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            pod: payload.pod,
            expires: UnixTime::since_unix_epoch(Duration::from_secs(payload.exp)),
        })
    }
}

#[cfg(test)]
mod tests;
