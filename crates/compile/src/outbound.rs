//! The outbound half of a class of clients: what every client of one namespace, kind and set of capabilities gets for the
//! services it sees. Kept from generation to generation, so that a new world costs what it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use mizzen_world::endpoint::Endpoints;
use mizzen_world::name::{covering_patterns, host_covers, is_wildcard};
use mizzen_world::names::short_names;
use mizzen_world::service::{Protocol, Resolution, Service, ServiceKey};
use mizzen_world::virtual_service::VirtualService;
use mizzen_world::{Labels, World};

use crate::claims::Claims;
use crate::cluster::{ClusterView, MeshClustersView};
use crate::endpoints::EndpointsView;
use crate::layer::Layer;
use crate::listener::{Plain, ServiceListenerView, VirtualOutboundView, WildcardView};
use crate::memo::{Built, Shared};
use crate::names::NamesView;
use crate::publish::publish;
use crate::resource::ResourceSet;
use crate::route::{Destinations, Fallback, PATTERN_PORT, PatternHostView, RoutesView, ServiceHostView, Source};
use crate::scope::{Capabilities, ProxyKind};
use crate::tables::{Remembered, Tables};

/// What of a scope decides its outbound half.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OutboundKey {
    pub(crate) kind: ProxyKind,
    pub(crate) namespace: Arc<str>,
    /// Only the labels that some rule asks for.
    pub(crate) labels: Labels,
    pub(crate) capabilities: Capabilities,
}

/// Who contributes to an outbound half.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Fixed,
    /// A listener and a route configuration for all services of a port.
    Port(u16),
    /// The route configuration of a port whose protocol is detected.
    Detected(Arc<str>, u16),
    /// A service, or a host or pattern that a rule names and no service has.
    Host(Arc<str>),
}

/// The outbound half of a class.
#[derive(Debug)]
pub(crate) struct Outbound {
    key: OutboundKey,
    world: World,
    layer: Layer<Part>,
    claims: Claims,
    /// What each service needs of the ports it shares with others.
    needs: BTreeMap<Arc<str>, BTreeSet<Need>>,
    ports: BTreeMap<u16, BTreeSet<Need>>,
    /// What is sent: the layer's set, with virtual hosts put into their configurations where the client wants that.
    pub(crate) set: ResourceSet,
}

/// What a service needs of a port's wildcard listener.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Http { port: u16, host: Arc<str> },
    Plain { port: u16, plain: Plain },
}

impl Need {
    fn port(&self) -> u16 {
        match self {
            Need::Http { port, .. } | Need::Plain { port, .. } => *port,
        }
    }
}

impl Outbound {
    pub(crate) fn new(key: OutboundKey) -> Outbound {
        Outbound {
            key,
            world: World::default(),
            layer: Layer::default(),
            claims: Claims::default(),
            needs: BTreeMap::new(),
            ports: BTreeMap::new(),
            set: ResourceSet::default(),
        }
    }

    /// Brings the half to `world`: what the difference of the worlds may have changed is looked at again.
    pub(crate) fn update(&mut self, world: &World, tables: &mut Tables) {
        let first = self.layer.is_empty();
        let old = std::mem::replace(&mut self.world, world.clone());
        let mesh_changed = first || !Arc::ptr_eq(old.mesh(), world.mesh());
        let mut dirty = if mesh_changed { self.everything(&old) } else { self.difference(&old) };
        if mesh_changed {
            self.fixed(tables);
        }
        self.reclaim(&mut dirty);
        let mut ports: BTreeSet<u16> =
            if mesh_changed { self.ports.keys().copied().collect() } else { BTreeSet::new() };
        for host in &dirty {
            self.host(host, &mut ports, tables);
        }
        for port in ports {
            self.port(port, tables);
        }
        publish(&mut self.layer, &mut self.set, self.key.capabilities.vhds, tables);
    }

    /// Every host of both worlds, and every host that a rule names.
    fn everything(&self, old: &World) -> BTreeSet<Arc<str>> {
        let services = [old, &self.world].into_iter().flat_map(|world| world.services().keys());
        let mut hosts: BTreeSet<Arc<str>> = services.map(|key| key.host.clone()).collect();
        for world in [old, &self.world] {
            hosts.extend(world.hosts().hosts(&self.key.namespace).map(|(host, _)| host.clone()));
        }
        hosts
    }

