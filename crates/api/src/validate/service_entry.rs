//! `ServiceEntry`: mostly which fields go with which resolution.

use std::net::IpAddr;

use super::{address, duplicate, hosts, is_dns_label, labels, port};
use crate::{
    istio::{Resolution, ServiceEntry, WorkloadEntry},
    node::nearest,
    problem::At,
};

/// Protocols of a service's port.
const PROTOCOLS: &[&str] = &["HTTP", "HTTPS", "GRPC", "HTTP2", "MONGO", "TCP", "TLS"];
/// Protocols in which every request names its host.
const NAMES_ITS_HOST: &[&str] = &["HTTP", "HTTPS", "HTTP2", "GRPC", "TLS"];
/// Most hosts, and most addresses, of one entry.
const HOSTS_MAX: usize = 256;
/// Most endpoints of one entry.
const ENDPOINTS_MAX: usize = 4_096;

pub(super) fn check(at: &At<'_>, entry: &ServiceEntry) {
    check_hosts(&at.field("hosts"), entry);
    check_addresses(&at.field("addresses"), entry);
    check_ports(&at.field("ports"), entry);
    check_endpoints(at, entry);
    hosts::export_to(&at.field("exportTo"), &entry.export_to, true);
    if let Some(selector) = &entry.workload_selector {
        labels(&at.field("workloadSelector").field("labels"), &selector.labels);
    }
}

fn protocol_of(port: &crate::istio::Port) -> String {
    if port.protocol.is_empty() { "TCP".to_owned() } else { port.protocol.to_ascii_uppercase() }
}

fn check_hosts(at: &At<'_>, entry: &ServiceEntry) {
    if entry.hosts.is_empty() {
        at.error("at least one host is required", "[api.example.com]");
    }
    if entry.hosts.len() > HOSTS_MAX {
        at.error(format!("at most {HOSTS_MAX} hosts"), "");
    }
    if let Some((index, host)) = duplicate(&entry.hosts) {
        at.index(index).error(format!("the host {host:?} stands here twice"), "");
    }
    for (index, host) in entry.hosts.iter().enumerate() {
        let at = at.index(index);
        let wildcard = host.starts_with('*');
        if host == "*" {
            at.error("`*` would be every host", "\"*.example.com\"");
        } else if !hosts::is_wildcard_dns_name(host) {
            at.error(format!("expected a DNS name, found {host:?}"), "api.example.com");
        } else if wildcard && entry.resolution == Resolution::Dns && entry.endpoints.is_empty() {
            at.error("a wildcard cannot be resolved by DNS: name endpoints, or use resolution NONE", "api.example.com");
        } else if wildcard && entry.resolution == Resolution::DnsRoundRobin {
            at.error("a wildcard cannot be resolved by DNS", "api.example.com");
        } else if !wildcard && entry.resolution == Resolution::DynamicDns {
            at.error("DYNAMIC_DNS is for wildcard hosts", "\"*.example.com\"");
        } else if !host.contains('.') && entry.endpoints.is_empty() && entry.resolution == Resolution::Dns {
            at.error("DNS without endpoints needs a fully qualified name", "api.example.com");
        }
    }
    let by_name = entry.ports.iter().all(|port| NAMES_ITS_HOST.contains(&protocol_of(port).as_str()));
    if entry.hosts.len() > 1 && !by_name && entry.resolution != Resolution::None {
        at.error(
            "several hosts on a port that is neither HTTP nor TLS cannot be told apart: one host, or resolution NONE",
            "",
        );
    }
}

fn check_addresses(at: &At<'_>, entry: &ServiceEntry) {
    if entry.addresses.len() > HOSTS_MAX {
        at.error(format!("at most {HOSTS_MAX} addresses"), "");
    }
    for (index, text) in entry.addresses.iter().enumerate() {
        let at = at.index(index);
        address(&at, text, true);
        if text.contains('/') && !matches!(entry.resolution, Resolution::None | Resolution::Static) {
            at.error("a CIDR goes with resolution NONE and STATIC only", "10.1.2.3");
        }
    }
    if entry.resolution == Resolution::DynamicDns && !entry.addresses.is_empty() {
        at.error("DYNAMIC_DNS has no addresses", "");
    }
}

