//! Small valid resources, and a store that is fed with them.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use envoy_types::{
    pb::{
        envoy::{
            config::{
                cluster::v3::{
                    Cluster,
                    cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
                },
                core::v3::{
                    Address, AggregatedConfigSource, ConfigSource, SocketAddress, address, config_source,
                    socket_address,
                },
                endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint},
                listener::v3::{Filter, FilterChain, Listener, filter},
                route::v3::{
                    Route, RouteAction, RouteConfiguration, RouteMatch, Vhds, VirtualHost, route, route_action,
                    route_match,
                },
            },
            extensions::filters::{
                http::router::v3::Router,
                network::{
                    http_connection_manager::v3::{
                        HttpConnectionManager, HttpFilter, Rds, http_connection_manager, http_filter,
                    },
                    tcp_proxy::v3::{TcpProxy, tcp_proxy},
                },
            },
        },
        google::protobuf::{Any, BoolValue},
    },
    util::pack_any,
};
use mizzen_snapshot::{Applied, Resource, Snapshot, Store, Update};
use prost::{Message, Name};

/// A store, and the Snapshot in force.
#[derive(Default)]
pub(crate) struct Proxy {
    pub(crate) store: Store,
    pub(crate) snapshot: Arc<Snapshot>,
    version: u64,
}

impl Proxy {
    /// Applies and publishes; all must be accepted.
    pub(crate) fn add<T: Message + Name>(&mut self, name: &str, message: &T) {
        self.add_all(&[(name, message)]);
    }

    pub(crate) fn add_all<T: Message + Name>(&mut self, messages: &[(&str, &T)]) {
        let applied = self.apply(messages);
        assert_eq!((applied.accepted, applied.rejected), (messages.len(), vec![]));
        self.publish();
    }

    pub(crate) fn apply<T: Message + Name>(&mut self, messages: &[(&str, &T)]) -> Applied {
        self.version += 1;
        let added = messages.iter().map(|(name, message)| Resource {
            name: (*name).into(),
            version: self.version.to_string(),
            body: Bytes::from(message.encode_to_vec()),
        });
        self.store.apply(Update { type_url: T::type_url(), added: added.collect(), removed: Vec::new() })
    }

    pub(crate) fn remove<T: Name>(&mut self, names: &[&str]) {
        let removed = names.iter().map(|name| (*name).into()).collect();
        self.store.apply(Update { type_url: T::type_url(), added: Vec::new(), removed });
        self.publish();
    }

    /// Whether something came into force.
    pub(crate) fn publish(&mut self) -> bool {
        let before = self.snapshot.generation;
        let published = self.store.publish();
        if let Some(snapshot) = &published {
            assert_eq!(snapshot.generation, before + 1);
            self.snapshot = Arc::clone(snapshot);
        }
        published.is_some()
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<Arc<mizzen_snapshot::Cluster>> {
        self.snapshot.cluster(name).known().cloned()
    }

    pub(crate) fn has_cluster(&self, name: &str) -> bool {
        self.cluster(name).is_some()
    }
}

/// The one rejection of a message that must not be accepted.
pub(crate) fn refused<T: Message + Name>(name: &str, message: &T) -> String {
    let mut applied = Proxy::default().apply(&[(name, message)]);
    assert_eq!((applied.accepted, applied.rejected.len()), (0, 1));
    let rejection = applied.rejected.remove(0);
    assert_eq!(rejection.name, name);
    rejection.message
}

pub(crate) fn ads() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

pub(crate) fn yes() -> Option<BoolValue> {
    Some(BoolValue { value: true })
}

pub(crate) fn no() -> Option<BoolValue> {
    Some(BoolValue { value: false })
}

pub(crate) fn any<T: Message + Name + Clone>(message: &T) -> Any {
    pack_any(message.clone())
}

pub(crate) fn address(at: &str) -> Option<Address> {
    let at: SocketAddr = at.parse().expect("an address");
    Some(named_address(&at.ip().to_string(), at.port()))
}

pub(crate) fn named_address(host: &str, port: u16) -> Address {
    let socket = SocketAddress {
        address: host.into(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}

pub(crate) fn discovery(kind: DiscoveryType) -> Option<ClusterDiscoveryType> {
    Some(ClusterDiscoveryType::Type(kind as i32))
}

/// A cluster with EDS.
pub(crate) fn cluster(name: &str) -> Cluster {
    Cluster {
        name: name.into(),
        cluster_discovery_type: discovery(DiscoveryType::Eds),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads()), service_name: String::new() }),
        ..Cluster::default()
    }
}

