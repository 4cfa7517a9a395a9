//! The inbound half of a sidecar: the ports on which its workload serves, and the policy for them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mizzen_world::World;
use mizzen_world::name::Age;
use mizzen_world::service::Protocol;

use crate::cluster::InboundClusterView;
use crate::listener::{InboundPort, InboundView};
use crate::memo::Built;
use crate::scope::Scope;
use crate::tables::{Remembered, Tables};

/// The inbound view of a workload: equal for replicas of one Deployment.
pub(crate) fn inbound_view(world: &World, scope: &Scope) -> InboundView {
    let pod = scope.addresses.iter().find_map(|ip| world.pod_at(*ip));
    let mtls = match pod {
        Some(pod) if pod.key.namespace == scope.namespace => pod.mtls.clone(),
        _ => world.mtls_for(&scope.namespace, &scope.labels),
    };
    InboundView {
        mesh: world.mesh().into(),
        mtls,
        ports: inbound_ports(world, &scope.addresses),
        by_flag: scope.capabilities.vhds,
    }
}

/// The ports behind the services that the addresses serve. Of two services on one port the older one names it.
fn inbound_ports(world: &World, addresses: &[IpAddr]) -> Vec<InboundPort> {
    let mut ports: BTreeMap<u16, (&Age, InboundPort)> = BTreeMap::new();
    for ip in addresses {
        for (service, endpoints) in world.served_by(*ip) {
            let own = endpoints.all.iter().filter(|endpoint| endpoint.address.ip() == Some(*ip));
            for target in own.flat_map(|endpoint| endpoint.targets.iter()) {
                let Some(spec) = service.port(target.service_port).filter(|spec| spec.protocol != Protocol::Udp) else {
                    continue;
                };
                let port = InboundPort {
                    number: target.port,
                    protocol: spec.protocol,
                    authority: format!("{}:{}", service.host(), spec.number).into(),
                };
                let known = ports.get(&target.port);
                if known.is_none_or(|(age, other)| (&service.age, &port) < (age, other)) {
                    ports.insert(target.port, (&service.age, port));
                }
            }
        }
    }
    ports.into_values().map(|(_, port)| port).collect()
}

/// The listener and the clusters of an inbound view.
pub(crate) fn build(view: &InboundView, tables: &mut Tables) -> Vec<Built> {
    let clusters = view.ports.iter().map(|port| InboundClusterView {
        mesh: view.mesh.clone(),
        port: port.number,
        protocol: port.protocol,
    });
    let mut parts: Vec<Built> = clusters.map(|cluster| cluster.compiled(tables)).collect();
    parts.push(view.clone().compiled(tables));
    parts
}

/// Ports of a gateway's own services and the ports behind them, sorted.
pub(crate) fn own_targets(world: &World, addresses: &[IpAddr]) -> Vec<(u16, u16)> {
    let served = addresses.iter().flat_map(|ip| {
        let services = world.served_by(*ip);
        services.flat_map(move |(_, endpoints)| {
            endpoints.all.iter().filter(move |endpoint| endpoint.address.ip() == Some(*ip))
        })
    });
    let mut targets: Vec<(u16, u16)> =
        served.flat_map(|endpoint| endpoint.targets.iter()).map(|target| (target.service_port, target.port)).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}
