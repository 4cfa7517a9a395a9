//! Clusters that do not stand for a service: passthrough, black hole, and the workload's own ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::cluster::{DiscoveryType, LbPolicy};
use envoy_types::pb::envoy::config::core::v3::{BindConfig, ExtraSourceAddress};
use mizzen_world::mesh::{InboundPolicy, MeshSettings};
use mizzen_world::service::Protocol;

use super::{http_options, no_limits};
use crate::cluster::view::localities_of;
use crate::memo::{Shared, View};
use crate::resource::{Kind, Resource};
use crate::wire::build::{duration, socket_address};
use crate::wire::{Cluster, ClusterLoadAssignment, ClusterType};

pub(crate) const PASSTHROUGH: &str = "PassthroughCluster";
pub(crate) const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";
pub(crate) const BLACK_HOLE: &str = "BlackHoleCluster";

/// Idle connections to unknown places are kept for less long than others (Istio).
const PASSTHROUGH_IDLE: Duration = Duration::from_mins(5);

/// The source address of connections to the application, by which capture tells them apart (Istio).
const BIND_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const BIND_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// The clusters that every data plane has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MeshClustersView {
    pub(crate) mesh: Shared<MeshSettings>,
    /// Sidecars have an inbound side.
    pub(crate) inbound: bool,
}

impl View for MeshClustersView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let mut passthrough = original_destination(PASSTHROUGH, &self.mesh);
        passthrough.typed_extension_protocol_options.extend(http_options(Protocol::Auto, Some(PASSTHROUGH_IDLE)));
        let black_hole = Cluster {
            name: BLACK_HOLE.to_owned(),
            discovery: Some(ClusterType::Type(DiscoveryType::Static as i32)),
            connect_timeout: Some(duration(self.mesh.connect_timeout)),
            ..Cluster::default()
        };
        let mut clusters = vec![passthrough, black_hole];
        if self.inbound {
            let mut inbound = original_destination(INBOUND_PASSTHROUGH, &self.mesh);
            inbound.upstream_bind_config = Some(bind());
            inbound.typed_extension_protocol_options.extend(http_options(Protocol::Auto, Some(PASSTHROUGH_IDLE)));
            clusters.push(inbound);
        }
        clusters.iter().map(|cluster| Resource::encode(Kind::Cluster, &*cluster.name, cluster)).collect()
    }
}

/// One port of the workload itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InboundClusterView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

/// The name of the cluster of one of the workload's own ports.
pub(crate) fn inbound_cluster_name(port: u16) -> String {
    format!("inbound|{port}||")
}

impl View for InboundClusterView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let name = inbound_cluster_name(self.port);
        let mut cluster = match self.mesh.inbound_policy {
            InboundPolicy::Passthrough => {
                let mut cluster = original_destination(&name, &self.mesh);
                cluster.upstream_bind_config = Some(bind());
                cluster
            }
            InboundPolicy::Localhost => Cluster {
                discovery: Some(ClusterType::Type(DiscoveryType::Static as i32)),
                load_assignment: Some(ClusterLoadAssignment {
                    cluster_name: name.clone(),
                    endpoints: localities_of(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port),
                }),
                lb_policy: LbPolicy::RoundRobin as i32,
                ..original_destination(&name, &self.mesh)
            },
        };
        cluster.typed_extension_protocol_options.extend(http_options(self.protocol, None));
        vec![Resource::encode(Kind::Cluster, name, &cluster)]
    }
}

fn original_destination(name: &str, mesh: &MeshSettings) -> Cluster {
    Cluster {
        name: name.to_owned(),
        discovery: Some(ClusterType::Type(DiscoveryType::OriginalDst as i32)),
        lb_policy: LbPolicy::ClusterProvided as i32,
        connect_timeout: Some(duration(mesh.connect_timeout)),
        circuit_breakers: Some(no_limits()),
        ..Cluster::default()
    }
}

fn bind() -> BindConfig {
    BindConfig {
        source_address: Some(socket_address(BIND_V4.to_string(), 0)),
        extra_source_addresses: vec![ExtraSourceAddress {
            address: Some(socket_address(BIND_V6.to_string(), 0)),
            socket_options: None,
        }],
        ..BindConfig::default()
    }
}