    /// The hosts whose resources the step from `old` to the present world may have changed.
    fn difference(&self, old: &World) -> BTreeSet<Arc<str>> {
        let mut dirty = BTreeSet::new();
        let changed: BTreeSet<&ServiceKey> =
            old.services().diff(self.world.services()).map(|item| key_of(&item)).collect();
        for key in &changed {
            self.add_service(&key.host, &mut dirty);
        }
        if !changed.is_empty() && self.key.kind == ProxyKind::Sidecar {
            self.add_referrers(&changed.iter().map(|key| &key.host).collect(), &mut dirty);
        }
        dirty.extend(old.endpoints().diff(self.world.endpoints()).map(|item| key_of(&item).host.clone()));
        for item in old.merged_rules().diff(self.world.merged_rules()) {
            self.add_covered(&key_of(&item).1, &mut dirty);
        }
        if self.key.kind == ProxyKind::Sidecar {
            for item in old.virtual_services().diff(self.world.virtual_services()) {
                for rule in values_of(&item).filter(|rule| rule.is_for_mesh()) {
                    rule.hosts.iter().for_each(|host| self.add_covered(host, &mut dirty));
                }
            }
        }
        dirty
    }

    /// A changed service: itself, the patterns that cover it, and the service whose short name its host may be.
    fn add_service(&self, host: &Arc<str>, dirty: &mut BTreeSet<Arc<str>>) {
        dirty.insert(host.clone());
        dirty.extend(covering_patterns(host).skip(1).filter(|pattern| pattern != "*").map(Arc::from));
        dirty.extend(self.full_host(host));
    }

    /// The Kubernetes host of which `host` may be a short name for these clients.
    fn full_host(&self, host: &str) -> Option<Arc<str>> {
        let domain = &self.world.mesh().domain;
        let mut parts = host.split('.');
        let (name, namespace) = (parts.next()?, parts.next().unwrap_or(&self.key.namespace));
        let rest: Vec<&str> = parts.collect();
        matches!(rest.as_slice(), [] | ["svc"]).then(|| format!("{name}.{namespace}.svc.{domain}").into())
    }

    /// The hosts whose rules send to a changed service: the port that is meant may be another one now.
    fn add_referrers(&self, changed: &BTreeSet<&Arc<str>>, dirty: &mut BTreeSet<Arc<str>>) {
        for rule in self.world.virtual_services().values().filter(|rule| rule.is_for_mesh()) {
            if rule.destinations().any(|to| to.port.is_none() && changed.contains(&to.host)) {
                rule.hosts.iter().for_each(|host| self.add_covered(host, dirty));
            }
        }
    }

    /// A host that a rule names: itself, the service whose short name it may be, the services it covers if it is a pattern.
    fn add_covered(&self, host: &Arc<str>, dirty: &mut BTreeSet<Arc<str>>) {
        dirty.insert(host.clone());
        dirty.extend(self.full_host(host));
        if is_wildcard(host) {
            let keys = self.world.services().keys();
            dirty.extend(keys.filter(|key| host_covers(host, &key.host)).map(|key| key.host.clone()));
        }
    }

    /// Settles who has which address, and adds those whose share changes.
    fn reclaim(&mut self, dirty: &mut BTreeSet<Arc<str>>) {
        let mut affected = BTreeSet::new();
        for host in dirty.iter() {
            let service = self.world.service_for(&self.key.namespace, host);
            let claims = service.map(|service| claims(service, self.endpoints_of(service))).unwrap_or_default();
            self.claims.replace(host, claims, &mut affected);
        }
        dirty.append(&mut affected);
    }

    fn endpoints_of(&self, service: &Service) -> Option<&Arc<Endpoints>> {
        self.world.endpoints().get(&service.key)
    }

    /// What a class has whatever services there are.
    fn fixed(&mut self, tables: &mut Tables) {
        let mesh = || Shared::from(self.world.mesh());
        let sidecar = self.key.kind == ProxyKind::Sidecar;
        let mut parts = vec![MeshClustersView { mesh: mesh(), inbound: sidecar }.compiled(tables)];
        if sidecar {
            parts.push(VirtualOutboundView { mesh: mesh() }.compiled(tables));
        }
        self.layer.replace(Part::Fixed, parts, &mut tables.stats);
    }

