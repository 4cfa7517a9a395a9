//! Workloads: who runs at an address, under which identity, and what of it other proxies may know.
//!
//! A `Pod` holds the facts of one replica; its `Workload` holds what peers see and is shared by all endpoints that
//! point at it. Names follow Istio: canonical name and revision by label, workload name by owner.

use std::net::IpAddr;
use std::sync::Arc;

use crate::labels::Labels;
use crate::name::NsName;
use crate::peer_auth::Mtls;

/// What peers may know of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    pub namespace: Arc<str>,
    /// The owner's name (the Deployment's), else the Pod's.
    pub name: Arc<str>,
    pub canonical_name: Arc<str>,
    pub canonical_revision: Arc<str>,
    pub labels: Labels,
    /// Its SPIFFE id; `None` where nothing tells the service account.
    pub identity: Option<Arc<str>>,
    /// True if it takes mutual TLS: it has a proxy, and its policy does not disable it.
    pub meshed: bool,
    pub locality: Locality,
}

/// Region, zone and sub-zone; empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    pub region: Arc<str>,
    pub zone: Arc<str>,
    pub subzone: Arc<str>,
}

impl Locality {
    /// Reads `region/zone/subzone`, from either end of which parts may be missing.
    pub fn parse(text: &str) -> Locality {
        let mut parts = text.splitn(3, '/').map(Arc::from);
        let mut next = || parts.next().unwrap_or_default();
        Locality { region: next(), zone: next(), subzone: next() }
    }
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub key: NsName,
    pub workload: Arc<Workload>,
    pub service_account: Arc<str>,
    pub addresses: Vec<IpAddr>,
    pub ready: bool,
    pub hostname: Option<Arc<str>>,
    pub subdomain: Option<Arc<str>>,
    /// Named container ports.
    pub ports: Vec<(Arc<str>, u16)>,
    pub mtls: Mtls,
}

impl Pod {
    pub fn named_port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(port, _)| &**port == name).map(|&(_, number)| number)
    }
}

/// Canonical name and revision of a workload: label, then the recommended labels, then the common ones.
pub fn canonical(labels: &Labels, workload: &Arc<str>) -> (Arc<str>, Arc<str>) {
    let first = |keys: [&str; 3]| keys.into_iter().find_map(|key| labels.get(key).cloned());
    let name = first(["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision = first(["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    (name.unwrap_or_else(|| workload.clone()), revision.unwrap_or_else(|| "latest".into()))
}
