//! `Pod` and `Node` → model.

use std::net::IpAddr;
use std::sync::Arc;

use mizzen_api::{Object, k8s};

use super::{labels, ns_name};
use crate::labels::Labels;
use crate::mesh::MeshSettings;
use crate::peer_auth::{Mtls, MtlsMode};
use crate::workload::{Locality, Pod, Workload, canonical};

/// A replica; `None` if it has ended. `mtls` tells the policy for its labels, `locality` that of a node.
pub(crate) fn pod(
    object: &Object,
    source: &k8s::Pod,
    mesh: &MeshSettings,
    mtls: impl FnOnce(&Labels) -> Mtls,
    locality: impl FnOnce(&str) -> Option<Locality>,
) -> Option<Pod> {
    let phase = source.status.phase.as_deref();
    if matches!(phase, Some("Failed" | "Succeeded")) {
        return None;
    }
    let labels = labels(&object.meta.labels);
    let mtls = mtls(&labels);
    let name = workload_name(object, &labels);
    let (canonical_name, canonical_revision) = canonical(&labels, &name);
    let account: Arc<str> = source.spec.service_account_name.as_deref().unwrap_or("default").into();
    let has_proxy = labels.get("security.istio.io/tlsMode").is_some_and(|mode| &**mode == "istio");
    let written = labels.get("topology.istio.io/locality").or_else(|| labels.get("istio-locality"));
    let locality = match written {
        Some(written) => Locality::parse(&written.replace('.', "/")),
        None => source.spec.node_name.as_deref().and_then(locality).unwrap_or_default(),
    };
    Some(Pod {
        key: ns_name(object),
        workload: Arc::new(Workload {
            namespace: object.id.namespace.clone(),
            name,
            canonical_name,
            canonical_revision,
            identity: Some(mesh.identity(&object.id.namespace, &account)),
            meshed: has_proxy && mtls.mode != MtlsMode::Disable,
            labels,
            locality,
        }),
        service_account: account,
        addresses: addresses(&source.status),
        ready: is_ready(&source.status),
        hostname: source.spec.hostname.as_deref().map(Arc::from),
        subdomain: source.spec.subdomain.as_deref().map(Arc::from),
        ports: named_ports(&source.spec),
        mtls,
    })
}

/// The label, else the owner (a `ReplicaSet` stands for its Deployment), else the Pod's own name.
fn workload_name(object: &Object, labels: &Labels) -> Arc<str> {
    if let Some(name) = labels.get("service.istio.io/workload-name") {
        return name.clone();
    }
    let Some(owner) = &object.meta.owner else { return object.id.name.clone() };
    let hash = labels.get("pod-template-hash").map(|hash| format!("-{hash}"));
    match hash.and_then(|hash| owner.name.strip_suffix(&hash)) {
        Some(deployment) if owner.kind == "ReplicaSet" => deployment.into(),
        _ => owner.name.as_str().into(),
    }
}

fn addresses(status: &k8s::PodStatus) -> Vec<IpAddr> {
    let listed = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut addresses: Vec<IpAddr> = Vec::new();
    for ip in status.pod_ip.as_deref().into_iter().chain(listed).filter_map(|ip| ip.parse().ok()) {
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    addresses
}

fn is_ready(status: &k8s::PodStatus) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn named_ports(spec: &k8s::PodSpec) -> Vec<(Arc<str>, u16)> {
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let named = ports.filter_map(|port| {
        let number = u16::try_from(port.container_port).ok()?;
        port.name.as_deref().map(|name| (name.into(), number))
    });
    named.collect()
}

/// Where a node is, by its labels.
pub(crate) fn node_locality(object: &Object) -> Locality {
    let label = |key: &str| object.meta.labels.get(key).map(|value| value.as_str().into()).unwrap_or_default();
    Locality {
        region: label("topology.kubernetes.io/region"),
        zone: label("topology.kubernetes.io/zone"),
        subzone: label("topology.istio.io/subzone"),
    }
}