    /// A host: the service of that name, or what a rule says about it.
    fn host(&mut self, host: &Arc<str>, ports: &mut BTreeSet<u16>, tables: &mut Tables) {
        let service = self.world.service_for(&self.key.namespace, host).cloned();
        let mut parts = service.as_ref().map(|service| self.service_parts(service, tables)).unwrap_or_default();
        let mut own_needs = service.as_ref().map(|service| needs(service)).unwrap_or_default();
        let sidecar = self.key.kind == ProxyKind::Sidecar;
        if let Some(view) = self.pattern(host).filter(|_| sidecar) {
            parts.push(view.compiled(tables));
            own_needs.insert(Need::Http { port: PATTERN_PORT, host: host.clone() });
        }
        self.layer.replace(Part::Host(host.clone()), parts, &mut tables.stats);
        if sidecar {
            self.put_needs(host, own_needs, ports);
            let all = service.iter().flat_map(|service| &service.ports);
            let detected = all.filter(|port| port.protocol == Protocol::Auto).map(|port| port.number).collect();
            self.put_detected(host, &detected, tables);
        }
    }

    fn service_parts(&self, service: &Arc<Service>, tables: &mut Tables) -> Vec<Built> {
        let OutboundKey { kind, capabilities, .. } = self.key;
        let mesh = || Shared::from(self.world.mesh());
        let rule = || self.world.rule_for(&self.key.namespace, service).map(Shared::from);
        let endpoints = self.endpoints_of(service).map(Shared::from);
        let only = |wanted: bool| endpoints.clone().filter(|_| wanted);
        let headless = service.is_headless();
        let clusters = ClusterView {
            mesh: mesh(),
            service: service.into(),
            rule: rule(),
            peers: endpoints.as_ref().map(|endpoints| Shared::from(&endpoints.peers)),
            endpoints: only(service.resolution == Resolution::Dns),
            kind,
            capabilities,
        };
        let load = EndpointsView { mesh: mesh(), service: service.into(), rule: rule(), endpoints: only(true), kind };
        let names = NamesView { service: service.into(), endpoints: only(headless) };
        let mut parts = vec![clusters.compiled(tables), load.compiled(tables), names.compiled(tables)];
        if kind == ProxyKind::Router {
            return parts;
        }
        let (addresses, lost) = self.claims.shares(service.host());
        let hosts = self.hosts_view(service, lost, only(headless));
        parts.push(hosts.compiled(tables));
        let listeners =
            ServiceListenerView { mesh: mesh(), service: service.into(), addresses, alpn: capabilities.alpn };
        parts.push(listeners.compiled(tables));
        parts
    }

    fn hosts_view(
        &self,
        service: &Arc<Service>,
        lost: Vec<(IpAddr, u16)>,
        endpoints: Option<Shared<Endpoints>>,
    ) -> ServiceHostView {
        let namespace = &self.key.namespace;
        let rule = self.world.hosts().find(namespace, service.host());
        let mut short_names = short_names(service, namespace);
        short_names.retain(|name| self.world.service_for(namespace, name).is_none() && self.pattern(name).is_none());
        ServiceHostView {
            mesh: self.world.mesh().into(),
            service: service.into(),
            destinations: Destinations::of(rule.map(|rule| &**rule), &self.world, namespace),
            source: rule.and_then(|rule| self.source(rule)),
            rule: rule.map(Shared::from),
            endpoints,
            short_names,
            lost,
        }
    }

    fn source(&self, rule: &VirtualService) -> Option<Source> {
        let OutboundKey { namespace, labels, .. } = &self.key;
        rule.reads_source().then(|| Source { namespace: namespace.clone(), labels: labels.clone() })
    }

    /// The virtual host of a host or pattern that a rule names, unless it is a service's or covers one.
    fn pattern(&self, host: &Arc<str>) -> Option<PatternHostView> {
        let namespace = &self.key.namespace;
        let rule = self.world.hosts().first(namespace, host)?;
        if self.is_known(host) || (rule.http.is_empty() && !rule.refused) {
            return None;
        }
        Some(PatternHostView {
            mesh: self.world.mesh().into(),
            host: host.clone(),
            destinations: Destinations::of([&**rule], &self.world, namespace),
            source: self.source(rule),
            rule: rule.into(),
        })
    }

    /// True if these clients see a service of that host, or one that the pattern covers.
    fn is_known(&self, host: &Arc<str>) -> bool {
        let namespace = &self.key.namespace;
        if !is_wildcard(host) {
            return self.world.service_for(namespace, host).is_some();
        }
        let mut services = self.world.services().values();
        services.any(|service| host_covers(host, service.host()) && service.visibility.includes(namespace))
    }

