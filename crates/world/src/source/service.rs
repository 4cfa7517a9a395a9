//! `Service` and `ServiceEntry` → services. Addresses that an object does not bring are given later, all at once.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use mizzen_api::istio::{Location, Resolution as Written, ServiceEntry};
use mizzen_api::{Object, Spec, k8s};

use super::{age, labels};
use crate::mesh::MeshSettings;
use crate::service::{PortSpec, Protocol, Registry, Resolution, Service, ServiceKey, TargetPort};
use crate::visibility::Visibility;

const EXPORT_TO: &str = "networking.istio.io/exportTo";
const AUTO_ALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";

/// The services that `object` declares; none if it is of another kind.
pub(crate) fn declared_services(object: &Object, mesh: &MeshSettings) -> Vec<Service> {
    match &object.spec {
        Spec::Service(source) => vec![kubernetes(object, source, mesh)],
        Spec::ServiceEntry(source) => {
            source.hosts.iter().map(|host| entry(object, source, host.as_str(), mesh)).collect()
        }
        _ => Vec::new(),
    }
}

/// True if the mesh gives the service an address.
pub(crate) fn wants_address(service: &Service, object: &Object) -> bool {
    let needs = matches!(service.resolution, Resolution::Balanced | Resolution::Dns);
    let opted_out = object.meta.labels.get(AUTO_ALLOCATE).is_some_and(|value| value == "false");
    needs
        && service.vips.is_empty()
        && service.blocks.is_empty()
        && (service.is_kubernetes() || !(opted_out || service.host().starts_with('*')))
}

fn kubernetes(object: &Object, source: &k8s::ServiceSpec, mesh: &MeshSettings) -> Service {
    let listed = source.cluster_ips.iter().flatten().map(String::as_str);
    let written: Vec<&str> = source.cluster_ip.as_deref().into_iter().chain(listed).collect();
    let external = source.type_.as_deref() == Some("ExternalName");
    let resolution = if external {
        Resolution::Dns
    } else if written.contains(&"None") {
        Resolution::Headless
    } else {
        Resolution::Balanced
    };
    let mut vips: Vec<IpAddr> = written.iter().filter_map(|ip| ip.parse().ok()).collect();
    vips.sort_unstable();
    vips.dedup();
    let exported = object.meta.annotations.get(EXPORT_TO);
    Service {
        key: ServiceKey {
            host: format!("{}.{}.svc.{}", object.id.name, object.id.namespace, mesh.domain).into(),
            namespace: object.id.namespace.clone(),
            object: object.id.to_string().into(),
        },
        age: age(object),
        registry: Registry::Kubernetes,
        resolution,
        vips,
        blocks: Vec::new(),
        ports: source.ports.iter().flatten().filter_map(kubernetes_port).collect(),
        selector: source.selector.as_ref().map(labels).filter(|selector| !selector.is_empty() && !external),
        visibility: Visibility::from_entries(
            exported.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|entry| !entry.is_empty()),
            &object.id.namespace,
            &mesh.service_visibility,
        ),
        publish_not_ready: source.publish_not_ready_addresses.unwrap_or(false),
        subject_alt_names: Vec::new(),
        refused: object.refuses_traffic,
    }
}

fn kubernetes_port(port: &k8s::ServicePort) -> Option<PortSpec> {
    let number = u16::try_from(port.port).ok()?;
    let name = port.name.as_deref().unwrap_or_default();
    let transport = port.protocol.as_deref().unwrap_or("TCP");
    Some(PortSpec {
        number,
        name: name.into(),
        protocol: Protocol::of_service_port(transport, port.app_protocol.as_deref(), name, number),
        target: match &port.target_port {
            None => TargetPort::Number(number),
            Some(k8s::IntOrString::Int(target)) => TargetPort::Number(u16::try_from(*target).ok()?),
            Some(k8s::IntOrString::String(name)) => match name.parse() {
                Ok(target) => TargetPort::Number(target),
                Err(_) => TargetPort::Name(name.as_str().into()),
            },
        },
    })
}

fn entry(object: &Object, source: &ServiceEntry, host: &str, mesh: &MeshSettings) -> Service {
    let mut vips: Vec<IpAddr> = Vec::new();
    let mut blocks: Vec<IpNet> = Vec::new();
    for address in &source.addresses {
        match (address.parse::<IpAddr>(), address.parse::<IpNet>()) {
            (Ok(ip), _) => vips.push(ip),
            (_, Ok(net)) if net.prefix_len() == net.max_prefix_len() => vips.push(net.addr()),
            (_, Ok(net)) => blocks.push(net.trunc()),
            _ => {}
        }
    }
    let ports = source.ports.iter().map(|port| PortSpec {
        number: port.number,
        name: port.name.as_str().into(),
        protocol: Protocol::named(&port.protocol).unwrap_or(Protocol::Tcp),
        target: TargetPort::Number(port.target_port.unwrap_or(port.number)),
    });
    Service {
        key: ServiceKey {
            host: host.to_ascii_lowercase().into(),
            namespace: object.id.namespace.clone(),
            object: object.id.to_string().into(),
        },
        age: age(object),
        registry: Registry::Entry { external: source.location == Location::MeshExternal },
        resolution: match source.resolution {
            Written::None | Written::DynamicDns => Resolution::None,
            Written::Static => Resolution::Balanced,
            Written::Dns | Written::DnsRoundRobin => Resolution::Dns,
        },
        vips,
        blocks,
        ports: ports.collect(),
        selector: source.workload_selector.as_ref().map(|selector| labels(&selector.labels)),
        visibility: Visibility::from_entries(
            source.export_to.iter().map(String::as_str),
            &object.id.namespace,
            &mesh.service_visibility,
        ),
        publish_not_ready: false,
        subject_alt_names: source.subject_alt_names.iter().map(|name| Arc::from(name.as_str())).collect(),
        refused: object.refuses_traffic,
    }
}
