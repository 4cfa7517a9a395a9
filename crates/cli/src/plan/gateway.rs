//! Gateways: built-in workloads for those that nobody serves, and the ports that appear on this machine.
//!
//! A Gateway's selector is matched against the labels of every router, in all namespaces, as Istio does by default. What
//! matches none gets a built-in workload in the root namespace, named after the selector: `istio: ingressgateway` is
//! served by `istio-ingressgateway`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use mizzen_api::{Object, Severity, Spec, istio};

use super::{GRACE, Name, Objects, Plan, ProxySettings, Role, Template, Trouble, Workload, revision};
use crate::args::Publish;

/// Added to a privileged port, which an ordinary user cannot bind.
const UNPRIVILEGED: u16 = 8000;

/// A gateway's port on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) host: SocketAddr,
    pub(crate) gateway: Name,
    /// As the Gateway says.
    pub(crate) port: u16,
    /// The object that asked for it.
    pub(crate) object: Arc<Object>,
}

fn gateways(objects: &Objects) -> impl Iterator<Item = (&Arc<Object>, &istio::Gateway)> {
    objects.values().filter_map(|object| match &object.spec {
        Spec::Gateway(gateway) => Some((object, &**gateway)),
        _ => None,
    })
}

/// The ports of those servers that are not refused.
fn open_ports(object: &Object, gateway: &istio::Gateway) -> BTreeSet<u16> {
    let servers = gateway.servers.iter().enumerate();
    let open = servers.filter(|(at, _)| !object.refuses_under(&format!("spec.servers[{at}]")));
    open.map(|(_, server)| server.port.number).filter(|port| *port > 0).collect()
}

fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Gives every router its ports, and every Gateway a router.
pub(super) fn add_gateways(plan: &mut Plan, objects: &Objects, defaults: (&str, &ProxySettings)) {
    // A larger selector first: what serves it may serve a smaller one too.
    let mut wanted: Vec<_> = gateways(objects).collect();
    wanted.sort_by_key(|(object, gateway)| (std::cmp::Reverse(gateway.selector.len()), object.id.clone()));
    let mut routers: BTreeMap<Name, Workload> = BTreeMap::new();
    for (name, workload) in &plan.workloads {
        if matches!(workload.template.role, Role::Router { .. }) {
            routers.insert(name.clone(), clone(workload));
        }
    }
    for (object, gateway) in wanted {
        let ports = open_ports(object, gateway);
        let taken = |labels: &BTreeMap<String, String>| selects(&gateway.selector, labels);
        if !routers.values().any(|router| taken(&router.template.labels)) {
            // Someone's own program, with or without a sidecar, may be what the selector means.
            let served =
                !gateway.selector.is_empty() && plan.workloads.values().any(|other| taken(&other.template.labels));
            if served {
                continue;
            }
            let router = built_in(&gateway.selector, defaults);
            routers.insert(router.name.clone(), router);
        }
        for router in routers.values_mut().filter(|router| taken(&router.template.labels)) {
            if let Role::Router { ports: open } = &mut router.template.role {
                open.extend(&ports);
            }
        }
    }
    for (name, mut router) in routers {
        router.revision = revision(&router.template);
        plan.workloads.insert(name, Arc::new(router));
    }
}

fn clone(workload: &Workload) -> Workload {
    Workload { name: workload.name.clone(), template: workload.template.clone(), ..*workload }
}

fn built_in(selector: &BTreeMap<String, String>, (namespace, proxy): (&str, &ProxySettings)) -> Workload {
    let words =
        selector.iter().map(|(key, value)| if key == "istio" { format!("istio-{value}") } else { value.clone() });
    let name = match words.collect::<Vec<_>>().join("-") {
        name if name.is_empty() => "istio-ingressgateway".to_owned(),
        name => name,
    };
    let mut labels = selector.clone();
    labels.entry("app".to_owned()).or_insert_with(|| name.clone());
    let template = Template {
        role: Role::Router { ports: BTreeSet::new() },
        labels,
        annotations: BTreeMap::new(),
        service_account: format!("{name}-service-account"),
        hostname: None,
        subdomain: None,
        grace: GRACE,
        proxy: proxy.clone(),
        containers: Vec::new(),
    };
    Workload { name: Name::new(namespace, &name), replicas: 1, revision: 0, template, starts_last: false }
}

/// Chooses the place of each router's ports on this machine.
pub(super) fn publish(plan: &mut Plan, objects: &Objects, asked: &[Publish]) {
    let mut asked: Vec<&Publish> = asked.iter().collect();
    let mut published: Vec<Published> = Vec::new();
    let mut notes = Vec::new();
    for (name, workload) in &plan.workloads {
        let Role::Router { ports } = &workload.template.role else { continue };
        for &port in ports {
            let Some(object) = origin(objects, workload, port) else { continue };
            let own = asked.iter().position(|publish| publish.port == port).map(|at| asked.remove(at));
            let host = host_of(port, own);
            match published.iter().find(|other| other.host == host) {
                None => published.push(Published { host, gateway: name.clone(), port, object: Arc::clone(object) }),
                Some(other) => {
                    let free = port.saturating_add(UNPRIVILEGED + 1);
                    let message =
                        format!("port {port} of {name} is not published: {host} is that of {}", other.gateway);
                    let hint = Some(format!("--publish {}:{port} --publish {free}:{port}", host.port()));
                    let trouble = Trouble { path: "spec.servers".to_owned(), message, hint };
                    notes.push(trouble.at(object, Severity::Warning));
                }
            }
        }
    }
    plan.published = published;
    plan.notes.extend(notes);
}

/// The first Gateway that asks this router for the port.
fn origin<'a>(objects: &'a Objects, router: &Workload, port: u16) -> Option<&'a Arc<Object>> {
    let mut asking = gateways(objects).filter(|(object, gateway)| {
        selects(&gateway.selector, &router.template.labels) && open_ports(object, gateway).contains(&port)
    });
    asking.next().map(|(object, _)| object)
}

fn host_of(port: u16, asked: Option<&Publish>) -> SocketAddr {
    let usual = if port < 1024 { port + UNPRIVILEGED } else { port };
    let address = asked.and_then(|publish| publish.address).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    SocketAddr::new(address, asked.and_then(|publish| publish.host_port).unwrap_or(usual))
}
