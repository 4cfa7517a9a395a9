//! `DestinationRule` → model, before merging.

use mizzen_api::istio::{
    ConnectionPool, DestinationRule as Source, LoadBalancer as WrittenLb, SimpleLb, TrafficPolicy,
};
use mizzen_api::{Duration, Object};

use super::{age, labels, ns_name};
use crate::destination_rule::{DestinationRule, LoadBalancer, Policy, PortPolicy, Subset};
use crate::mesh::MeshSettings;
use crate::name::expand_host;
use crate::visibility::Visibility;

pub(crate) fn destination_rule(object: &Object, source: &Source, mesh: &MeshSettings) -> DestinationRule {
    let name = object.id.to_string();
    let subsets = source.subsets.iter().enumerate().map(|(index, subset)| Subset {
        name: subset.name.as_str().into(),
        labels: labels(&subset.labels),
        policy: policy(subset.traffic_policy.as_ref()),
        object: name.as_str().into(),
        path: format!("spec.subsets[{index}]").into(),
    });
    DestinationRule {
        host: expand_host(&source.host, &object.id.namespace, &mesh.domain),
        age: age(object),
        object: name.as_str().into(),
        visibility: Visibility::from_entries(
            source.export_to.iter().map(String::as_str),
            &object.id.namespace,
            &mesh.rule_visibility,
        ),
        policy: policy(source.traffic_policy.as_ref()),
        subsets: subsets.collect(),
        refused_by: object.refuses_traffic.then(|| name.as_str().into()),
        members: vec![ns_name(object)],
    }
}

fn policy(source: Option<&TrafficPolicy>) -> Policy {
    let Some(source) = source else { return Policy::default() };
    let ports = source.port_level_settings.iter().filter_map(|entry| {
        let blocks = blocks(entry.load_balancer.as_ref(), entry.connection_pool.as_ref());
        entry.port.map(|port| (port.number, blocks))
    });
    Policy { base: blocks(source.load_balancer.as_ref(), source.connection_pool.as_ref()), ports: ports.collect() }
}

fn blocks(balancer: Option<&WrittenLb>, pool: Option<&ConnectionPool>) -> PortPolicy {
    let balancer = balancer.and_then(|balancer| balancer.simple).map(|simple| match simple {
        SimpleLb::Unspecified | SimpleLb::LeastRequest | SimpleLb::LeastConn => LoadBalancer::LeastRequest,
        SimpleLb::RoundRobin => LoadBalancer::RoundRobin,
        SimpleLb::Random => LoadBalancer::Random,
        SimpleLb::Passthrough => LoadBalancer::Passthrough,
    });
    let timeout = pool.and_then(|pool| pool.tcp.as_ref()).and_then(|tcp| tcp.connect_timeout);
    PortPolicy { load_balancer: balancer, connect_timeout: timeout.map(Duration::get) }
}
