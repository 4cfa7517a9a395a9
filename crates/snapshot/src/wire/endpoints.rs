//! `ClusterLoadAssignment` → endpoints.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use envoy_types::pb::envoy::config::{
    core::v3::HealthStatus,
    endpoint::v3::{
        ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
        locality_lb_endpoints::LbConfig,
    },
};

use super::{At, Refused, Result, address, metadata, number, refuse, required, unsupported};
use crate::cluster::{Address, Endpoint, Endpoints, Workload};

/// What an endpoint's host may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    Addresses,
    /// Names too, for the proxy to resolve.
    Names,
}

pub(crate) fn from_wire(wire: &ClusterLoadAssignment, hosts: Hosts) -> Result<Endpoints> {
    unsupported(&[
        ("named_endpoints", !wire.named_endpoints.is_empty()),
        ("policy.drop_overloads", wire.policy.as_ref().is_some_and(|policy| !policy.drop_overloads.is_empty())),
    ])?;
    let mut reader = Reader { hosts, workloads: HashMap::new() };
    let mut list = Vec::new();
    for (index, locality) in wire.endpoints.iter().enumerate() {
        reader.locality(locality, &mut list).at_index("endpoints", index)?;
    }
    Ok(Endpoints { list })
}

/// Workloads that several endpoints (ports) share are kept once.
struct Reader {
    hosts: Hosts,
    workloads: HashMap<Workload, Arc<Workload>>,
}

impl Reader {
    fn locality(&mut self, wire: &LocalityLbEndpoints, list: &mut Vec<Endpoint>) -> Result<()> {
        let is_remote = matches!(&wire.lb_config, Some(LbConfig::LedsClusterLocalityConfig(_)));
        unsupported(&[("leds_cluster_locality_config", is_remote)])?;
        let (field, endpoints) = match &wire.lb_config {
            Some(LbConfig::LoadBalancerEndpoints(inner)) => {
                ("load_balancer_endpoints.lb_endpoints", &inner.lb_endpoints)
            }
            _ => ("lb_endpoints", &wire.lb_endpoints),
        };
        for (index, endpoint) in endpoints.iter().enumerate() {
            list.push(self.endpoint(endpoint, wire.priority).at_index(field, index)?);
        }
        Ok(())
    }

    fn endpoint(&mut self, wire: &LbEndpoint, priority: u32) -> Result<Endpoint> {
        let Some(HostIdentifier::Endpoint(inner)) = &wire.host_identifier else {
            return refuse("is required").at("endpoint");
        };
        let address = required("address", inner.address.as_ref()).and_then(|wire| self.address(wire)).at("endpoint")?;
        let weight = match number(wire.load_balancing_weight.as_ref()) {
            Some(0) => return refuse("must be at least 1").at("load_balancing_weight"),
            weight => weight.unwrap_or(1),
        };
        let healthy = match HealthStatus::try_from(wire.health_status) {
            Ok(HealthStatus::Unknown | HealthStatus::Healthy | HealthStatus::Degraded) => true,
            Ok(HealthStatus::Unhealthy | HealthStatus::Draining | HealthStatus::Timeout) | Err(_) => false,
        };
        let metadata = wire.metadata.as_ref();
        Ok(Endpoint {
            address,
            weight,
            healthy,
            priority,
            tls_mode: metadata::tls_mode(metadata).map(Into::into),
            workload: metadata::workload(metadata).map(|workload| self.shared(workload)),
        })
    }

    fn address(&self, wire: &envoy_types::pb::envoy::config::core::v3::Address) -> Result<Address> {
        let (host, port) = address::host_and_port(Some(wire)).at("address")?;
        match (host.parse(), self.hosts) {
            (Ok(ip), _) => Ok(Address::Socket(SocketAddr::new(ip, port))),
            (Err(_), Hosts::Names) if !host.is_empty() => Ok(Address::Name(host.into(), port)),
            (Err(_), _) => Err(Refused::new(format!("`{host}` is no IP address"))).at("address.socket_address.address"),
        }
    }

    fn shared(&mut self, workload: Workload) -> Arc<Workload> {
        let known = self.workloads.entry(workload);
        Arc::clone(known.or_insert_with_key(|workload| Arc::new(workload.clone())))
    }
}
