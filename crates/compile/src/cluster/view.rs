//! The clusters of one service.

use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    CommonLbConfig, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use envoy_types::pb::envoy::r#type::v3::Percent;
use mizzen_world::destination_rule::{DestinationRule, LoadBalancer, Subset};
use mizzen_world::endpoint::{Coverage, Endpoints, Peers};
use mizzen_world::mesh::MeshSettings;
use mizzen_world::service::{PortSpec, Protocol, Registry, Resolution, Service};

use super::{http_options, no_limits, outbound_name};
use crate::endpoints::{lb_endpoint_at, localities};
use crate::memo::{Shared, View};
use crate::resource::{Kind, Resource};
use crate::scope::{Capabilities, ProxyKind};
use crate::tls::{self, Peer};
use crate::wire::build::{ads, duration};
use crate::wire::{
    Cluster, ClusterLoadAssignment, ClusterType, LocalityLbEndpoints, Metadata, SocketMatch, Struct, Value,
};

/// All that the clusters of one service are made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClusterView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) service: Shared<Service>,
    pub(crate) rule: Option<Shared<DestinationRule>>,
    pub(crate) peers: Option<Shared<Peers>>,
    /// Only of a service that resolves by DNS: its endpoints stand in the cluster.
    pub(crate) endpoints: Option<Shared<Endpoints>>,
    pub(crate) kind: ProxyKind,
    pub(crate) capabilities: Capabilities,
}

impl View for ClusterView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let subsets = self.rule.iter().flat_map(|rule| &rule.subsets).map(Some);
        let all: Vec<Option<&Subset>> = std::iter::once(None).chain(subsets).collect();
        let ports = self.service.ports.iter().filter(|port| port.protocol != Protocol::Udp);
        let clusters = ports.flat_map(|port| all.iter().map(move |subset| self.cluster(port, *subset)));
        clusters.map(|cluster| Resource::encode(Kind::Cluster, &*cluster.name, &cluster)).collect()
    }
}

/// How a service's endpoints are reached from one kind of data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Eds,
    Dns,
    OriginalDestination,
    /// Refused, or nothing at all.
    Nowhere,
}

/// How the service's endpoints are reached. A gateway knows no original destination: it balances over a headless service.
pub(crate) fn reach(service: &Service, rule: Option<&DestinationRule>, kind: ProxyKind) -> Reach {
    if service.refused || rule.is_some_and(|rule| rule.refused_by.is_some()) {
        return Reach::Nowhere;
    }
    match (service.resolution, kind) {
        (Resolution::Balanced, _) | (Resolution::Headless, ProxyKind::Router) => Reach::Eds,
        (Resolution::Dns, _) => Reach::Dns,
        (Resolution::Headless, ProxyKind::Sidecar) | (Resolution::None, _) => Reach::OriginalDestination,
    }
}

impl ClusterView {
    fn cluster(&self, port: &PortSpec, subset: Option<&Subset>) -> Cluster {
        let service = &*self.service;
        let name = outbound_name(port.number, subset.map(|subset| &*subset.name), service.host());
        let policy = self.rule.as_ref().map(|rule| rule.policy(subset, port.number)).unwrap_or_default();
        let balancer = policy.load_balancer.unwrap_or_default();
        let reach = match reach(service, self.rule.as_deref(), self.kind) {
            Reach::Eds | Reach::Dns if balancer == LoadBalancer::Passthrough => Reach::OriginalDestination,
            reach => reach,
        };
        let (transport_socket_matches, transport_socket) = self.transport(port, subset, reach);
        Cluster {
            discovery: Some(ClusterType::Type(match reach {
                Reach::Eds => DiscoveryType::Eds,
                Reach::Dns => DiscoveryType::StrictDns,
                Reach::OriginalDestination => DiscoveryType::OriginalDst,
                Reach::Nowhere => DiscoveryType::Static,
            } as i32)),
            eds_cluster_config: (reach == Reach::Eds)
                .then(|| EdsClusterConfig { eds_config: Some(ads()), service_name: name.clone() }),
            load_assignment: (reach == Reach::Dns).then(|| ClusterLoadAssignment {
                cluster_name: name.clone(),
                endpoints: localities(self.endpoints.as_deref(), service, port.number, subset),
            }),
            dns_lookup_family: if reach == Reach::Dns { DnsLookupFamily::V4Preferred as i32 } else { 0 },
            lb_policy: match (reach, balancer) {
                (Reach::OriginalDestination, _) => LbPolicy::ClusterProvided,
                (_, LoadBalancer::LeastRequest | LoadBalancer::Passthrough) => LbPolicy::LeastRequest,
                (_, LoadBalancer::RoundRobin) => LbPolicy::RoundRobin,
                (_, LoadBalancer::Random) => LbPolicy::Random,
            } as i32,
            connect_timeout: Some(duration(policy.connect_timeout.unwrap_or(self.mesh.connect_timeout))),
            circuit_breakers: Some(no_limits()),
            // Unready endpoints are sent as such; a panic would send them traffic.
            common_lb_config: (reach == Reach::Eds).then(|| CommonLbConfig {
                healthy_panic_threshold: Some(Percent { value: 0.0 }),
                ..CommonLbConfig::default()
            }),
            transport_socket_matches,
            transport_socket,
            metadata: self.metadata(subset).some(),
            typed_extension_protocol_options: http_options(port.protocol, None).into_iter().collect(),
            upstream_bind_config: None,
            name,
        }
    }

