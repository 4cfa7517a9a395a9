//! What the lab runs, as Kubernetes would say it: Pods, and EndpointSlices of the services that select them.
//!
//! In: the replicas and the user's Services. Out: objects for `PUT /v1/runtime`; they take the same way through validation
//! as the user's own. A replica that is not ready, or is leaving, is a Pod but no endpoint.

use std::collections::{BTreeMap, BTreeSet};

use mizzen_api::{
    Object, Spec,
    k8s::{IntOrString, ServicePort, ServiceSpec},
};
use serde_json::{Value, json};

use crate::{
    fleet::Replica,
    plan::{Objects, PodFacts, Template, Workload},
};

/// What of a replica is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) workload: &'a Workload,
    pub(crate) pod: &'a PodFacts,
    pub(crate) is_endpoint: bool,
}

impl<'a> From<&'a Replica> for Told<'a> {
    fn from(replica: &'a Replica) -> Self {
        Self { workload: &replica.workload, pod: &replica.pod, is_endpoint: replica.is_endpoint() }
    }
}

pub(crate) fn objects(replicas: &[Told<'_>], objects: &Objects) -> Vec<Value> {
    let services = objects.values().filter_map(|object| match &object.spec {
        Spec::Service(spec) if spec.type_.as_deref() != Some("ExternalName") => Some((&**object, &**spec)),
        _ => None,
    });
    let pods = replicas.iter().map(pod);
    pods.chain(services.flat_map(|(object, spec)| slices(object, spec, replicas))).collect()
}

fn pod(told: &Told<'_>) -> Value {
    let Told { workload, pod, is_endpoint } = told;
    let template = &workload.template;
    let mut labels = template.labels.clone();
    if template.role.has_proxy() {
        labels.insert("security.istio.io/tlsMode".to_owned(), "istio".to_owned());
    }
    let containers: Vec<Value> = template
        .containers
        .iter()
        .map(|container| {
            let ports = container.ports.iter().map(|port| {
                json!({
                    "name": port.name, "containerPort": port.number, "protocol": port.protocol,
                })
            });
            json!({"name": container.name, "ports": ports.collect::<Vec<_>>()})
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name, "namespace": &*workload.name.namespace, "uid": pod.uid(),
            "labels": labels, "annotations": template.annotations,
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": &*workload.name.name, "uid": "", "controller": true,
            }],
        },
        "spec": {
            "serviceAccountName": template.service_account,
            "hostname": template.hostname, "subdomain": template.subdomain,
            "containers": containers,
        },
        "status": {
            "phase": "Running",
            "podIP": pod.ipv4.to_string(),
            "podIPs": [{"ip": pod.ipv4.to_string()}, {"ip": pod.ipv6.to_string()}],
            "conditions": [{"type": "Ready", "status": if *is_endpoint { "True" } else { "False" }}],
        },
    })
}

/// One slice for each address family and each way in which the service's ports resolve; one without endpoints if nothing
/// is ready, which says that this is so.
fn slices(object: &Object, service: &ServiceSpec, replicas: &[Told<'_>]) -> Vec<Value> {
    let selector = service.selector.clone().unwrap_or_default();
    if selector.is_empty() {
        return Vec::new();
    }
    let selected = replicas.iter().filter(|told| {
        let labels = &told.workload.template.labels;
        let in_namespace = told.workload.name.namespace == object.id.namespace;
        in_namespace && told.is_endpoint && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    });
    let ports = service.ports.clone().unwrap_or_default();
    let mut by_ports: BTreeMap<Vec<(String, u16, String)>, Vec<&Told<'_>>> = BTreeMap::new();
    for told in selected {
        let resolved = ports.iter().filter_map(|port| resolve(port, &told.workload.template)).collect();
        by_ports.entry(resolved).or_default().push(told);
    }
    if by_ports.is_empty() {
        by_ports.insert(Vec::new(), Vec::new());
    }
    let families = families(service);
    let groups = by_ports.into_iter().flat_map(|group| families.iter().map(move |family| (*family, group.clone())));
    groups.enumerate().map(|(at, (family, (ports, members)))| slice(object, (at, family), &ports, &members)).collect()
}

fn slice(
    object: &Object,
    (at, family): (usize, &str),
    ports: &[(String, u16, String)],
    members: &[&Told<'_>],
) -> Value {
    let endpoints: Vec<Value> = members
        .iter()
        .map(|told| {
            let address = if family == "IPv6" { told.pod.ipv6.to_string() } else { told.pod.ipv4.to_string() };
            json!({
                "addresses": [address],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "hostname": told.workload.template.hostname,
                "targetRef": {"kind": "Pod", "name": told.pod.name, "namespace": &*told.workload.name.namespace},
            })
        })
        .collect();
    let ports: Vec<Value> =
        ports.iter().map(|(name, port, protocol)| json!({"name": name, "port": port, "protocol": protocol})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-mizzen-{at}", object.id.name), "namespace": &*object.id.namespace,
            "labels": {"kubernetes.io/service-name": &*object.id.name, "endpointslice.kubernetes.io/managed-by": "mizzen.io"},
        },
        "addressType": family,
        "ports": ports,
        "endpoints": endpoints,
    })
}

fn families(service: &ServiceSpec) -> BTreeSet<&'static str> {
    let asked: BTreeSet<&str> = service.ip_families.iter().flatten().map(String::as_str).collect();
    let known = ["IPv4", "IPv6"].into_iter().filter(|family| asked.contains(family)).collect::<BTreeSet<_>>();
    if known.is_empty() { BTreeSet::from(["IPv4"]) } else { known }
}

/// `(name, port, protocol)`; `None` if the pod has no port of the target's name.
fn resolve(port: &ServicePort, template: &Template) -> Option<(String, u16, String)> {
    let number = match &port.target_port {
        None => u16::try_from(port.port).ok()?,
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok()?,
        Some(IntOrString::String(name)) => {
            let mut ports = template.containers.iter().flat_map(|container| &container.ports);
            ports.find(|port| port.name.as_ref() == Some(name)).map(|port| port.number)?
        }
    };
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    Some((port.name.clone().unwrap_or_default(), number, protocol))
}

#[cfg(test)]
mod tests;
