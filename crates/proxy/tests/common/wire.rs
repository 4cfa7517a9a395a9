//! The resources of a gateway with one HTTP port, as the control plane would send them.

pub(crate) use envoy_types::pb::envoy::{
    config::route::v3::RouteAction, extensions::filters::network::http_connection_manager::v3::HttpConnectionManager,
};
use envoy_types::pb::{
    envoy::{
        config::{
            accesslog::v3::{AccessLog, access_log},
            cluster::v3::{
                Cluster,
                cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
            },
            core::v3::{
                Address, AggregatedConfigSource, ApiVersion, ConfigSource, DataSource, Http2ProtocolOptions,
                SocketAddress, SubstitutionFormatString, address, config_source::ConfigSourceSpecifier,
                data_source::Specifier, socket_address::PortSpecifier, substitution_format_string::Format,
            },
            endpoint::v3::{
                ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
            },
            listener::v3::{
                Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter::ConfigType, listener_filter,
            },
            route::v3::{
                RetryPolicy, Route, RouteConfiguration, RouteMatch, VirtualHost,
                retry_policy::{RetryBackOff, RetryHostPredicate, retry_host_predicate},
                route::Action,
                route_action::ClusterSpecifier,
                route_match::PathSpecifier,
            },
        },
        extensions::{
            access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat},
            filters::{
                http::router::v3::Router,
                network::{
                    http_connection_manager::v3::{
                        HttpFilter, Rds,
                        http_connection_manager::{RouteSpecifier, UpgradeConfig},
                        http_filter,
                    },
                    tcp_proxy::v3::{TcpProxy, tcp_proxy},
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

pub(crate) fn any(type_url: &str, message: &impl Message) -> Any {
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
pub(crate) fn listener(port: u16, adjust: impl FnOnce(&mut HttpConnectionManager)) -> (Kind, String, Vec<u8>) {
    let mut manager = HttpConnectionManager {
        stat_prefix: "test".into(),
        use_remote_address: Some(BoolValue { value: true }),
        upgrade_configs: vec![UpgradeConfig { upgrade_type: "websocket".into(), ..UpgradeConfig::default() }],
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: "routes".into(),
        })),
        http_filters: vec![router()],
        ..HttpConnectionManager::default()
    };
    adjust(&mut manager);
    bound(port, |listener| listener.filter_chains = vec![http_chain(&listener.name, &manager)])
}

/// A listener that looks at the first bytes: HTTP by `routes`, everything else as TCP to `cluster`.
pub(crate) fn sniffing(port: u16, cluster: &str) -> (Kind, String, Vec<u8>) {
    let manager = HttpConnectionManager {
        stat_prefix: "test".into(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: "routes".into(),
        })),
        http_filters: vec![router()],
        ..HttpConnectionManager::default()
    };
    bound(port, |listener| {
        let mut http = http_chain(&listener.name, &manager);
        http.filter_chain_match = Some(FilterChainMatch {
            transport_protocol: "raw_buffer".into(),
            application_protocols: vec!["http/1.1".into(), "h2c".into()],
            ..FilterChainMatch::default()
        });
        listener.filter_chains = vec![http];
        listener.default_filter_chain = Some(tcp_chain("tcp", cluster));
        listener.listener_filters = vec![
            inspector(
                "envoy.filters.listener.tls_inspector",
                "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
            ),
            inspector(
                "envoy.filters.listener.http_inspector",
                "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
            ),
        ];
    })
}

