//! `VirtualService`: hosts, gateways, and the TLS and TCP rules; HTTP rules are in `http_route`.

use super::{address, duplicate, hosts, http_route, is_dns_label, labels, port};
use crate::{
    istio::{Destination, L4Match, RouteDestination, TlsMatch, TlsRoute, VirtualService},
    object::Labels,
    problem::At,
};

/// The gateway name that stands for all sidecars.
const MESH: &str = "mesh";

pub(super) fn check(at: &At<'_>, service: &VirtualService) {
    check_hosts(at, service);
    let gateways = at.field("gateways");
    for (index, gateway) in service.gateways.iter().enumerate() {
        hosts::gateway_reference(&gateways.index(index), gateway);
    }
    hosts::export_to(&at.field("exportTo"), &service.export_to, false);
    if service.http.is_empty() && service.tls.is_empty() && service.tcp.is_empty() {
        at.error("expected a rule in `http`, `tls` or `tcp`", "http: [{route: [{destination: {host: reviews}}]}]");
    }
    http_route::check_all(&at.field("http"), &service.http);
    for (index, route) in service.tls.iter().enumerate() {
        tls_route(&at.field("tls").index(index), route, &service.hosts);
    }
    for (index, route) in service.tcp.iter().enumerate() {
        let at = at.field("tcp");
        let at = at.index(index);
        for (index, conditions) in route.matches.iter().enumerate() {
            l4_match(&at.field("match").index(index), conditions);
        }
        destinations(&at.field("route"), &route.route);
    }
}

/// Hosts are required, but for a delegate, which takes those of its root and has HTTP rules only.
fn check_hosts(at: &At<'_>, service: &VirtualService) {
    let field = at.field("hosts");
    if service.hosts.is_empty() {
        let delegate = service.gateways.is_empty() && service.tls.is_empty() && service.tcp.is_empty();
        if delegate && !service.http.is_empty() {
            field.warn("without hosts, this has an effect only as the delegate of another VirtualService", "");
        } else {
            field.error("at least one host is required", "[reviews]");
        }
    }
    let in_mesh = service.gateways.is_empty() || service.gateways.iter().any(|gateway| gateway == MESH);
    for (index, host) in service.hosts.iter().enumerate() {
        let at = field.index(index);
        if host == "*" && in_mesh {
            at.error(
                "`*` is for gateways: in the mesh it would take the traffic of every service",
                "\"*.example.com\"",
            );
        } else {
            hosts::host(&at, host);
        }
    }
    if let Some((index, host)) = duplicate(&service.hosts) {
        field.index(index).error(format!("the host {host:?} stands here twice"), "");
    }
}

fn tls_route(at: &At<'_>, route: &TlsRoute, own_hosts: &[String]) {
    if route.matches.is_empty() {
        at.field("match")
            .error("a TLS rule needs a match with `sniHosts`", "[{port: 443, sniHosts: [login.example.com]}]");
    }
    for (index, conditions) in route.matches.iter().enumerate() {
        tls_match(&at.field("match").index(index), conditions, own_hosts);
    }
    destinations(&at.field("route"), &route.route);
}

fn tls_match(at: &At<'_>, conditions: &TlsMatch, own_hosts: &[String]) {
    let names = at.field("sniHosts");
    if conditions.sni_hosts.is_empty() {
        names.error("at least one name is required", "[login.example.com]");
    }
    for (index, name) in conditions.sni_hosts.iter().enumerate() {
        hosts::host(&names.index(index), name);
        if !own_hosts.iter().any(|host| covers(host, name)) {
            names
                .index(index)
                .error(format!("{name:?} is not among the hosts of this VirtualService"), own_hosts.join(", "));
        }
    }
    subnets(&at.field("destinationSubnets"), &conditions.destination_subnets);
    source(at, conditions.port, &conditions.source_labels, conditions.source_namespace.as_deref());
    gateway_names(&at.field("gateways"), &conditions.gateways);
}

/// Whether `host` (with a wildcard in front) is `name` or wider.
fn covers(host: &str, name: &str) -> bool {
    host.eq_ignore_ascii_case(name)
        || host.strip_prefix('*').is_some_and(|suffix| name.to_lowercase().ends_with(&suffix.to_lowercase()))
}

fn l4_match(at: &At<'_>, conditions: &L4Match) {
    subnets(&at.field("destinationSubnets"), &conditions.destination_subnets);
    if let Some(subnet) = &conditions.source_subnet {
        address(&at.field("sourceSubnet"), subnet, true);
    }
    source(at, conditions.port, &conditions.source_labels, conditions.source_namespace.as_deref());
    gateway_names(&at.field("gateways"), &conditions.gateways);
}

fn subnets(at: &At<'_>, subnets: &[String]) {
    for (index, subnet) in subnets.iter().enumerate() {
        address(&at.index(index), subnet, true);
    }
}

pub(super) fn gateway_names(at: &At<'_>, gateways: &[String]) {
    for (index, gateway) in gateways.iter().enumerate() {
        hosts::gateway_reference(&at.index(index), gateway);
    }
}

/// The conditions on the client that all kinds of rules share.
pub(super) fn source(at: &At<'_>, listener: Option<u16>, source_labels: &Labels, namespace: Option<&str>) {
    if let Some(number) = listener {
        port(&at.field("port"), number);
    }
    labels(&at.field("sourceLabels"), source_labels);
    if let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) {
        super::namespace(&at.field("sourceNamespace"), namespace);
    }
}

pub(super) fn destination(at: &At<'_>, destination: &Destination) {
    hosts::destination(&at.field("host"), &destination.host);
    if let Some(subset) = &destination.subset {
        subset_name(&at.field("subset"), subset);
    }
    if let Some(selector) = &destination.port {
        port(&at.field("port").field("number"), selector.number);
    }
}

/// The name of a subset is a part of cluster names and SNI.
pub(super) fn subset_name(at: &At<'_>, name: &str) {
    if !is_dns_label(name) {
        at.error(format!("expected lower-case letters, digits and `-`, found {name:?}"), "v1");
    }
}

/// Weights of several destinations: somebody must get the traffic.
pub(super) fn weights(at: &At<'_>, weights: impl Iterator<Item = Option<u32>>) {
    let weights: Vec<u64> = weights.map(|weight| u64::from(weight.unwrap_or(0))).collect();
    let total: u64 = weights.iter().sum();
    if weights.len() > 1 && total == 0 {
        at.error(
            "the weights of several destinations sum to 0: none of them would get traffic",
            "weight: 50 on each of two",
        );
    }
    if total > u64::from(u32::MAX) {
        at.error(format!("the weights sum to {total}, more than {}", u32::MAX), "weight: 50 on each of two");
    }
}

fn destinations(at: &At<'_>, route: &[RouteDestination]) {
    if route.is_empty() {
        at.error("at least one destination is required", "[{destination: {host: mongo}}]");
    }
    for (index, target) in route.iter().enumerate() {
        destination(&at.index(index).field("destination"), &target.destination);
    }
    weights(at, route.iter().map(|target| target.weight));
}
