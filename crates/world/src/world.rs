//! The mesh at one moment: an immutable tree of shared parts, and the questions that are asked of it.
//!
//! A new generation is made by [`World::update`] and shares whatever did not change: equal parts keep their `Arc`, so
//! that identity means "unchanged" to everything downstream.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use mizzen_api::{Object, ObjectId};

use crate::destination_rule::DestinationRule;
use crate::endpoint::Endpoints;
use crate::gateway::Gateway;
use crate::host_index::HostIndex;
use crate::labels::Labels;
use crate::mesh::MeshSettings;
use crate::name::{NsName, covering_patterns};
use crate::peer_auth::{Mtls, PeerAuthentication, effective};
use crate::service::{Service, ServiceKey};
use crate::update::Declared;
use crate::virtual_service::VirtualService;
use crate::workload::{Locality, Pod};

/// Everything that the mesh is, at one generation.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub(crate) generation: u64,
    /// What it was built from.
    pub(crate) objects: OrdMap<ObjectId, Arc<Object>>,
    pub(crate) mesh: Arc<MeshSettings>,
    /// What each object declares, before addresses are given.
    pub(crate) declared: OrdMap<ObjectId, Arc<[Declared]>>,
    /// The addresses given, by the name they depend on.
    pub(crate) given: Arc<BTreeMap<Arc<str>, Ipv4Addr>>,
    pub(crate) services: OrdMap<ServiceKey, Arc<Service>>,
    pub(crate) endpoints: OrdMap<ServiceKey, Arc<Endpoints>>,
    /// Which services an address is an endpoint of.
    pub(crate) served: OrdMap<IpAddr, OrdSet<ServiceKey>>,
    pub(crate) pods: OrdMap<NsName, Arc<Pod>>,
    pub(crate) pods_by_ip: OrdSet<(IpAddr, NsName)>,
    pub(crate) pods_by_label: OrdSet<(LabelKey, Arc<str>)>,
    pub(crate) nodes: OrdMap<Arc<str>, Locality>,
    /// Slices by the service they belong to.
    pub(crate) slices: OrdSet<(NsName, ObjectId)>,
    pub(crate) policies: OrdMap<NsName, Arc<PeerAuthentication>>,
    pub(crate) virtual_services: OrdMap<NsName, Arc<VirtualService>>,
    pub(crate) hosts: HostIndex,
    pub(crate) source_keys: Arc<BTreeSet<Arc<str>>>,
    pub(crate) rules: OrdMap<NsName, Arc<DestinationRule>>,
    /// Merged rules by namespace and host.
    pub(crate) merged_rules: OrdMap<RuleKey, MergedRules>,
    pub(crate) gateways: OrdMap<NsName, Arc<Gateway>>,
}

/// Namespace, label key, label value.
pub(crate) type LabelKey = (Arc<str>, Arc<str>, Arc<str>);
/// Namespace and host.
pub type RuleKey = (Arc<str>, Arc<str>);
/// More than one only where rules of one host are exported to different namespaces.
pub type MergedRules = Arc<[Arc<DestinationRule>]>;

impl World {
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn objects(&self) -> &OrdMap<ObjectId, Arc<Object>> {
        &self.objects
    }

    pub fn mesh(&self) -> &Arc<MeshSettings> {
        &self.mesh
    }

    pub fn services(&self) -> &OrdMap<ServiceKey, Arc<Service>> {
        &self.services
    }

    pub fn endpoints(&self) -> &OrdMap<ServiceKey, Arc<Endpoints>> {
        &self.endpoints
    }

    pub fn pods(&self) -> &OrdMap<NsName, Arc<Pod>> {
        &self.pods
    }

    pub fn virtual_services(&self) -> &OrdMap<NsName, Arc<VirtualService>> {
        &self.virtual_services
    }

    /// Which `VirtualService` decides for a host called from inside the mesh.
    pub fn hosts(&self) -> &HostIndex {
        &self.hosts
    }

    pub fn merged_rules(&self) -> &OrdMap<RuleKey, MergedRules> {
        &self.merged_rules
    }

    pub fn gateways(&self) -> &OrdMap<NsName, Arc<Gateway>> {
        &self.gateways
    }

    /// The label keys that some `VirtualService` asks its clients for: no other label of a client decides what it gets.
    pub fn source_keys(&self) -> &Arc<BTreeSet<Arc<str>>> {
        &self.source_keys
    }

    /// The Pod at an address; of several (host network) the first by name.
    pub fn pod_at(&self, ip: IpAddr) -> Option<&Arc<Pod>> {
        let none: Arc<str> = Arc::default();
        let first = (ip, NsName { namespace: none.clone(), name: none });
        let (at, key) = self.pods_by_ip.range(first..).next()?;
        (*at == ip).then(|| self.pods.get(key)).flatten()
    }

