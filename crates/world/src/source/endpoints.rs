//! `EndpointSlice`, `Endpoints`, `ServiceEntry` endpoints and Pods → endpoints of one service.

use std::net::IpAddr;
use std::sync::Arc;

use mizzen_api::istio::{ServiceEntry, WorkloadEntry};
use mizzen_api::{Object, k8s};

use super::{labels, text};
use crate::endpoint::{Address, Endpoint, Health, Target};
use crate::mesh::MeshSettings;
use crate::name::NsName;
use crate::service::{Protocol, Registry, Resolution, Service, TargetPort};
use crate::workload::{Locality, Pod, Workload, canonical};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// How the Pod behind an address is found: by its name where the source gives it, else by the address.
pub(crate) trait Found {
    fn pod(&self, name: Option<&NsName>, ip: Option<IpAddr>) -> Option<&Arc<Pod>>;
}

/// The name of the service that a slice belongs to.
pub(crate) fn service_of_slice(object: &Object) -> Option<NsName> {
    let name = object.meta.labels.get(SERVICE_NAME)?;
    Some(NsName::new(object.id.namespace.clone(), name.as_str()))
}

/// The endpoints of one slice.
pub(crate) fn slice_endpoints(service: &Service, source: &k8s::EndpointSlice, pods: &impl Found) -> Vec<Endpoint> {
    let targets = targets(service, |name| {
        let port = source.ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == name)?;
        port.port
    });
    let endpoints = source.endpoints.iter().flat_map(|written| {
        let targets = targets.clone();
        written.addresses.iter().map(move |address| {
            let address = read_address(address);
            let reference = written.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            let name = reference.and_then(|target| {
                let namespace = target.namespace.as_deref().unwrap_or(service.namespace());
                target.name.as_deref().map(|name| NsName::new(namespace, name))
            });
            let pod = pods.pod(name.as_ref(), address.ip());
            let conditions = written.conditions.clone().unwrap_or_default();
            Endpoint {
                health: if conditions.terminating == Some(true) {
                    Health::Terminating
                } else if conditions.ready != Some(false) || service.publish_not_ready {
                    Health::Ready
                } else {
                    Health::Unready
                },
                hostname: written.hostname.as_deref().map(Arc::from).or_else(|| pod_hostname(service, pod)),
                workload: workload_of(pod, service, written.zone.as_deref()),
                targets: targets.clone(),
                address,
                weight: 1,
            }
        })
    });
    endpoints.collect()
}

/// The endpoints of an `Endpoints` object.
pub(crate) fn legacy_endpoints(service: &Service, source: &k8s::Endpoints, pods: &impl Found) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for subset in &source.subsets {
        let targets = targets(service, |name| {
            let port = subset.ports.iter().flatten().find(|port| port.name.as_deref().unwrap_or_default() == name)?;
            Some(port.port)
        });
        let ready = subset.addresses.iter().flatten().map(|address| (address, Health::Ready));
        let unready = if service.publish_not_ready { Health::Ready } else { Health::Unready };
        let rest = subset.not_ready_addresses.iter().flatten().map(|address| (address, unready));
        for (written, health) in ready.chain(rest) {
            let address = read_address(&written.ip);
            let pod = pods.pod(None, address.ip());
            endpoints.push(Endpoint {
                targets: targets.clone(),
                health,
                weight: 1,
                hostname: written.hostname.as_deref().map(Arc::from).or_else(|| pod_hostname(service, pod)),
                workload: workload_of(pod, service, None),
                address,
            });
        }
    }
    endpoints
}

/// The name that a Kubernetes service of type `ExternalName` stands for.
pub(crate) fn external_endpoint(service: &Service, name: &str) -> Endpoint {
    let targets = service.ports.iter().map(|port| Target { service_port: port.number, port: port.number });
    Endpoint {
        address: Address::Name(name.trim_end_matches('.').to_ascii_lowercase().into()),
        targets: targets.collect(),
        health: Health::Ready,
        weight: 1,
        hostname: None,
        workload: anonymous(service, None),
    }
}

/// The endpoints that a `ServiceEntry` lists; by DNS and with none listed, its host is the endpoint.
pub(crate) fn entry_endpoints(
    service: &Service,
    source: &ServiceEntry,
    mesh: &MeshSettings,
    pods: &impl Found,
) -> Vec<Endpoint> {
    if service.resolution == Resolution::Dns && source.endpoints.is_empty() {
        return vec![Endpoint {
            address: Address::Name(service.host().clone()),
            targets: targets(service, |_| None),
            health: Health::Ready,
            weight: 1,
            hostname: None,
            workload: anonymous(service, None),
        }];
    }
    let listed = source.endpoints.iter().filter(|entry| !entry.address.is_empty());
    listed.map(|entry| entry_endpoint(service, entry, mesh, pods)).collect()
}

