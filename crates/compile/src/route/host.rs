//! Virtual hosts: of a service, of a host that no service has, of a gateway's port. Each is a resource of its own.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use mizzen_world::endpoint::Endpoints;
use mizzen_world::mesh::MeshSettings;
use mizzen_world::name::NsName;
use mizzen_world::service::{PortSpec, Protocol, Service};
use mizzen_world::virtual_service::VirtualService;

use super::action::default_route;
use super::rules::{Audience, Destinations, Ruled, Source, routes};
use crate::cluster::outbound_name;
use crate::memo::{Shared, View};
use crate::resource::{Kind, Resource};
use crate::wire::build::ip_text;
use crate::wire::{Route, VirtualHost};

/// The resource name of a virtual host: `ROUTECONFIG/HOST:PORT`.
pub(crate) fn host_name(config: &str, host: &str, port: u16) -> String {
    format!("{config}/{host}:{port}")
}

fn encode(config: &str, host: &str, port: u16, domains: Vec<String>, routes: Vec<Route>) -> Arc<Resource> {
    let message = VirtualHost { name: format!("{host}:{port}"), domains, routes, include_request_attempt_count: true };
    Resource::encode(Kind::VirtualHost, host_name(config, host, port), &message)
}

/// The virtual hosts of a service: one per HTTP port, one per port whose protocol is detected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServiceHostView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) service: Shared<Service>,
    pub(crate) rule: Option<Shared<VirtualService>>,
    pub(crate) destinations: Destinations,
    pub(crate) source: Option<Source>,
    /// Only of a headless service: its endpoints' addresses are domains, too.
    pub(crate) endpoints: Option<Shared<Endpoints>>,
    /// Short names that the client may use, without those that are another service's full host.
    pub(crate) short_names: Vec<Arc<str>>,
    /// Addresses and ports that another service has first.
    pub(crate) lost: Vec<(IpAddr, u16)>,
}

impl View for ServiceHostView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let host = self.service.host();
        let hosts = self.service.ports.iter().filter_map(|port| {
            let routes = || self.routes(port);
            match port.protocol {
                Protocol::Auto => {
                    let config = format!("{host}:{}", port.number);
                    Some(encode(&config, host, port.number, vec!["*".to_owned()], routes()))
                }
                protocol if protocol.is_http() => {
                    Some(encode(&port.number.to_string(), host, port.number, self.domains(port.number), routes()))
                }
                _ => None,
            }
        });
        hosts.collect()
    }
}

impl ServiceHostView {
    fn routes(&self, port: &PortSpec) -> Vec<Route> {
        let host = self.service.host();
        let Some(rule) = self.rule.as_deref().filter(|rule| rule.refused || !rule.http.is_empty()) else {
            let cluster = outbound_name(port.number, None, host);
            return vec![default_route(cluster, format!("{host}:{}/*", port.number), &self.mesh, true)];
        };
        let audience = Audience {
            mesh: &self.mesh,
            port: port.number,
            source: self.source.as_ref(),
            gateways: None,
            destinations: &self.destinations,
        };
        routes(rule, audience).into_iter().map(|ruled| ruled.route).collect()
    }

    /// Every name and address under which the port is called.
    fn domains(&self, port: u16) -> Vec<String> {
        let service = &*self.service;
        let mut domains = vec![service.host().to_string()];
        if service.is_kubernetes() {
            domains.push(format!("{}.", service.host()));
        }
        domains.extend(self.short_names.iter().map(ToString::to_string));
        if service.is_headless() {
            domains.push(format!("*.{}", service.host()));
        }
        let endpoints = self.endpoints.iter().flat_map(|endpoints| endpoints.addresses());
        let addresses: BTreeSet<IpAddr> = service.vips.iter().copied().chain(endpoints).collect();
        let own = addresses.into_iter().filter(|ip| !self.lost.contains(&(*ip, port)));
        domains.extend(own.map(ip_text));
        domains
    }
}

/// The port on which hosts that no service has are routed (Istio).
pub(crate) const PATTERN_PORT: u16 = 80;

/// The virtual host of a host or pattern that a rule names and no service has: on port 80 only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PatternHostView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) host: Arc<str>,
    pub(crate) rule: Shared<VirtualService>,
    pub(crate) destinations: Destinations,
    pub(crate) source: Option<Source>,
}

impl View for PatternHostView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let audience = Audience {
            mesh: &self.mesh,
            port: PATTERN_PORT,
            source: self.source.as_ref(),
            gateways: None,
            destinations: &self.destinations,
        };
        let routes = routes(&self.rule, audience).into_iter().map(|ruled| ruled.route).collect();
        vec![encode(&PATTERN_PORT.to_string(), &self.host, PATTERN_PORT, vec![self.host.to_string()], routes)]
    }
}

/// A rule as it came to a gateway's port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bound {
    pub(crate) rule: Shared<VirtualService>,
    pub(crate) gateways: Vec<NsName>,
}

/// A host on a gateway's port, with every rule for it: they are merged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GatewayHostView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) port: u16,
    pub(crate) host: Arc<str>,
    pub(crate) rules: Vec<Bound>,
    pub(crate) destinations: Destinations,
    pub(crate) source: Option<Source>,
}

impl View for GatewayHostView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let ruled = self.rules.iter().flat_map(|bound| {
            let audience = Audience {
                mesh: &self.mesh,
                port: self.port,
                source: self.source.as_ref(),
                gateways: Some(&bound.gateways),
                destinations: &self.destinations,
            };
            routes(&bound.rule, audience)
        });
        // Routes for everything go behind the others, so that no rule hides another object's.
        let (last, first): (Vec<Ruled>, Vec<Ruled>) = ruled.partition(|ruled| ruled.everything);
        let routes = first.into_iter().chain(last).map(|ruled| ruled.route).collect();
        let config = format!("http.{}", self.port);
        vec![encode(&config, &self.host, self.port, vec![self.host.to_string()], routes)]
    }
}
