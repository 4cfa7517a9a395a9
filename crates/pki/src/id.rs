//! SPIFFE ids: `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`.
//!
//! In: text from certificates and configuration, not trusted. Out: [`SpiffeId`], which holds no character that means
//! something to a policy, a header or a log. Rules: <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

const SCHEME: &str = "spiffe://";
/// Longest trust domain in bytes (SPIFFE-ID §2.1).
const TRUST_DOMAIN_BYTES_MAX: usize = 255;
/// Longest id in bytes (SPIFFE-ID §2.3).
const ID_BYTES_MAX: usize = 2048;

/// A valid SPIFFE id. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId(Arc<str>);

/// What is wrong with a text that should be a SPIFFE id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("not a SPIFFE id: it does not begin with {SCHEME}")]
    Scheme,
    #[error("longer than {ID_BYTES_MAX} bytes")]
    TooLong,
    #[error(
        "the trust domain is empty, longer than {TRUST_DOMAIN_BYTES_MAX} bytes, or has a character outside a-z 0-9 . - _"
    )]
    TrustDomain,
    #[error("the path has an empty segment, a dot segment, or a character outside A-Z a-z 0-9 . - _")]
    Path,
}

impl SpiffeId {
    /// The id of a workload. Fails if a part holds what an id must not hold.
    pub fn workload(trust_domain: &str, namespace: &str, service_account: &str) -> Result<Self, IdError> {
        // Segments are checked one by one, so that a slash in a name cannot move the others.
        if !is_segment(namespace) || !is_segment(service_account) {
            return Err(IdError::Path);
        }
        format!("{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}").parse()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn trust_domain(&self) -> &str {
        self.split().0
    }

    /// Namespace and service account, if the id is a workload's.
    pub fn namespace_and_account(&self) -> Option<(&str, &str)> {
        let mut segments = self.split().1.split('/');
        let parts = [segments.next(), segments.next(), segments.next(), segments.next()];
        match (parts, segments.next()) {
            ([Some("ns"), Some(namespace), Some("sa"), Some(account)], None) => Some((namespace, account)),
            _ => None,
        }
    }

    /// The id without its scheme, as Istio's policies and metrics write principals.
    pub fn principal(&self) -> &str {
        &self.0[SCHEME.len()..]
    }

    /// Trust domain and path without its slash.
    fn split(&self) -> (&str, &str) {
        let rest = self.principal();
        rest.split_once('/').unwrap_or((rest, ""))
    }
}

impl FromStr for SpiffeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() > ID_BYTES_MAX {
            return Err(IdError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(IdError::Scheme)?;
        let (trust_domain, path) = match rest.split_once('/') {
            Some((trust_domain, path)) => (trust_domain, Some(path)),
            None => (rest, None),
        };
        if !is_trust_domain(trust_domain) {
            return Err(IdError::TrustDomain);
        }
        if path.is_some_and(|path| !path.split('/').all(is_segment)) {
            return Err(IdError::Path);
        }
        Ok(Self(Arc::from(text)))
    }
}

/// Whether the text may stand as a trust domain.
pub fn is_trust_domain(text: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= TRUST_DOMAIN_BYTES_MAX && text.bytes().all(allowed)
}

fn is_segment(text: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    !matches!(text, "" | "." | "..") && text.bytes().all(allowed)
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
