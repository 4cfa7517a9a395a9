//! Clusters and their endpoints.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::cluster::v3::CircuitBreakers;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{CommonLbConfig, EdsClusterConfig};
use envoy_types::pb::envoy::config::core::v3::{BindConfig, Locality, TransportSocket};
use envoy_types::pb::envoy::config::endpoint::v3::Endpoint;
use envoy_types::pb::google::protobuf::{Any, Duration, UInt32Value};

use super::{Metadata, Struct};

/// `envoy.config.cluster.v3.Cluster`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Cluster {
    #[prost(message, repeated, tag = "43")]
    pub(crate) transport_socket_matches: Vec<SocketMatch>,
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(oneof = "ClusterType", tags = "2")]
    pub(crate) discovery: Option<ClusterType>,
    #[prost(message, optional, tag = "3")]
    pub(crate) eds_cluster_config: Option<EdsClusterConfig>,
    #[prost(message, optional, tag = "4")]
    pub(crate) connect_timeout: Option<Duration>,
    #[prost(int32, tag = "6")]
    pub(crate) lb_policy: i32,
    #[prost(message, optional, tag = "10")]
    pub(crate) circuit_breakers: Option<CircuitBreakers>,
    #[prost(int32, tag = "17")]
    pub(crate) dns_lookup_family: i32,
    #[prost(message, optional, tag = "21")]
    pub(crate) upstream_bind_config: Option<BindConfig>,
    #[prost(message, optional, tag = "24")]
    pub(crate) transport_socket: Option<TransportSocket>,
    #[prost(message, optional, tag = "25")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "27")]
    pub(crate) common_lb_config: Option<CommonLbConfig>,
    #[prost(message, optional, tag = "33")]
    pub(crate) load_assignment: Option<ClusterLoadAssignment>,
    #[prost(btree_map = "string, message", tag = "36")]
    pub(crate) typed_extension_protocol_options: BTreeMap<String, Any>,
}

/// `Cluster.cluster_discovery_type`; a oneof, so that STATIC (0) is written, too.
#[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
pub(crate) enum ClusterType {
    #[prost(int32, tag = "2")]
    Type(i32),
}

/// `Cluster.TransportSocketMatch`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SocketMatch {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) wanted: Option<Struct>,
    #[prost(message, optional, tag = "3")]
    pub(crate) transport_socket: Option<TransportSocket>,
}

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ClusterLoadAssignment {
    #[prost(string, tag = "1")]
    pub(crate) cluster_name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) endpoints: Vec<LocalityLbEndpoints>,
}

/// `LocalityLbEndpoints`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LocalityLbEndpoints {
    #[prost(message, optional, tag = "1")]
    pub(crate) locality: Option<Locality>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) lb_endpoints: Vec<LbEndpoint>,
    #[prost(message, optional, tag = "3")]
    pub(crate) load_balancing_weight: Option<UInt32Value>,
    #[prost(uint32, tag = "5")]
    pub(crate) priority: u32,
}

/// `LbEndpoint`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LbEndpoint {
    #[prost(message, optional, tag = "1")]
    pub(crate) endpoint: Option<Endpoint>,
    #[prost(int32, tag = "2")]
    pub(crate) health_status: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "4")]
    pub(crate) load_balancing_weight: Option<UInt32Value>,
}
