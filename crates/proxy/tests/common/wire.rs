//! The resources of a gateway with one HTTP port, as the control plane would send them.

use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::{Cluster, cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig}},
            core::v3::{
                Address, AggregatedConfigSource, ApiVersion, ConfigSource, Http2ProtocolOptions, SocketAddress, address,
                config_source::ConfigSourceSpecifier, socket_address::PortSpecifier,
            },
            endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier},
            listener::v3::{Filter, FilterChain, Listener, filter::ConfigType},
            route::v3::{
                Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
                route::Action, route_action::ClusterSpecifier, route_match::PathSpecifier,
            },
        },
        extensions::{
            filters::{
                http::router::v3::Router,
                network::http_connection_manager::v3::{
                    HttpConnectionManager, HttpFilter, Rds,
                    http_connection_manager::{RouteSpecifier, UpgradeConfig}, http_filter,
                },
            },
            upstreams::http::v3::{
                HttpProtocolOptions,
                http_protocol_options::{
                    ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
                },
            },
        },
    },
    google::protobuf::{Any, BoolValue, Duration, UInt32Value},
};
use mizzen_xds::Kind;
use prost::Message;

use super::resource;

pub fn any(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{type_url}"), value: message.encode_to_vec() }
}

fn address(port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: "127.0.0.1".into(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    }
}

fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

/// A gateway's listener on `port`, routes by the name `routes`.
pub fn listener(port: u16, adjust: impl FnOnce(&mut HttpConnectionManager)) -> (Kind, String, Vec<u8>) {
    let mut manager = HttpConnectionManager {
        stat_prefix: "test".into(),
        use_remote_address: Some(BoolValue { value: true }),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".into(), ..UpgradeConfig::default() }],
        route_specifier: Some(RouteSpecifier::Rds(Rds { config_source: Some(ads()), route_config_name: "routes".into() })),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".into(),
            config_type: Some(http_filter::ConfigType::TypedConfig(any(
                "envoy.extensions.filters.http.router.v3.Router",
                &Router::default(),
            ))),
            ..HttpFilter::default()
        }],
        ..HttpConnectionManager::default()
    };
    adjust(&mut manager);
    let name = format!("0.0.0.0_{port}");
    let listener = Listener {
        name: name.clone(),
        address: Some(address(port)),
        traffic_direction: 2,
        filter_chains: vec![FilterChain {
            name: name.clone(),
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".into(),
                config_type: Some(ConfigType::TypedConfig(any(
                    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    &manager,
                ))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    };
    resource(Kind::Listener, &name, &listener)
}

/// Everything goes to one cluster.
pub fn routes(cluster: &str, adjust: impl FnOnce(&mut RouteAction)) -> (Kind, String, Vec<u8>) {
    let mut action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.into())),
        timeout: Some(Duration { seconds: 0, nanos: 0 }),
        ..RouteAction::default()
    };
    adjust(&mut action);
    let config = RouteConfiguration {
        name: "routes".into(),
        virtual_hosts: vec![VirtualHost {
            name: "all".into(),
            domains: vec!["*".into()],
            routes: vec![Route {
                name: "default".into(),
                r#match: Some(RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".into())), ..RouteMatch::default() }),
                action: Some(Action::Route(action)),
                ..Route::default()
            }],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    resource(Kind::Route, "routes", &config)
}

/// A cluster whose endpoints come apart.
pub fn cluster(name: &str, http2: bool) -> (Kind, String, Vec<u8>) {
    let mut cluster = Cluster {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads()), service_name: name.into() }),
        connect_timeout: Some(Duration { seconds: 2, nanos: 0 }),
        ..Cluster::default()
    };
    if http2 {
        let options = HttpProtocolOptions {
            upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default())),
            })),
            ..HttpProtocolOptions::default()
        };
        cluster.typed_extension_protocol_options.insert(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".into(),
            any("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", &options),
        );
    }
    resource(Kind::Cluster, name, &cluster)
}

/// The endpoints of a cluster, on loopback.
pub fn endpoints(name: &str, ports: &[u16]) -> (Kind, String, Vec<u8>) {
    let assignment = ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: ports
                .iter()
                .map(|port| LbEndpoint {
                    host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
                        address: Some(address(*port)),
                        ..Endpoint::default()
                    })),
                    load_balancing_weight: Some(UInt32Value { value: 1 }),
                    ..LbEndpoint::default()
                })
                .collect(),
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    };
    resource(Kind::Endpoints, name, &assignment)
}

/// A gateway on `port` in front of servers on loopback.
pub fn gateway(port: u16, upstreams: &[u16]) -> Vec<(Kind, String, Vec<u8>)> {
    vec![cluster("backend", false), endpoints("backend", upstreams), listener(port, |_| {}), routes("backend", |_| {})]
}