fn entry_endpoint(service: &Service, entry: &WorkloadEntry, mesh: &MeshSettings, pods: &impl Found) -> Endpoint {
    let address = read_address(&entry.address);
    let pod = pods.pod(None, address.ip());
    Endpoint {
        targets: targets(service, |name| entry.ports.get(name).map(|&port| i32::from(port))),
        health: Health::Ready,
        weight: entry.weight.unwrap_or(1),
        hostname: None,
        workload: pod.map_or_else(|| entry_workload(service, entry, mesh), |pod| pod.workload.clone()),
        address,
    }
}

fn entry_workload(service: &Service, entry: &WorkloadEntry, mesh: &MeshSettings) -> Arc<Workload> {
    let labels = labels(&entry.labels);
    let name = service.age.object.name.clone();
    let (canonical_name, canonical_revision) = canonical(&labels, &name);
    let account = text(entry.service_account.as_ref());
    let meshed = labels.get("security.istio.io/tlsMode").is_some_and(|mode| &**mode == "istio");
    Arc::new(Workload {
        namespace: service.namespace().clone(),
        name,
        canonical_name,
        canonical_revision,
        identity: account.map(|account| mesh.identity(service.namespace(), &account)),
        meshed: meshed && service.registry != Registry::Entry { external: true },
        labels,
        locality: entry.locality.as_deref().map(Locality::parse).unwrap_or_default(),
    })
}

/// A Pod as an endpoint of a service that selects it, one per address.
pub(crate) fn pod_endpoint<'a>(service: &'a Service, pod: &'a Arc<Pod>) -> impl Iterator<Item = Endpoint> + 'a {
    let targets: Arc<[Target]> = (service.ports.iter())
        .filter_map(|port| {
            let number = match &port.target {
                TargetPort::Number(number) => Some(*number),
                TargetPort::Name(name) => pod.named_port(name),
            };
            number.map(|number| Target { service_port: port.number, port: number })
        })
        .collect();
    pod.addresses.iter().map(move |&ip| Endpoint {
        address: Address::Ip(ip),
        targets: targets.clone(),
        health: if pod.ready || service.publish_not_ready { Health::Ready } else { Health::Unready },
        weight: 1,
        hostname: pod_hostname(service, Some(pod)),
        workload: pod.workload.clone(),
    })
}

/// The ports of a service as an endpoint serves them: `find` tells by the port's name; where it is silent and the target
/// is a number, that number. A named target that nothing resolves is not served.
fn targets(service: &Service, find: impl Fn(&str) -> Option<i32>) -> Arc<[Target]> {
    let ports = service.ports.iter().filter(|port| port.protocol != Protocol::Udp);
    let targets = ports.filter_map(|port| {
        let found = find(&port.name).and_then(|number| u16::try_from(number).ok());
        let port_number = found.or(match port.target {
            TargetPort::Number(number) if !service.is_kubernetes() => Some(number),
            TargetPort::Number(_) | TargetPort::Name(_) => None,
        })?;
        Some(Target { service_port: port.number, port: port_number })
    });
    targets.collect()
}

fn read_address(written: &str) -> Address {
    written.parse().map_or_else(|_| Address::Name(written.to_ascii_lowercase().into()), Address::Ip)
}

/// The DNS label under which a headless service knows this Pod alone.
fn pod_hostname(service: &Service, pod: Option<&Arc<Pod>>) -> Option<Arc<str>> {
    let pod = pod.filter(|pod| pod.subdomain.as_deref() == Some(&*service.age.object.name))?;
    Some(pod.hostname.clone().unwrap_or_else(|| pod.key.name.clone()))
}

fn workload_of(pod: Option<&Arc<Pod>>, service: &Service, zone: Option<&str>) -> Arc<Workload> {
    pod.map_or_else(|| anonymous(service, zone), |pod| pod.workload.clone())
}

/// An endpoint of which only the address is known.
fn anonymous(service: &Service, zone: Option<&str>) -> Arc<Workload> {
    Arc::new(Workload {
        namespace: service.namespace().clone(),
        locality: Locality { zone: zone.unwrap_or_default().into(), ..Locality::default() },
        ..Workload::default()
    })
}