    /// The declarations of a host, of any namespace.
    pub fn declarations<'a>(&'a self, host: &'a Arc<str>) -> impl Iterator<Item = &'a Arc<Service>> {
        let none: Arc<str> = Arc::default();
        let first = ServiceKey { host: host.clone(), namespace: none.clone(), object: none };
        self.services.range(first..).map(|(_, service)| service).take_while(move |service| service.host() == host)
    }

    /// The declaration of a host that counts for a client in `namespace`: of those it may see Kubernetes' own, then that of
    /// its own namespace, then the oldest.
    pub fn service_for<'a>(&'a self, namespace: &str, host: &'a Arc<str>) -> Option<&'a Arc<Service>> {
        let visible = self.declarations(host).filter(|service| service.visibility.includes(namespace));
        visible.min_by(|a, b| a.precedence(namespace).cmp(&b.precedence(namespace)))
    }

    /// Every service that a client in `namespace` sees, one per host, in the order of hosts.
    pub fn services_for<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Service>> {
        let mut services = self.services.values().peekable();
        std::iter::from_fn(move || {
            loop {
                let first = services.next()?;
                let mut best = Some(first).filter(|service| service.visibility.includes(namespace));
                while let Some(next) = services.next_if(|next| next.host() == first.host()) {
                    if next.visibility.includes(namespace)
                        && best.is_none_or(|best| next.precedence(namespace) < best.precedence(namespace))
                    {
                        best = Some(next);
                    }
                }
                if best.is_some() {
                    return best;
                }
            }
        })
    }

    /// The Kubernetes service of that name, as its key.
    pub(crate) fn kubernetes_key(&self, name: &NsName) -> ServiceKey {
        let NsName { namespace, name } = name;
        ServiceKey {
            host: format!("{name}.{namespace}.svc.{}", self.mesh.domain).into(),
            namespace: namespace.clone(),
            object: format!("Service/{namespace}/{name}").into(),
        }
    }

    /// The services that the endpoint at `ip` belongs to.
    pub fn served_by(&self, ip: IpAddr) -> impl Iterator<Item = (&Arc<Service>, &Arc<Endpoints>)> {
        let keys = self.served.get(&ip).into_iter().flatten();
        keys.filter_map(|key| Some((self.services.get(key)?, self.endpoints.get(key)?)))
    }

    /// The rule that a client in `namespace` calls a service by: rules of the client's namespace, then of the service's, then
    /// of the root namespace; within the first that has any, the most specific host.
    pub fn rule_for(&self, namespace: &Arc<str>, service: &Service) -> Option<&Arc<DestinationRule>> {
        let root = &self.mesh.root_namespace;
        // A client of the root namespace would otherwise take mesh-wide rules for its own.
        let own = self.rule_in(namespace, service.host(), |rule| {
            namespace != root || !rule.visibility.contains(&crate::visibility::Visibility::Public)
        });
        let visible = |rule: &DestinationRule| rule.visibility.includes(namespace);
        own.or_else(|| self.rule_in(service.namespace(), service.host(), visible))
            .or_else(|| self.rule_in(root, service.host(), visible))
    }

    fn rule_in(
        &self,
        namespace: &Arc<str>,
        host: &str,
        admits: impl Fn(&DestinationRule) -> bool,
    ) -> Option<&Arc<DestinationRule>> {
        let first = self.merged_rules.range((namespace.clone(), Arc::default())..).next();
        if first.is_none_or(|((owner, _), _)| owner != namespace) {
            return None;
        }
        covering_patterns(host).find_map(|pattern| {
            let rules = self.merged_rules.get(&(namespace.clone(), pattern.into()))?;
            rules.iter().find(|rule| admits(rule))
        })
    }

    /// The transport policy of a workload with these labels.
    pub fn mtls_for(&self, namespace: &str, labels: &Labels) -> Mtls {
        let policies: Vec<&PeerAuthentication> = self.policies.values().map(|policy| &**policy).collect();
        effective(&policies, &self.mesh.root_namespace, namespace, labels)
    }

    /// The Pods of a namespace that carry all labels of `selector`, in the order of names.
    pub fn selected_pods<'a>(&'a self, namespace: &'a Arc<str>, selector: &'a Labels) -> Vec<&'a Arc<Pod>> {
        let none: Arc<str> = Arc::default();
        let Some((key, value)) = selector.iter().next() else { return Vec::new() };
        let label = (namespace.clone(), key.clone(), value.clone());
        let candidates = self.pods_by_label.range((label.clone(), none)..);
        let named = candidates
            .take_while(|(other, _)| *other == label)
            .filter_map(|(_, name)| self.pods.get(&NsName { namespace: namespace.clone(), name: name.clone() }));
        named.filter(|pod| pod.workload.labels.satisfy(selector)).collect()
    }

    /// The gateways whose selector a workload with these labels satisfies, the oldest first.
    pub fn gateways_for(&self, labels: &Labels) -> Vec<&Arc<Gateway>> {
        let mut gateways: Vec<_> = self.gateways.values().filter(|gateway| labels.satisfy(&gateway.selector)).collect();
        gateways.sort_by(|a, b| a.age.cmp(&b.age));
        gateways
    }
}