    /// Mutual TLS with every endpoint that takes it. Where endpoints are not told apart (original destination), with all or
    /// with none.
    fn transport(
        &self,
        port: &PortSpec,
        subset: Option<&Subset>,
        reach: Reach,
    ) -> (Vec<SocketMatch>, Option<TransportSocket>) {
        let coverage = self.peers.as_ref().map(|peers| peers.coverage).unwrap_or_default();
        let external = self.service.registry == Registry::Entry { external: true };
        if !self.mesh.auto_mtls || external || coverage == Coverage::Nothing {
            return (Vec::new(), None);
        }
        let sni = format!(
            "outbound_.{}_.{}_.{}",
            port.number,
            subset.map(|subset| &*subset.name).unwrap_or_default(),
            self.service.host()
        );
        let mutual = || tls::upstream(sni, &self.peer(), self.alpn(port.protocol));
        match reach {
            Reach::Eds | Reach::Dns => (socket_matches(mutual()), None),
            Reach::OriginalDestination if coverage == Coverage::All => (Vec::new(), Some(mutual())),
            Reach::OriginalDestination | Reach::Nowhere => (Vec::new(), None),
        }
    }

    /// Who the server must be. A service none of whose endpoints tells its account is trusted to be anybody of the mesh.
    fn peer(&self) -> Peer<'_> {
        let identities = self.peers.iter().flat_map(|peers| &peers.identities);
        let names: Vec<&Arc<str>> = identities.chain(&self.service.subject_alt_names).collect();
        if names.is_empty() { Peer::Domains(self.mesh.trust_domains().collect()) } else { Peer::OneOf(names) }
    }

    /// ALPN towards a workload of the mesh: its inbound side tells protocols apart by it. With the `istio.alpn` filter the
    /// list of an HTTP cluster is chosen per request.
    fn alpn(&self, protocol: Protocol) -> &'static [&'static str] {
        match protocol {
            Protocol::Tcp | Protocol::Tls | Protocol::Udp => &["istio"],
            // Bytes that turn out to be no HTTP pass no filter.
            Protocol::Auto if self.capabilities.alpn => &["istio"],
            _ if self.capabilities.alpn => &[],
            Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb => &["istio-h2", "istio", "h2"],
            Protocol::Http | Protocol::Auto => &["istio-http/1.1", "istio", "http/1.1"],
        }
    }

    fn metadata(&self, subset: Option<&Subset>) -> Metadata {
        let service = &*self.service;
        let described = Struct::of([
            ("host", Value::from(&**service.host())),
            ("name", Value::from(&**service.name())),
            ("namespace", Value::from(&**service.namespace())),
        ]);
        let mut istio = vec![("services", Value::list(vec![described.into()]))];
        istio.extend(subset.map(|subset| ("subset", Value::from(&*subset.name))));
        let metadata = Metadata::default().with("istio", Struct::of(istio));
        let decided = match (&self.rule, subset) {
            (Some(rule), _) if rule.refused_by.is_some() => rule.refused_by.as_ref().map(|object| (&**object, "spec")),
            (_, Some(subset)) => Some((&*subset.object, &*subset.path)),
            (Some(rule), None) => Some((&*rule.object, "spec.trafficPolicy")),
            (None, None) => None,
        };
        match decided {
            Some((object, rule)) => {
                metadata.with("mizzen.io", Struct::of([("object", object.into()), ("rule", rule.into())]))
            }
            None => metadata,
        }
    }
}

fn socket_matches(mutual: TransportSocket) -> Vec<SocketMatch> {
    vec![
        SocketMatch {
            name: "tlsMode-istio".to_owned(),
            wanted: Some(Struct::of([("tlsMode", Value::from("istio"))])),
            transport_socket: Some(mutual),
        },
        SocketMatch {
            name: "tlsMode-disabled".to_owned(),
            wanted: Some(Struct::default()),
            transport_socket: Some(tls::plain()),
        },
    ]
}

/// A single endpoint, as a `STATIC` cluster lists it.
pub(super) fn localities_of(ip: IpAddr, port: u16) -> Vec<LocalityLbEndpoints> {
    vec![LocalityLbEndpoints {
        lb_endpoints: vec![lb_endpoint_at(ip.to_string(), port)],
        ..LocalityLbEndpoints::default()
    }]
}
