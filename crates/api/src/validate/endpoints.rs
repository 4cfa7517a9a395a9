//! Kubernetes' `EndpointSlice` and `Endpoints`.

use std::net::IpAddr;

use super::{address, hosts, service::protocol, wide_port};
use crate::{
    k8s::{EndpointSlice, Endpoints},
    problem::At,
};

pub(super) fn slice(at: &At<'_>, slice: &EndpointSlice) {
    let family = slice.address_type.as_str();
    if !matches!(family, "IPv4" | "IPv6" | "FQDN") {
        at.field("addressType").error(format!("expected IPv4, IPv6 or FQDN, found {family:?}"), "IPv4");
        return;
    }
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        let at = at.field("endpoints");
        let at = at.index(index);
        let at = at.field("addresses");
        if endpoint.addresses.is_empty() {
            at.error("at least one address is required", "[10.1.2.3]");
        }
        for (index, text) in endpoint.addresses.iter().enumerate() {
            let fits = match family {
                "IPv4" => text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()),
                "IPv6" => text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()),
                _ => hosts::is_dns_name(text),
            };
            if !fits {
                at.index(index).error(format!("expected an address of type {family}, found {text:?}"), "10.1.2.3");
            }
        }
    }
    for (index, port) in slice.ports.iter().enumerate() {
        let at = at.field("ports");
        let at = at.index(index);
        if let Some(number) = port.port {
            wide_port(&at.field("port"), number);
        }
        protocol(&at.field("protocol"), port.protocol.as_deref());
    }
}

pub(super) fn endpoints(at: &At<'_>, endpoints: &Endpoints) {
    for (index, subset) in endpoints.subsets.iter().enumerate() {
        let at = at.field("subsets");
        let at = at.index(index);
        for (field, addresses) in [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)]
        {
            for (index, endpoint) in addresses.iter().flatten().enumerate() {
                address(&at.field(field).index(index).field("ip"), &endpoint.ip, false);
            }
        }
        for (index, port) in subset.ports.iter().flatten().enumerate() {
            let at = at.field("ports");
            let at = at.index(index);
            wide_port(&at.field("port"), port.port);
            protocol(&at.field("protocol"), port.protocol.as_deref());
        }
    }
}
