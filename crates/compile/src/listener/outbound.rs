//! The outbound listeners of a sidecar: the catch-all that is captured on, one per HTTP port for all services, one per
//! address and port of a service whose bytes tell no host.

use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{CidrRange, TrafficDirection};
use envoy_types::pb::envoy::config::listener::v3::FilterChainMatch;
use ipnet::IpNet;
use mizzen_world::mesh::{MeshSettings, OutboundPolicy};
use mizzen_world::service::{PortSpec, Protocol, Service};

use super::filters::{Side, http, rds, tcp};
use super::{finish, inspectors, unbound, wildcard};
use crate::cluster::{BLACK_HOLE, PASSTHROUGH, outbound_name};
use crate::memo::{Shared, View};
use crate::resource::Resource;
use crate::wire::build::{address, bool_value, ip_text, u32_value};
use crate::wire::{FilterChain, Listener};

/// The port that outbound connections are captured on (Istio).
const OUTBOUND_PORT: u16 = 15001;

/// `virtualOutbound`: hands captured connections to the listener of their destination; the rest passes or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct VirtualOutboundView {
    pub(crate) mesh: Shared<MeshSettings>,
}

impl View for VirtualOutboundView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let loops = FilterChain {
            name: "virtualOutbound-blackhole".to_owned(),
            filter_chain_match: Some(FilterChainMatch {
                destination_port: Some(u32_value(u32::from(OUTBOUND_PORT))),
                ..FilterChainMatch::default()
            }),
            filters: vec![tcp(&self.mesh, BLACK_HOLE)],
            ..FilterChain::default()
        };
        let listener = Listener {
            use_original_dst: Some(bool_value(true)),
            filter_chains: vec![loops, unknown(&self.mesh, "virtualOutbound-catchall-tcp")],
            ..wildcard("virtualOutbound", OUTBOUND_PORT, TrafficDirection::Outbound)
        };
        finish(&listener)
    }
}

/// A chain for destinations that the mesh does not know.
fn unknown(mesh: &MeshSettings, name: &str) -> FilterChain {
    let cluster = match mesh.outbound_policy {
        OutboundPolicy::AllowAny => PASSTHROUGH,
        OutboundPolicy::RegistryOnly => BLACK_HOLE,
    };
    FilterChain { name: name.to_owned(), filters: vec![tcp(mesh, cluster)], ..FilterChain::default() }
}

/// An entry without a single address of its own, on a port that is not HTTP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Plain {
    pub(crate) host: Arc<str>,
    /// Told apart by SNI.
    pub(crate) tls: bool,
    /// Its address blocks; empty is every address.
    pub(crate) blocks: Vec<IpNet>,
}

/// `0.0.0.0_PORT`: every service on an HTTP port, and entries without an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WildcardView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) port: u16,
    pub(crate) http: bool,
    pub(crate) plain: Vec<Plain>,
    pub(crate) alpn: bool,
}

impl View for WildcardView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let name = format!("0.0.0.0_{}", self.port);
        let mut filter_chains = Vec::new();
        if self.http {
            filter_chains.push(http_chain(&self.mesh, &name, &self.port.to_string(), self.alpn));
        }
        let is_specific = |plain: &&Plain| !plain.blocks.is_empty() || plain.tls;
        filter_chains.extend(self.plain.iter().filter(is_specific).map(|plain| self.chain(plain)));
        let any = self.plain.iter().find(|plain| !is_specific(plain));
        let listener = Listener {
            listener_filters: inspectors(),
            filter_chains,
            default_filter_chain: Some(match any {
                Some(plain) => self.chain(plain),
                None => unknown(&self.mesh, "PassthroughFilterChain"),
            }),
            ..unbound(wildcard(name, self.port, TrafficDirection::Outbound))
        };
        finish(&listener)
    }
}

impl WildcardView {
    fn chain(&self, plain: &Plain) -> FilterChain {
        let matched = FilterChainMatch {
            prefix_ranges: plain.blocks.iter().map(range).collect(),
            server_names: if plain.tls && plain.blocks.is_empty() { vec![plain.host.to_string()] } else { Vec::new() },
            transport_protocol: if plain.tls { "tls" } else { "" }.to_owned(),
            ..FilterChainMatch::default()
        };
        let cluster = outbound_name(self.port, None, &plain.host);
        FilterChain {
            name: cluster.clone(),
            filter_chain_match: (matched != FilterChainMatch::default()).then_some(matched),
            filters: vec![tcp(&self.mesh, &cluster)],
            ..FilterChain::default()
        }
    }
}

fn range(net: &IpNet) -> CidrRange {
    CidrRange { address_prefix: net.addr().to_string(), prefix_len: Some(u32_value(u32::from(net.prefix_len()))) }
}

/// Plain HTTP; anything else takes the listener's default chain.
fn http_chain(mesh: &MeshSettings, name: &str, routes: &str, alpn: bool) -> FilterChain {
    FilterChain {
        name: name.to_owned(),
        filter_chain_match: Some(FilterChainMatch {
            transport_protocol: "raw_buffer".to_owned(),
            application_protocols: ["http/1.1", "h2c"].map(str::to_owned).to_vec(),
            ..FilterChainMatch::default()
        }),
        filters: vec![http(mesh, Side::Outbound { alpn }, &format!("outbound_{name}"), rds(routes))],
        ..FilterChain::default()
    }
}

/// The listeners `ADDRESS_PORT` of one service: for its TCP ports and those whose protocol is detected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServiceListenerView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) service: Shared<Service>,
    /// The addresses that are the service's alone: virtual ones, or those of a headless service's endpoints.
    pub(crate) addresses: Vec<(IpAddr, u16)>,
    pub(crate) alpn: bool,
}

impl View for ServiceListenerView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let listeners = self.addresses.iter().filter_map(|&(ip, number)| {
            let port = self.service.port(number)?;
            (port.protocol.is_tcp() || port.protocol == Protocol::Auto).then(|| self.listener(ip, port))
        });
        listeners.flat_map(|listener| finish(&listener)).collect()
    }
}

impl ServiceListenerView {
    fn listener(&self, ip: IpAddr, port: &PortSpec) -> Listener {
        let name = format!("{}_{}", ip_text(ip), port.number);
        let host = self.service.host();
        let cluster = outbound_name(port.number, None, host);
        let bytes =
            FilterChain { name: cluster.clone(), filters: vec![tcp(&self.mesh, &cluster)], ..FilterChain::default() };
        let listener = Listener {
            address: Some(address(ip.to_string(), port.number)),
            traffic_direction: TrafficDirection::Outbound as i32,
            ..unbound(Listener::default())
        };
        if port.protocol != Protocol::Auto {
            return Listener { name, filter_chains: vec![bytes], ..listener };
        }
        let routes = format!("{host}:{}", port.number);
        Listener {
            listener_filters: inspectors(),
            filter_chains: vec![http_chain(&self.mesh, &name, &routes, self.alpn)],
            default_filter_chain: Some(bytes),
            name,
            ..listener
        }
    }
}
