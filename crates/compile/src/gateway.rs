//! The gateway half of a class of clients: ports that its `Gateway`s open, and the rules bound to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_world::gateway::{Gateway, Server};
use mizzen_world::virtual_service::VirtualService;
use mizzen_world::visibility::Visibility;
use mizzen_world::{Labels, World};

use crate::layer::Layer;
use crate::listener::GatewayListenerView;
use crate::memo::Shared;
use crate::publish::publish;
use crate::resource::ResourceSet;
use crate::route::{Bound, Destinations, Fallback, GatewayHostView, RoutesView, Source};
use crate::scope::Capabilities;
use crate::tables::{Remembered, Tables};

/// What of a scope decides its gateway half.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GatewayKey {
    pub(crate) namespace: Arc<str>,
    pub(crate) labels: Labels,
    pub(crate) capabilities: Capabilities,
    /// Ports of the gateway's own service and the ports behind them: a server's port is one of the service.
    pub(crate) targets: Vec<(u16, u16)>,
}

/// Who contributes to a gateway half: a port, or a host on it.
type Part = (u16, Option<Arc<str>>);

/// The gateway half of a class.
#[derive(Debug)]
pub(crate) struct GatewayHalf {
    key: GatewayKey,
    world: World,
    layer: Layer<Part>,
    pub(crate) set: ResourceSet,
}

/// A port that some server opens.
struct Port<'a> {
    servers: Vec<(&'a Arc<Gateway>, usize, &'a Server)>,
    hosts: BTreeMap<Arc<str>, Vec<Bound>>,
}

impl GatewayHalf {
    pub(crate) fn new(key: GatewayKey) -> GatewayHalf {
        GatewayHalf { key, world: World::default(), layer: Layer::default(), set: ResourceSet::default() }
    }

    /// Brings the half to `world`. If gateways, rules or services changed, all of its hosts are looked at; compiled are
    /// those whose rules changed.
    pub(crate) fn update(&mut self, world: &World, tables: &mut Tables) {
        let old = std::mem::replace(&mut self.world, world.clone());
        let same = Arc::ptr_eq(old.mesh(), world.mesh())
            && old.gateways().ptr_eq(world.gateways())
            && old.virtual_services().ptr_eq(world.virtual_services())
            && old.services().ptr_eq(world.services());
        if same {
            return;
        }
        let mut parts = BTreeMap::new();
        for (number, port) in self.ports() {
            self.build(number, port, &mut parts, tables);
        }
        let known: Vec<Part> = self.layer.keys().filter(|part| !parts.contains_key(*part)).cloned().collect();
        for gone in known {
            self.layer.replace(gone, Vec::new(), &mut tables.stats);
        }
        for (part, built) in parts {
            self.layer.replace(part, built, &mut tables.stats);
        }
        publish(&mut self.layer, &mut self.set, self.key.capabilities.vhds, tables);
    }

    /// The plain HTTP ports of the selected gateways, the oldest gateway's servers first, with the rules bound to them.
    fn ports(&self) -> BTreeMap<u16, Port<'_>> {
        let mut ports: BTreeMap<u16, Port<'_>> = BTreeMap::new();
        for gateway in self.world.gateways_for(&self.key.labels) {
            for (index, server) in gateway.servers.iter().enumerate() {
                if server.refused || !server.protocol.is_http() {
                    continue;
                }
                let target = self.key.targets.iter().find(|(port, _)| *port == server.port);
                let number = target.map_or(server.port, |&(_, target)| target);
                let port = ports.entry(number).or_insert_with(|| Port { servers: Vec::new(), hosts: BTreeMap::new() });
                port.servers.push((gateway, index, server));
            }
        }
        let rules = self.rules();
        for port in ports.values_mut() {
            for rule in &rules {
                port.bind(rule);
            }
        }
        ports
    }

    /// The rules that this gateway sees and that name some gateway, in the order in which they count.
    fn rules(&self) -> Vec<&Arc<VirtualService>> {
        let namespace = &self.key.namespace;
        let group = |rule: &VirtualService| match &rule.visibility {
            Visibility::Public => 2,
            Visibility::Namespaces(names) => {
                u8::from(!(names.len() == 1 && names.contains(&rule.age.object.namespace)))
            }
        };
        let rules = self.world.virtual_services().values();
        let mut rules: Vec<_> = rules.filter(|rule| rule.visibility.includes(namespace)).collect();
        rules.sort_by_cached_key(|rule| (group(rule), rule.age.clone()));
        rules
    }

    fn build(
        &self,
        number: u16,
        port: Port<'_>,
        parts: &mut BTreeMap<Part, Vec<crate::memo::Built>>,
        tables: &mut Tables,
    ) {
        let Some((gateway, server, _)) = port.servers.first() else { return };
        let mesh = || Shared::from(self.world.mesh());
        let GatewayKey { namespace, labels, capabilities, .. } = &self.key;
        let listener = GatewayListenerView {
            mesh: mesh(),
            port: number,
            object: gateway.object.clone(),
            server: *server,
            alpn: capabilities.alpn,
        };
        let routes = RoutesView {
            mesh: mesh(),
            name: format!("http.{number}").into(),
            fallback: if port.hosts.is_empty() { Fallback::BlackHole(number) } else { Fallback::None },
            vhds: capabilities.vhds,
        };
        parts.insert((number, None), vec![listener.compiled(tables), routes.compiled(tables)]);
        for (host, rules) in port.hosts {
            let asks = rules.iter().any(|bound| bound.rule.reads_source());
            let view = GatewayHostView {
                mesh: mesh(),
                port: number,
                destinations: Destinations::of(rules.iter().map(|bound| &*bound.rule), &self.world, namespace),
                source: asks.then(|| Source { namespace: namespace.clone(), labels: labels.clone() }),
                host: host.clone(),
                rules,
            };
            parts.insert((number, Some(host)), vec![view.compiled(tables)]);
        }
    }
}

impl Port<'_> {
    /// Adds a rule to the hosts on which it and one of the port's servers agree.
    fn bind(&mut self, rule: &Arc<VirtualService>) {
        for (gateway, _, server) in &self.servers {
            if !rule.is_for_gateway(&gateway.key) {
                continue;
            }
            for host in server.hosts_of(rule) {
                let rules = self.hosts.entry(host.clone()).or_default();
                match rules.last_mut().filter(|bound| Arc::ptr_eq(&bound.rule.0, rule)) {
                    Some(bound) if bound.gateways.contains(&gateway.key) => {}
                    Some(bound) => bound.gateways.push(gateway.key.clone()),
                    None => rules.push(Bound { rule: rule.into(), gateways: vec![gateway.key.clone()] }),
                }
            }
        }
    }
}
