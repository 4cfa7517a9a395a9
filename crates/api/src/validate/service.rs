//! Kubernetes' `Service`.

use std::net::IpAddr;

use super::{duplicate, hosts, is_dns_label, labels, wide_port};
use crate::{
    k8s::{IntOrString, ServicePort, ServiceSpec},
    problem::At,
};

/// The types of a service.
const TYPES: &[&str] = &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
/// The cluster IP of a headless service.
const HEADLESS: &str = "None";

pub(super) fn check(at: &At<'_>, service: &ServiceSpec) {
    let type_ = service.type_.as_deref().unwrap_or("ClusterIP");
    if !TYPES.contains(&type_) {
        at.field("type").error(format!("expected one of {}, found {type_:?}", TYPES.join(", ")), "ClusterIP");
    }
    let external = type_ == "ExternalName";
    if external && !service.external_name.as_deref().is_some_and(hosts::is_dns_name) {
        at.field("externalName").error("an ExternalName service needs a DNS name", "api.example.com");
    }
    if let Some(selector) = &service.selector {
        labels(&at.field("selector"), selector);
    }
    cluster_ips(at, service);
    let ports = service.ports.as_deref().unwrap_or_default();
    let headless = service.cluster_ip.as_deref() == Some(HEADLESS);
    if ports.is_empty() && !external && !headless {
        at.field("ports").error("at least one port is required", "[{name: http, port: 80}]");
    }
    check_ports(&at.field("ports"), ports);
}

fn cluster_ips(at: &At<'_>, service: &ServiceSpec) {
    let good = |text: &str| text.is_empty() || text == HEADLESS || text.parse::<IpAddr>().is_ok();
    if service.cluster_ip.as_deref().is_some_and(|text| !good(text)) {
        at.field("clusterIP").error("expected an IP address or `None`", "None");
    }
    for (index, text) in service.cluster_ips.iter().flatten().enumerate() {
        if !good(text) {
            at.field("clusterIPs").index(index).error("expected an IP address or `None`", "None");
        }
    }
}

fn check_ports(at: &At<'_>, ports: &[ServicePort]) {
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        wide_port(&at.field("port"), port.port);
        match &port.target_port {
            Some(IntOrString::Int(number)) => wide_port(&at.field("targetPort"), *number),
            Some(IntOrString::String(name)) => port_name(&at.field("targetPort"), name),
            None => {}
        }
        match port.name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) if !is_dns_label(name) => {
                at.field("name")
                    .error(format!("expected lower-case letters, digits and `-`, found {name:?}"), "http-api");
            }
            None if ports.len() > 1 => at.field("name").error("several ports need names", "http"),
            _ => {}
        }
        protocol(&at.field("protocol"), port.protocol.as_deref());
    }
    if let Some((index, name)) = duplicate(ports.iter().filter_map(|port| port.name.as_deref())) {
        at.index(index).field("name").error(format!("the port name {name:?} stands here twice"), "");
    }
    let key = |port: &ServicePort| (port.port, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()));
    if let Some((index, (number, _))) = duplicate(ports.iter().map(key)) {
        at.index(index).field("port").error(format!("the port {number} stands here twice"), "");
    }
}

/// The transport of a port.
pub(super) fn protocol(at: &At<'_>, protocol: Option<&str>) {
    if protocol.is_some_and(|protocol| !matches!(protocol, "TCP" | "UDP" | "SCTP")) {
        at.error(
            "expected `TCP`, `UDP` or `SCTP`; HTTP and others are told by `appProtocol` or the port's name",
            "TCP",
        );
    }
}

/// The name of a container's port: at most 15 letters, digits and `-`, with a letter among them.
pub(super) fn port_name(at: &At<'_>, name: &str) {
    if name.len() > 15 || !is_dns_label(name) || !name.bytes().any(|b| b.is_ascii_lowercase()) {
        at.error(
            format!("expected a port, or a port's name of at most 15 letters, digits and `-`, found {name:?}"),
            "http",
        );
    }
}
