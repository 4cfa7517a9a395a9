//! Clusters of the services that a client sees: `outbound|PORT|SUBSET|HOST`, one per port and subset.

mod fixed;
mod view;

pub(crate) use fixed::{
    BLACK_HOLE, INBOUND_PASSTHROUGH, InboundClusterView, MeshClustersView, PASSTHROUGH, inbound_cluster_name,
};
pub(crate) use view::{ClusterView, Reach, reach};

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::CircuitBreakers;
use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as Common,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
};
use envoy_types::pb::google::protobuf::Any;
use mizzen_world::service::Protocol;

use crate::wire::build::{any, duration, u32_value};

/// The name of a cluster.
pub(crate) fn outbound_name(port: u16, subset: Option<&str>, host: &str) -> String {
    format!("outbound|{port}|{}|{host}", subset.unwrap_or_default())
}

/// The extension under which a cluster says how it speaks HTTP.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// How a cluster speaks HTTP; `None` for a protocol that is not HTTP.
fn http_options(protocol: Protocol, idle_timeout: Option<Duration>) -> Option<(String, Any)> {
    let explicit = |config| {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) }))
    };
    let options = match protocol {
        Protocol::Http => explicit(ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default())),
        Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb => {
            explicit(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default()))
        }
        Protocol::Auto => Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(Http2ProtocolOptions::default()),
            ..UseDownstreamHttpConfig::default()
        })),
        Protocol::Tcp | Protocol::Tls | Protocol::Udp => return None,
    };
    let options = HttpProtocolOptions {
        common_http_protocol_options: idle_timeout
            .map(|timeout| Common { idle_timeout: Some(duration(timeout)), ..Common::default() }),
        upstream_protocol_options: options,
        ..HttpProtocolOptions::default()
    };
    Some((HTTP_OPTIONS.to_owned(), any(&options)))
}

/// No limits, as Istio has it; left out, Envoy's 1024 connections and 3 retries would hold.
fn no_limits() -> CircuitBreakers {
    let max = Some(u32_value(u32::MAX));
    let thresholds = Thresholds {
        max_connections: max,
        max_pending_requests: max,
        max_requests: max,
        max_retries: max,
        ..Thresholds::default()
    };
    CircuitBreakers { thresholds: vec![thresholds], ..CircuitBreakers::default() }
}