fn router() -> HttpFilter {
    let config = any("envoy.extensions.filters.http.router.v3.Router", &Router::default());
    HttpFilter {
        name: "envoy.filters.http.router".into(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    }
}

/// A TCP listener.
pub(crate) fn tcp(port: u16, cluster: &str) -> (Kind, String, Vec<u8>) {
    bound(port, |listener| listener.filter_chains = vec![tcp_chain("tcp", cluster)])
}

fn bound(port: u16, adjust: impl FnOnce(&mut Listener)) -> (Kind, String, Vec<u8>) {
    let name = format!("0.0.0.0_{port}");
    let mut listener =
        Listener { name: name.clone(), address: Some(address(port)), traffic_direction: 2, ..Listener::default() };
    adjust(&mut listener);
    resource(Kind::Listener, &name, &listener)
}

fn inspector(name: &str, kind: &str) -> ListenerFilter {
    let config = Any { type_url: format!("type.googleapis.com/{kind}"), value: Vec::new() };
    ListenerFilter {
        name: name.into(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..ListenerFilter::default()
    }
}

fn http_chain(name: &str, manager: &HttpConnectionManager) -> FilterChain {
    chain(
        name,
        "envoy.filters.network.http_connection_manager",
        any("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", manager),
    )
}

fn tcp_chain(name: &str, cluster: &str) -> FilterChain {
    let proxy = TcpProxy {
        stat_prefix: "test".into(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.into())),
        ..TcpProxy::default()
    };
    chain(
        name,
        "envoy.filters.network.tcp_proxy",
        any("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", &proxy),
    )
}

fn chain(name: &str, filter: &str, config: Any) -> FilterChain {
    FilterChain {
        name: name.into(),
        filters: vec![Filter { name: filter.into(), config_type: Some(ConfigType::TypedConfig(config)) }],
        ..FilterChain::default()
    }
}

/// Everything goes to one cluster.
pub(crate) fn routes(cluster: &str, adjust: impl FnOnce(&mut RouteAction)) -> (Kind, String, Vec<u8>) {
    route_config(vec![route("/", cluster, adjust)])
}

/// `/h1/…` and `/h2/…` to the clusters of these names.
pub(crate) fn two_routes(adjust: impl Fn(&mut RouteAction)) -> (Kind, String, Vec<u8>) {
    route_config(vec![route("/h1/", "h1", &adjust), route("/h2/", "h2", &adjust)])
}

/// A route by prefix.
pub(crate) fn route(prefix: &str, cluster: &str, adjust: impl FnOnce(&mut RouteAction)) -> Route {
    let mut action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.into())),
        timeout: Some(Duration { seconds: 0, nanos: 0 }),
        ..RouteAction::default()
    };
    adjust(&mut action);
    Route {
        name: prefix.into(),
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix(prefix.into())),
            ..RouteMatch::default()
        }),
        action: Some(Action::Route(action)),
        ..Route::default()
    }
}

/// The routes of the gateway's one virtual host.
pub(crate) fn route_config(routes: Vec<Route>) -> (Kind, String, Vec<u8>) {
    let config = RouteConfiguration {
        name: "routes".into(),
        virtual_hosts: vec![VirtualHost {
            name: "all".into(),
            domains: vec!["*".into()],
            routes,
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    resource(Kind::Route, "routes", &config)
}

/// A retry policy without waits between the tries.
pub(crate) fn retry(on: &str, retries: u32, adjust: impl FnOnce(&mut RetryPolicy)) -> RetryPolicy {
    let mut policy = RetryPolicy {
        retry_on: on.into(),
        num_retries: Some(UInt32Value { value: retries }),
        retry_back_off: Some(RetryBackOff { base_interval: Some(millis(1)), max_interval: Some(millis(1)) }),
        ..RetryPolicy::default()
    };
    adjust(&mut policy);
    policy
}

/// A further try goes to another host.
pub(crate) fn elsewhere(policy: &mut RetryPolicy) {
    policy.retry_host_predicate = vec![RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".into(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(Any {
            type_url: "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate".into(),
            value: Vec::new(),
        })),
    }];
    policy.host_selection_retry_max_attempts = 5;
}

/// An access log to the standard output.
pub(crate) fn stdout_log(format: &str) -> AccessLog {
    let file = FileAccessLog {
        path: "/dev/stdout".into(),
        access_log_format: Some(AccessLogFormat::LogFormat(SubstitutionFormatString {
            format: Some(Format::TextFormatSource(DataSource {
                specifier: Some(Specifier::InlineString(format.into())),
                ..DataSource::default()
            })),
            ..SubstitutionFormatString::default()
        })),
    };
    AccessLog {
        name: "envoy.access_loggers.file".into(),
        config_type: Some(access_log::ConfigType::TypedConfig(any(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            &file,
        ))),
        ..AccessLog::default()
    }
}

pub(crate) fn millis(millis: u32) -> Duration {
    Duration { seconds: i64::from(millis / 1000), nanos: (millis % 1000) as i32 * 1_000_000 }
}

/// A cluster whose endpoints come apart.
pub(crate) fn cluster(name: &str, http2: bool) -> (Kind, String, Vec<u8>) {
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
pub(crate) fn endpoints(name: &str, ports: &[u16]) -> (Kind, String, Vec<u8>) {
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
pub(crate) fn gateway(port: u16, upstreams: &[u16]) -> Vec<(Kind, String, Vec<u8>)> {
    vec![cluster("backend", false), endpoints("backend", upstreams), listener(port, |_| {}), routes("backend", |_| {})]
}