fn check_ports(at: &At<'_>, entry: &ServiceEntry) {
    if entry.ports.is_empty() {
        at.error("at least one port is required", "[{number: 443, name: tls, protocol: TLS}]");
    }
    for (index, service_port) in entry.ports.iter().enumerate() {
        let at = at.index(index);
        port(&at.field("number"), service_port.number);
        if service_port.name.is_empty() {
            at.field("name").error("a port needs a name", "http");
        }
        if let Some(number) = service_port.target_port {
            port(&at.field("targetPort"), number);
        }
        let protocol = protocol_of(service_port);
        if !PROTOCOLS.contains(&protocol.as_str()) {
            let hint = nearest(&protocol, PROTOCOLS).unwrap_or("HTTP");
            at.field("protocol")
                .error(format!("expected one of {}, found {:?}", PROTOCOLS.join(", "), service_port.protocol), hint);
        } else if entry.resolution == Resolution::DynamicDns
            && !matches!(protocol.as_str(), "HTTP" | "HTTP2" | "GRPC" | "TLS")
        {
            at.field("protocol").error("DYNAMIC_DNS goes with HTTP, HTTP2, GRPC and TLS only", "TLS");
        }
    }
    if let Some((index, number)) = duplicate(entry.ports.iter().map(|port| port.number)) {
        at.index(index).field("number").error(format!("the port {number} stands here twice"), "");
    }
    if let Some((index, name)) = duplicate(entry.ports.iter().map(|port| &port.name).filter(|name| !name.is_empty())) {
        at.index(index).field("name").error(format!("the port name {name:?} stands here twice"), "");
    }
}

fn check_endpoints(at: &At<'_>, entry: &ServiceEntry) {
    let field = at.field("endpoints");
    super::at_most_one(
        at,
        &[("endpoints", !entry.endpoints.is_empty()), ("workloadSelector", entry.workload_selector.is_some())],
    );
    let count = entry.endpoints.len();
    match entry.resolution {
        Resolution::None if count > 0 => {
            field.error("resolution NONE has no endpoints: it goes where the client wanted", "resolution: STATIC");
        }
        Resolution::DynamicDns if count > 0 => field.error("DYNAMIC_DNS has no endpoints", "resolution: DNS"),
        Resolution::DnsRoundRobin if count > 1 => {
            field.error("DNS_ROUND_ROBIN has at most one endpoint", "resolution: DNS");
        }
        Resolution::Static if count == 0 && entry.workload_selector.is_none() => {
            field.error("STATIC needs endpoints, or a `workloadSelector`", "[{address: 10.1.2.3}]");
        }
        _ if count > ENDPOINTS_MAX => field.error(format!("at most {ENDPOINTS_MAX} endpoints"), ""),
        _ => {}
    }
    let names: Vec<&str> = entry.ports.iter().map(|port| port.name.as_str()).collect();
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        workload(&field.index(index), endpoint, entry.resolution, &names);
    }
}

fn workload(at: &At<'_>, endpoint: &WorkloadEntry, resolution: Resolution, port_names: &[&str]) {
    let field = at.field("address");
    let address = endpoint.address.as_str();
    if address.is_empty() {
        if endpoint.network.as_deref().unwrap_or_default().is_empty() {
            field.error("an address (or a network) is required", "10.1.2.3");
        }
    } else if let Some(path) = address.strip_prefix("unix://") {
        if !path.starts_with('/') && !path.starts_with('@') {
            field.error("expected an absolute path", "unix:///run/api.sock");
        }
        if !endpoint.ports.is_empty() {
            at.field("ports").error("a Unix socket has no ports", "");
        }
    } else if address.parse::<IpAddr>().is_err() {
        if resolution == Resolution::Static {
            field.error(format!("STATIC needs an IP address, found {address:?}"), "10.1.2.3");
        } else if !hosts::is_dns_name(address) {
            field.error(format!("expected an IP address or a DNS name, found {address:?}"), "api.example.com");
        }
    }
    for (name, number) in &endpoint.ports {
        let at = at.field("ports");
        let at = at.field(name);
        port(&at, *number);
        if !port_names.contains(&name.as_str()) {
            at.error(format!("no port of the ServiceEntry is called {name:?}"), port_names.join(", "));
        }
    }
    labels(&at.field("labels"), &endpoint.labels);
    if endpoint
        .service_account
        .as_deref()
        .is_some_and(|account| !account.is_empty() && !account.split('.').all(is_dns_label))
    {
        at.field("serviceAccount").error("expected the name of a ServiceAccount", "reviews");
    }
}
