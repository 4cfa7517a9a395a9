//! Endpoints: one `ClusterLoadAssignment` per port and subset of a service.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality as WireLocality};
use envoy_types::pb::envoy::config::endpoint::v3::Endpoint as WireEndpoint;
use mizzen_world::destination_rule::{DestinationRule, Subset};
use mizzen_world::endpoint::{Address, Endpoint, Endpoints, Health};
use mizzen_world::mesh::MeshSettings;
use mizzen_world::service::{Protocol, Registry, Service};
use mizzen_world::workload::{Locality, Workload};

use crate::cluster::{Reach, outbound_name, reach};
use crate::memo::{Shared, View};
use crate::resource::{Kind, Resource};
use crate::scope::ProxyKind;
use crate::wire::build::{address, u32_value};
use crate::wire::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, Metadata, Struct, Value};

/// The cluster that endpoints say they are in: Istio's name for the only one.
const CLUSTER_ID: &str = "Kubernetes";

/// All that the endpoints of one service are made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EndpointsView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) service: Shared<Service>,
    pub(crate) rule: Option<Shared<DestinationRule>>,
    pub(crate) endpoints: Option<Shared<Endpoints>>,
    pub(crate) kind: ProxyKind,
}

impl View for EndpointsView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let service = &*self.service;
        if reach(service, self.rule.as_deref(), self.kind) != Reach::Eds {
            return Vec::new();
        }
        let subsets = self.rule.iter().flat_map(|rule| &rule.subsets).map(Some);
        let all: Vec<Option<&Subset>> = std::iter::once(None).chain(subsets).collect();
        let mut resources = Vec::new();
        for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
            for subset in &all {
                let name = outbound_name(port.number, subset.map(|subset| &*subset.name), service.host());
                let mut endpoints = localities(self.endpoints.as_deref(), service, port.number, *subset);
                if !self.mesh.auto_mtls {
                    endpoints.iter_mut().flat_map(|locality| &mut locality.lb_endpoints).for_each(forget_tls);
                }
                let assignment = ClusterLoadAssignment { cluster_name: name.clone(), endpoints };
                resources.push(Resource::encode(Kind::Endpoints, name, &assignment));
            }
        }
        resources
    }
}

/// The listed endpoints that serve a port and are of a subset, by locality; weights add up.
pub(crate) fn localities(
    endpoints: Option<&Endpoints>,
    service: &Service,
    port: u16,
    subset: Option<&Subset>,
) -> Vec<LocalityLbEndpoints> {
    let mut groups: BTreeMap<&Locality, Vec<LbEndpoint>> = BTreeMap::new();
    for endpoint in endpoints.into_iter().flat_map(Endpoints::listed) {
        let Some(target) = endpoint.target(port) else { continue };
        if subset.is_none_or(|subset| endpoint.workload.labels.satisfy(&subset.labels)) {
            groups.entry(&endpoint.workload.locality).or_default().push(lb_endpoint(endpoint, target, service));
        }
    }
    let groups = groups.into_iter().map(|(locality, lb_endpoints)| {
        let weights = lb_endpoints.iter().filter_map(|endpoint| endpoint.load_balancing_weight);
        LocalityLbEndpoints {
            locality: (*locality != Locality::default()).then(|| WireLocality {
                region: locality.region.to_string(),
                zone: locality.zone.to_string(),
                sub_zone: locality.subzone.to_string(),
            }),
            load_balancing_weight: Some(u32_value(
                weights.fold(0, |sum: u32, weight| sum.saturating_add(weight.value)),
            )),
            lb_endpoints,
            priority: 0,
        }
    });
    groups.collect()
}

fn lb_endpoint(endpoint: &Endpoint, port: u16, service: &Service) -> LbEndpoint {
    let host = match &endpoint.address {
        Address::Ip(ip) => ip.to_string(),
        Address::Name(name) => name.to_string(),
    };
    let meshed = endpoint.workload.meshed && service.registry != Registry::Entry { external: true };
    let tls = if meshed { Struct::of([("tlsMode", Value::from("istio"))]) } else { Struct::default() };
    LbEndpoint {
        health_status: match endpoint.health {
            Health::Ready => HealthStatus::Healthy,
            Health::Unready | Health::Terminating | Health::Unlisted => HealthStatus::Unhealthy,
        } as i32,
        metadata: Metadata::default()
            .with("envoy.transport_socket_match", tls)
            .with("istio", describe(&endpoint.workload))
            .some(),
        load_balancing_weight: Some(u32_value(endpoint.weight.max(1))),
        ..lb_endpoint_at(host, port)
    }
}

/// An endpoint of which nothing but the address is known.
pub(crate) fn lb_endpoint_at(host: String, port: u16) -> LbEndpoint {
    let endpoint = WireEndpoint { address: Some(address(host, port)), ..WireEndpoint::default() };
    LbEndpoint { endpoint: Some(endpoint), ..LbEndpoint::default() }
}

/// `istio.workload`: name, namespace, canonical name, canonical revision, cluster.
fn describe(workload: &Workload) -> Struct {
    if workload.name.is_empty() {
        return Struct::default();
    }
    let Workload { name, namespace, canonical_name, canonical_revision, .. } = workload;
    let text = format!("{name};{namespace};{canonical_name};{canonical_revision};{CLUSTER_ID}");
    Struct::of([("workload", Value::from(&*text))])
}

fn forget_tls(endpoint: &mut LbEndpoint) {
    if let Some(metadata) = &mut endpoint.metadata {
        metadata.filter_metadata.remove("envoy.transport_socket_match");
    }
}