/// A cluster that needs nothing else.
pub(crate) fn fixed(name: &str) -> Cluster {
    Cluster { name: name.into(), cluster_discovery_type: discovery(DiscoveryType::Static), ..Cluster::default() }
}

pub(crate) fn endpoint(address: Address) -> LbEndpoint {
    let inner = Endpoint { address: Some(address), ..Endpoint::default() };
    LbEndpoint { host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(inner)), ..LbEndpoint::default() }
}

pub(crate) fn load(name: &str, addresses: &[&str]) -> ClusterLoadAssignment {
    let lb_endpoints = addresses.iter().filter_map(|at| address(at)).map(endpoint).collect();
    ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![LocalityLbEndpoints { lb_endpoints, ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    }
}

pub(crate) fn forward(cluster: &str) -> RouteAction {
    RouteAction {
        cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(cluster.into())),
        ..RouteAction::default()
    }
}

/// Every path to this cluster.
pub(crate) fn to(cluster: &str) -> Route {
    Route {
        name: format!("to-{cluster}"),
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Prefix("/".into())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::Route(forward(cluster))),
        ..Route::default()
    }
}

pub(crate) fn host(name: &str, domains: &[&str], routes: &[Route]) -> VirtualHost {
    VirtualHost {
        name: name.into(),
        domains: domains.iter().map(|domain| (*domain).into()).collect(),
        routes: routes.to_vec(),
        ..VirtualHost::default()
    }
}

pub(crate) fn routes(name: &str, hosts: &[VirtualHost]) -> RouteConfiguration {
    RouteConfiguration { name: name.into(), virtual_hosts: hosts.to_vec(), ..RouteConfiguration::default() }
}

/// A route configuration whose hosts come on their own.
pub(crate) fn vhds(name: &str) -> RouteConfiguration {
    RouteConfiguration { vhds: Some(Vhds { config_source: Some(ads()) }), ..routes(name, &[]) }
}

pub(crate) fn router() -> HttpFilter {
    http_filter("envoy.filters.http.router", &any(&Router::default()))
}

pub(crate) fn http_filter(name: &str, config: &Any) -> HttpFilter {
    HttpFilter {
        name: name.into(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config.clone())),
        ..HttpFilter::default()
    }
}

/// A connection manager with this route configuration.
pub(crate) fn manager(rds: &str) -> HttpConnectionManager {
    let rds = Rds { config_source: Some(ads()), route_config_name: rds.into() };
    HttpConnectionManager {
        route_specifier: Some(http_connection_manager::RouteSpecifier::Rds(rds)),
        http_filters: vec![router()],
        ..HttpConnectionManager::default()
    }
}

pub(crate) fn chain<T: Message + Name + Clone>(name: &str, filter: &T) -> FilterChain {
    let filter = Filter { name: "x".into(), config_type: Some(filter::ConfigType::TypedConfig(any(filter))) };
    FilterChain { name: name.into(), filters: vec![filter], ..FilterChain::default() }
}

pub(crate) fn tcp(cluster: &str) -> TcpProxy {
    TcpProxy { cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.into())), ..TcpProxy::default() }
}

/// A listener without a socket of its own.
pub(crate) fn listener(name: &str, at: &str, chains: &[FilterChain]) -> Listener {
    Listener {
        name: name.into(),
        address: address(at),
        bind_to_port: no(),
        filter_chains: chains.to_vec(),
        ..Listener::default()
    }
}
