//! DNS: the names that a service answers to, and their addresses.
//!
//! Istio's table (`istio.networking.nds.v1`): a Kubernetes service answers to all its short forms and, headless, with its
//! Pods' addresses, each Pod with a host name to its own name; an entry's hosts answer as they are written.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::endpoint::{Endpoints, Health};
use crate::service::Service;
use crate::world::World;

/// A name and what it resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameEntry {
    pub name: Arc<str>,
    /// Further names of the same addresses.
    pub short_names: Vec<Arc<str>>,
    pub addresses: Vec<IpAddr>,
}

impl World {
    /// Every name that a client in `namespace` can resolve in the mesh.
    pub fn name_table(&self, namespace: &str) -> Vec<NameEntry> {
        let services = self.services_for(namespace);
        let entries = services.flat_map(|service| {
            names_of(service, self.endpoints().get(&service.key).map(|endpoints| &**endpoints), namespace)
        });
        entries.collect()
    }
}

/// The names of one service; none if it has no address. `endpoints` matter only for a headless service.
pub fn names_of(service: &Service, endpoints: Option<&Endpoints>, client_namespace: &str) -> Vec<NameEntry> {
    let short = short_names(service, client_namespace);
    let mut entries = Vec::new();
    let mut replicas: BTreeMap<Arc<str>, Vec<IpAddr>> = BTreeMap::new();
    let mut addresses = service.vips.clone();
    if service.is_headless() {
        for endpoint in endpoints.into_iter().flat_map(|endpoints| &endpoints.all) {
            let (Some(ip), Health::Ready) = (endpoint.address.ip(), endpoint.health) else { continue };
            addresses.push(ip);
            if let Some(hostname) = &endpoint.hostname {
                replicas.entry(hostname.clone()).or_default().push(ip);
            }
        }
    }
    if !addresses.is_empty() {
        entries.push(NameEntry { name: service.host().clone(), short_names: short.clone(), addresses });
    }
    entries.extend(replicas.into_iter().map(|(hostname, addresses)| NameEntry {
        name: format!("{hostname}.{}", service.host()).into(),
        short_names: short.iter().map(|short| format!("{hostname}.{short}").into()).collect(),
        addresses,
    }));
    entries
}

/// `svc.ns.svc` and `svc.ns`, and `svc` for clients of the service's namespace; none for a host that is no Kubernetes
/// service.
pub fn short_names(service: &Service, client_namespace: &str) -> Vec<Arc<str>> {
    if !service.is_kubernetes() {
        return Vec::new();
    }
    let (name, namespace) = (service.name(), service.namespace());
    let mut names: Vec<Arc<str>> = vec![format!("{name}.{namespace}.svc").into(), format!("{name}.{namespace}").into()];
    if **namespace == *client_namespace {
        names.push(name.clone());
    }
    names
}
