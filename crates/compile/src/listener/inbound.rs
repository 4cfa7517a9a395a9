//! `virtualInbound`: what a workload accepts, by port, transport and protocol.
//!
//! Chains by policy and protocol are Istio's (its `virtualInbound` listener): under PERMISSIVE a peer of the mesh is told
//! by the ALPN that only the mesh offers.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::FilterChainMatch;
use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use mizzen_world::mesh::MeshSettings;
use mizzen_world::peer_auth::{Mtls, MtlsMode};
use mizzen_world::service::Protocol;
use prost::Message;

use super::filters::{http_inline, tcp};
use super::{finish, inspectors, listener_filter, wildcard};
use crate::cluster::{BLACK_HOLE, INBOUND_PASSTHROUGH, inbound_cluster_name};
use crate::memo::{Shared, View};
use crate::resource::Resource;
use crate::route::default_route;
use crate::tls::downstream;
use crate::wire::build::{any, append, bool_value, provenance, u32_value};
use crate::wire::{FilterChain, Listener, RouteConfiguration, VIRTUAL_HOSTS, VirtualHost};

/// The port that inbound connections are captured on (Istio).
const INBOUND_PORT: u16 = 15006;

/// ALPN of plain HTTP, as the inspector names it.
const PLAIN_HTTP: &[&str] = &["http/1.1", "h2c"];
/// ALPN of HTTP from a peer of the mesh.
const MESH_HTTP: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// ALPN of bytes from a peer of the mesh.
const MESH_TCP: &[&str] = &["istio-peer-exchange", "istio"];
/// ALPN of any peer of the mesh.
const MESH: &[&str] = &["istio-peer-exchange", "istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"];

/// What servers offer. The bare `istio` is there for peers that offer nothing else in common: a TLS stack may refuse a
/// handshake without a common protocol.
const OFFERED_HTTP: &[&str] = &["h2", "http/1.1", "istio"];
const OFFERED_TCP: &[&str] = &["istio", "h2", "http/1.1"];

/// One port of the workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InboundPort {
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
    /// `HOST:PORT` of the service that is served there.
    pub(crate) authority: Arc<str>,
}

/// All that a workload's inbound side is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InboundView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) mtls: Mtls,
    pub(crate) ports: Vec<InboundPort>,
    /// How the listener learns where a connection was going: by the flag (data planes that know whether a listener is
    /// inbound), else by a listener filter, since Envoy with the flag would hand the connection to an outbound listener.
    pub(crate) by_flag: bool,
}

/// What a chain's connection is, before it is decrypted.
#[derive(Clone, Copy, Debug)]
enum Transport {
    /// TLS by the mesh's certificates; terminated.
    Mutual(&'static [&'static str]),
    /// TLS of somebody else, passed on unopened.
    Foreign,
    Plain(&'static [&'static str]),
}

/// How a chain handles its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handler {
    Http,
    Tcp,
}

/// The chains of a port, by policy and protocol; an empty ALPN list asks for none.
fn plan(mode: MtlsMode, protocol: Protocol) -> Vec<(Transport, Handler)> {
    use Handler::{Http, Tcp};
    use Transport::{Foreign, Mutual, Plain};
    let handler = if protocol.is_http() { Http } else { Tcp };
    match (mode, protocol) {
        (MtlsMode::Permissive, Protocol::Auto) => vec![
            (Mutual(MESH_HTTP), Http),
            (Plain(PLAIN_HTTP), Http),
            (Mutual(MESH_TCP), Tcp),
            (Plain(&[]), Tcp),
            (Foreign, Tcp),
        ],
        (MtlsMode::Permissive, _) if handler == Http => vec![(Mutual(MESH), Http), (Plain(&[]), Http)],
        (MtlsMode::Permissive, _) => vec![(Mutual(MESH), Tcp), (Foreign, Tcp), (Plain(&[]), Tcp)],
        (MtlsMode::Strict, Protocol::Auto) => vec![(Mutual(MESH_HTTP), Http), (Mutual(&[]), Tcp)],
        (MtlsMode::Strict, _) => vec![(Mutual(&[]), handler)],
        (MtlsMode::Disable, Protocol::Auto) => vec![(Plain(PLAIN_HTTP), Http), (Plain(&[]), Tcp), (Foreign, Tcp)],
        (MtlsMode::Disable, _) if handler == Http => vec![(Plain(&[]), Http)],
        (MtlsMode::Disable, _) => vec![(Plain(&[]), Tcp), (Foreign, Tcp)],
    }
}

/// Where a chain leads and under which names.
struct Target<'a> {
    port: Option<u16>,
    cluster: &'a str,
    operation: &'a str,
}

