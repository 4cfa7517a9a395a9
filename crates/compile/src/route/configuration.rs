//! Route configurations: with `vhds` and nothing in them, or with their hosts inline.

use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::Vhds;
use mizzen_world::mesh::{MeshSettings, OutboundPolicy};
use prost::Message;

use super::action::{default_route, respond};
use crate::cluster::PASSTHROUGH;
use crate::memo::{Shared, View};
use crate::resource::{Kind, Resource};
use crate::wire::build::{ads, append, bool_value, u32_value};
use crate::wire::{RouteConfiguration, VIRTUAL_HOSTS, VirtualHost};

/// The longest body that a direct response may have (Istio).
const RESPONSE_BYTES_MAX: u32 = 1024 * 1024;

/// A route configuration and the host for everything that no other host takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RoutesView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) name: Arc<str>,
    pub(crate) fallback: Fallback,
    /// Emit the configuration itself; without it only the fallback host is made, for hosts go inline.
    pub(crate) vhds: bool,
}

/// What answers for unknown hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fallback {
    /// Nothing: the configuration has but one host, for all domains.
    None,
    /// As the mesh's outbound policy says.
    Policy,
    /// 404: a gateway port to which no rule is bound.
    BlackHole(u16),
}

impl View for RoutesView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let mut resources = Vec::new();
        if self.vhds {
            let message =
                RouteConfiguration { vhds: Some(Vhds { config_source: Some(ads()) }), ..configuration(&self.name) };
            resources.push(Resource::encode(Kind::Routes, self.name.clone(), &message));
        }
        if let Some(host) = self.fallback() {
            let name = format!("{}/{}", self.name, host.name);
            resources.push(Resource::encode(Kind::VirtualHost, name, &host));
        }
        resources
    }
}

impl RoutesView {
    fn fallback(&self) -> Option<VirtualHost> {
        let (name, routes) = match (self.fallback, self.mesh.outbound_policy) {
            (Fallback::None, _) => return None,
            (Fallback::BlackHole(port), _) => (format!("blackhole:{port}"), Vec::new()),
            (Fallback::Policy, OutboundPolicy::AllowAny) => {
                let mut route = default_route(PASSTHROUGH.to_owned(), String::new(), &self.mesh, false);
                "allow_any".clone_into(&mut route.name);
                route.decorator = None;
                ("allow_any".to_owned(), vec![route])
            }
            (Fallback::Policy, OutboundPolicy::RegistryOnly) => {
                ("block_all".to_owned(), vec![respond("block_all", 502, b"")])
            }
        };
        Some(VirtualHost {
            name,
            domains: vec!["*".to_owned()],
            routes,
            include_request_attempt_count: self.fallback == Fallback::Policy,
        })
    }
}

/// A configuration with its hosts in it, in the order given. The hosts are copied as they were encoded.
pub(crate) fn inline_configuration<'a>(name: &str, hosts: impl Iterator<Item = &'a Arc<Resource>>) -> Arc<Resource> {
    let mut body = configuration(name).encode_to_vec();
    for host in hosts {
        append(&mut body, VIRTUAL_HOSTS, &host.body);
    }
    Resource::from_bytes(Kind::Routes, name, body)
}

/// The route configuration that a virtual host's resource name belongs to.
pub(crate) fn config_of(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(config, _)| config)
}

fn configuration(name: &str) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        validate_clusters: Some(bool_value(false)),
        max_direct_response_body_size_bytes: Some(u32_value(RESPONSE_BYTES_MAX)),
        ignore_port_in_host_matching: true,
        vhds: None,
    }
}