    fn put_needs(&mut self, host: &Arc<str>, needs: BTreeSet<Need>, ports: &mut BTreeSet<u16>) {
        let old = self.needs.remove(host).unwrap_or_default();
        for need in old.symmetric_difference(&needs) {
            let of_port = self.ports.entry(need.port()).or_default();
            if needs.contains(need) {
                of_port.insert(need.clone());
            } else {
                of_port.remove(need);
            }
            ports.insert(need.port());
        }
        if !needs.is_empty() {
            self.needs.insert(host.clone(), needs);
        }
    }

    fn put_detected(&mut self, host: &Arc<str>, detected: &BTreeSet<u16>, tables: &mut Tables) {
        let first = Part::Detected(host.clone(), 0);
        let known: Vec<u16> = (self.layer.keys_from(&first))
            .map_while(|part| match part {
                Part::Detected(other, port) if other == host => Some(*port),
                _ => None,
            })
            .collect();
        for port in detected.iter().copied().chain(known) {
            let parts = detected
                .contains(&port)
                .then(|| self.routes(format!("{host}:{port}").into(), Fallback::None).compiled(tables));
            let part = Part::Detected(host.clone(), port);
            self.layer.replace(part, parts.into_iter().collect(), &mut tables.stats);
        }
    }

    /// The wildcard listener and the route configuration of a port.
    fn port(&mut self, port: u16, tables: &mut Tables) {
        let needs = self.ports.get(&port).cloned().unwrap_or_default();
        if needs.is_empty() {
            self.ports.remove(&port);
            return self.layer.replace(Part::Port(port), Vec::new(), &mut tables.stats);
        }
        let http = needs.iter().any(|need| matches!(need, Need::Http { .. }));
        let plain = needs.into_iter().filter_map(|need| match need {
            Need::Plain { plain, .. } => Some(plain),
            Need::Http { .. } => None,
        });
        let listener = WildcardView {
            mesh: self.world.mesh().into(),
            port,
            http,
            plain: plain.collect(),
            alpn: self.key.capabilities.alpn,
        };
        let mut parts = vec![listener.compiled(tables)];
        if http {
            parts.push(self.routes(port.to_string().into(), Fallback::Policy).compiled(tables));
        }
        self.layer.replace(Part::Port(port), parts, &mut tables.stats);
    }

    fn routes(&self, name: Arc<str>, fallback: Fallback) -> RoutesView {
        RoutesView { mesh: self.world.mesh().into(), name, fallback, vhds: self.key.capabilities.vhds }
    }
}

fn key_of<'a, K, V>(item: &DiffItem<'a, 'a, K, V>) -> &'a K {
    match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key,
    }
}

fn values_of<'a, K, V>(item: &DiffItem<'a, 'a, K, V>) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
    let (old, new) = match *item {
        DiffItem::Add(_, value) => (None, Some(value)),
        DiffItem::Remove(_, value) => (Some(value), None),
        DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
    };
    old.into_iter().chain(new)
}

/// The addresses at which a service is reached: its own, or those of a headless service's endpoints.
fn claims(service: &Service, endpoints: Option<&Arc<Endpoints>>) -> BTreeSet<(IpAddr, u16)> {
    let of_endpoints =
        endpoints.filter(|_| service.is_headless()).into_iter().flat_map(|endpoints| endpoints.addresses());
    let addresses: Vec<IpAddr> = service.vips.iter().copied().chain(of_endpoints).collect();
    let ports = service.ports.iter().filter(|port| port.protocol != Protocol::Udp);
    ports.flat_map(|port| addresses.iter().map(move |&ip| (ip, port.number))).collect()
}

/// What a service needs of the listeners that it shares with others.
fn needs(service: &Service) -> BTreeSet<Need> {
    let addressless = service.vips.is_empty() && !service.is_headless();
    let needs = service.ports.iter().filter_map(|port| {
        let (port, protocol) = (port.number, port.protocol);
        if protocol.is_http() {
            return Some(Need::Http { port, host: service.host().clone() });
        }
        let plain = protocol != Protocol::Udp && (addressless || !service.blocks.is_empty());
        plain.then(|| Need::Plain {
            port,
            plain: Plain {
                host: service.host().clone(),
                tls: protocol == Protocol::Tls,
                blocks: service.blocks.clone(),
            },
        })
    });
    needs.collect()
}