impl View for InboundView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let mut filter_chains = vec![self.black_hole("virtualInbound-blackhole", Some(INBOUND_PORT))];
        if let Some(object) = &self.mtls.refused_by {
            let refused = self.black_hole("virtualInbound", None);
            filter_chains.push(FilterChain { metadata: Some(provenance(object, "spec")), ..refused });
        } else {
            filter_chains.extend(self.unknown_ports());
            filter_chains.extend(self.ports.iter().flat_map(|port| self.known_port(port)));
        }
        let original = (!self.by_flag).then(|| listener_filter("original_dst", any(&OriginalDst {})));
        let listener = Listener {
            use_original_dst: self.by_flag.then(|| bool_value(true)),
            listener_filters: original.into_iter().chain(inspectors()).collect(),
            filter_chains,
            ..wildcard("virtualInbound", INBOUND_PORT, TrafficDirection::Inbound)
        };
        finish(&listener)
    }
}

impl InboundView {
    fn known_port(&self, port: &InboundPort) -> Vec<FilterChain> {
        let cluster = inbound_cluster_name(port.number);
        let operation = format!("{}/*", port.authority);
        let target = Target { port: Some(port.number), cluster: &cluster, operation: &operation };
        let name = format!("0.0.0.0_{}", port.number);
        plan(self.mtls.mode, port.protocol).into_iter().map(|step| self.chain(&name, step, &target)).collect()
    }

    /// Ports that no service names.
    fn unknown_ports(&self) -> Vec<FilterChain> {
        let target = Target { port: None, cluster: INBOUND_PASSTHROUGH, operation: "" };
        let chains = plan(self.mtls.mode, Protocol::Auto).into_iter().map(|step| {
            let name = if step.1 == Handler::Http { "virtualInbound-catchall-http" } else { "virtualInbound" };
            self.chain(name, step, &target)
        });
        chains.collect()
    }

    fn black_hole(&self, name: &str, port: Option<u16>) -> FilterChain {
        FilterChain {
            name: name.to_owned(),
            filter_chain_match: port.map(|port| FilterChainMatch {
                destination_port: Some(u32_value(u32::from(port))),
                ..FilterChainMatch::default()
            }),
            filters: vec![tcp(&self.mesh, BLACK_HOLE)],
            ..FilterChain::default()
        }
    }

    fn chain(&self, name: &str, (transport, handler): (Transport, Handler), target: &Target<'_>) -> FilterChain {
        let (protocol, alpn) = match transport {
            Transport::Mutual(alpn) => ("tls", alpn),
            Transport::Foreign => ("tls", &[][..]),
            Transport::Plain(alpn) => ("raw_buffer", alpn),
        };
        let offered = if handler == Handler::Http { OFFERED_HTTP } else { OFFERED_TCP };
        FilterChain {
            name: name.to_owned(),
            filter_chain_match: Some(FilterChainMatch {
                destination_port: target.port.map(|port| u32_value(u32::from(port))),
                transport_protocol: protocol.to_owned(),
                application_protocols: alpn.iter().map(|&protocol| protocol.to_owned()).collect(),
                ..FilterChainMatch::default()
            }),
            filters: vec![match handler {
                Handler::Http => self.http(target),
                Handler::Tcp => tcp(&self.mesh, target.cluster),
            }],
            transport_socket: matches!(transport, Transport::Mutual(_)).then(|| downstream(&self.mesh, offered)),
            metadata: self.mtls.decided_by.as_ref().map(|object| provenance(object, "spec.mtls")),
        }
    }

    fn http(&self, target: &Target<'_>) -> envoy_types::pb::envoy::config::listener::v3::Filter {
        let suffix = target.port.map(|port| port.to_string()).unwrap_or_default();
        let mut route = default_route(target.cluster.to_owned(), target.operation.to_owned(), &self.mesh, false);
        if target.operation.is_empty() {
            route.decorator = None;
        }
        let host = VirtualHost {
            name: format!("inbound|http|{suffix}"),
            domains: vec!["*".to_owned()],
            routes: vec![route],
            include_request_attempt_count: false,
        };
        let configuration = RouteConfiguration {
            name: target.cluster.to_owned(),
            validate_clusters: Some(bool_value(false)),
            ..RouteConfiguration::default()
        };
        let mut routes = configuration.encode_to_vec();
        append(&mut routes, VIRTUAL_HOSTS, &host.encode_to_vec());
        http_inline(&self.mesh, &format!("inbound_0.0.0.0_{suffix}"), &routes)
    }
}
