//! The certificate service: who asks, how often, and for how long.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use mizzen_pki::wire::{IstioCertificateRequest, IstioCertificateResponse};
use mizzen_pki::{Authority, IssueError, SpiffeId};
use rustls_pki_types::UnixTime;
use tonic::Status;

use crate::bucket::{Buckets, Rate};

/// Per identity: enough for a Deployment whose replicas all start at once, and for a TTL of a few seconds.
const RATE: Rate = Rate { burst: 200, interval: Duration::from_millis(50), keys_max: 50_000 };
/// Largest request in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Signs for callers that are authenticated.
#[derive(Debug)]
pub(crate) struct CertificateService {
    authority: Authority,
    /// Longest and usual life of a certificate.
    ttl: Duration,
    buckets: Mutex<Buckets<SpiffeId>>,
}

impl CertificateService {
    pub(crate) fn new(authority: Authority, ttl: Duration) -> Self {
        Self { authority, ttl, buckets: Mutex::new(Buckets::new(RATE)) }
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What is asked for is cut to the mesh's TTL; another identity than the caller's is refused.
    pub(crate) fn create(
        &self,
        request: &IstioCertificateRequest,
        caller: &SpiffeId,
        (now, instant): (UnixTime, Instant),
    ) -> Result<IstioCertificateResponse, Status> {
        let allowed = self.buckets.lock().is_ok_and(|mut buckets| buckets.take(caller.clone(), instant));
        if !allowed {
            return Err(Status::resource_exhausted("too many certificate requests of this identity"));
        }
        let ttl = request.ttl().map_or(self.ttl, |asked| asked.min(self.ttl));
        let issued =
            self.authority.issue(&request.csr, caller, Some(ttl), now).map_err(|error| refuse(caller, &error))?;
        tracing::info!(id = %caller, serial = issued.serial, ttl_s = ttl.as_secs(), "certificate issued");
        Ok(IstioCertificateResponse { cert_chain: issued.into_wire() })
    }
}

fn refuse(caller: &SpiffeId, error: &IssueError) -> Status {
    tracing::warn!(id = %caller, error = error as &dyn std::error::Error, "certificate refused");
    let text = error.to_string();
    match error {
        IssueError::OtherIdentity { .. } => Status::permission_denied(text),
        IssueError::TooLarge
        | IssueError::Malformed(_)
        | IssueError::NotPem
        | IssueError::KeySize { .. }
        | IssueError::TtlTooLong { .. } => Status::invalid_argument(text),
        IssueError::AuthorityExpired
        | IssueError::Signing(_)
        | IssueError::Randomness
        | IssueError::Server(_)
        | IssueError::BadName(_) => Status::internal("the authority cannot sign"),
    }
}
