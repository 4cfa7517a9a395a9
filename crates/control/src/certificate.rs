//! The control plane's own certificate, signed by its authority and renewed before it ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use mizzen_pki::{IssueError, SpiffeId, Svid};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::UnixTime;

use crate::ca::CertificateService;

/// Names that Istio's agents expect (`istiod.istio-system.svc` is what Mizzen's own proxies verify).
const NAMES: &[&str] =
    &["istiod.istio-system.svc", "istiod-remote.istio-system.svc", "istio-pilot.istio-system.svc", "localhost"];
const NAMESPACE: &str = "istio-system";
const ACCOUNT: &str = "istiod";
const TTL: Duration = Duration::from_hours(30 * 24);
/// After a failed renewal.
const RETRY: Duration = Duration::from_mins(1);

/// Serves whichever certificate is current.
#[derive(Debug)]
pub(crate) struct OwnCertificate {
    current: ArcSwap<CertifiedKey>,
}

impl OwnCertificate {
    /// A first certificate, and when it is to be renewed.
    pub(crate) fn issue(service: &CertificateService, trust_domain: &str) -> Result<(Arc<Self>, UnixTime), IssueError> {
        let svid = sign(service, trust_domain)?;
        let current = ArcSwap::new(svid.certified_key.clone());
        Ok((Arc::new(Self { current }), svid.renew_at(0.0)))
    }

    /// Renews for as long as it is polled.
    pub(crate) async fn keep(self: Arc<Self>, service: Arc<CertificateService>, trust_domain: Arc<str>, at: UnixTime) {
        let mut pause = Duration::from_secs(at.as_secs().saturating_sub(now().as_secs()));
        loop {
            tokio::time::sleep(pause).await;
            match sign(&service, &trust_domain) {
                Ok(svid) => {
                    self.current.store(svid.certified_key.clone());
                    pause = Duration::from_secs(svid.renew_at(0.0).as_secs().saturating_sub(now().as_secs()));
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "own certificate was not renewed");
                    pause = RETRY;
                }
            }
            pause = pause.max(Duration::from_secs(1));
        }
    }
}

fn sign(service: &CertificateService, trust_domain: &str) -> Result<Svid, IssueError> {
    let id = SpiffeId::workload(trust_domain, NAMESPACE, ACCOUNT).map_err(IssueError::BadName)?;
    service.authority().issue_server(NAMES, &id, TTL, now())
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// The wall clock, as certificates count it.
pub(crate) fn now() -> UnixTime {
    // Before 1970 nothing is valid, which is what an error should lead to.
    UnixTime::since_unix_epoch(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
