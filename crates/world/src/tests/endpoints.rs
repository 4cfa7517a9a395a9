//! Endpoints from Pods, slices and `Endpoints` objects; identities and health.

use super::{service, world};
use crate::endpoint::{Coverage, Health};

const SERVICE: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: main}, {name: http-admin, port: 81, targetPort: 8081}]}
---
";

const PODS: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  labels: {app: web, version: v1, security.istio.io/tlsMode: istio, pod-template-hash: abc}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-v1-abc, uid: u, controller: true}]
spec: {serviceAccountName: web-sa, containers: [{name: web, ports: [{name: main, containerPort: 8080}]}]}
status: {podIP: 10.244.0.1, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, labels: {app: web}}
spec: {containers: [{name: web, ports: [{name: main, containerPort: 9090}]}]}
status: {podIP: 10.244.0.2, conditions: [{type: Ready, status: 'False'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: done, labels: {app: web}}
spec: {containers: [{name: web}]}
status: {podIP: 10.244.0.3, phase: Succeeded}
---
";

fn summary(text: &str) -> Vec<(String, Option<u16>, Health, bool)> {
    let world = world(text);
    let web = service(&world, "web.default.svc.cluster.local").expect("known");
    let endpoints = world.endpoints().get(&web.key).expect("built");
    let all = endpoints.all.iter().map(|endpoint| {
        let ip = endpoint.address.ip().expect("an address").to_string();
        (ip, endpoint.target(80), endpoint.health, endpoint.workload.meshed)
    });
    all.collect()
}

#[test]
fn pods_that_a_service_selects_are_its_endpoints() {
    assert_eq!(
        summary(&format!("{SERVICE}{PODS}")),
        [
            ("10.244.0.1".into(), Some(8080), Health::Ready, true),
            ("10.244.0.2".into(), Some(9090), Health::Unready, false),
        ]
    );
}

#[test]
fn slices_come_before_pods_and_unlisted_pods_still_accept() {
    let slice = r"
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: http-admin, port: 8081}]
endpoints:
- {addresses: [10.244.0.1], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.244.0.9], conditions: {ready: true}}
";
    assert_eq!(
        summary(&format!("{SERVICE}{PODS}{slice}")),
        [
            ("10.244.0.1".into(), Some(8080), Health::Terminating, true),
            ("10.244.0.2".into(), Some(9090), Health::Unlisted, false),
            ("10.244.0.9".into(), Some(8080), Health::Ready, false),
        ]
    );
}

#[test]
fn endpoints_objects_are_read_where_there_is_no_slice() {
    let endpoints = r"
apiVersion: v1
kind: Endpoints
metadata: {name: web}
subsets:
- addresses: [{ip: 10.244.0.5}]
  notReadyAddresses: [{ip: 10.244.0.6}]
  ports: [{name: http, port: 8080}]
";
    assert_eq!(
        summary(&format!("{SERVICE}{endpoints}")),
        [
            ("10.244.0.5".into(), Some(8080), Health::Ready, false),
            ("10.244.0.6".into(), Some(8080), Health::Unready, false),
        ]
    );
}

#[test]
fn a_policy_that_disables_mtls_makes_an_endpoint_plain() {
    let policy = r"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: off}
spec: {selector: {matchLabels: {version: v1}}, mtls: {mode: DISABLE}}
";
    let found = summary(&format!("{SERVICE}{PODS}{policy}"));
    assert!(found.iter().all(|(.., meshed)| !meshed), "{found:?}");
}

#[test]
fn workloads_have_names_and_identities() {
    let world = world(&format!("{SERVICE}{PODS}"));
    let pod = world.pod_at("10.244.0.1".parse().expect("an address")).expect("known");
    let workload = &pod.workload;
    assert_eq!((&*workload.name, &*workload.canonical_name, &*workload.canonical_revision), ("web-v1", "web", "v1"));
    assert_eq!(workload.identity.as_deref(), Some("spiffe://cluster.local/ns/default/sa/web-sa"));
    let plain = world.pod_at("10.244.0.2".parse().expect("an address")).expect("known");
    assert_eq!((&*plain.workload.name, &*plain.workload.canonical_revision), ("web-2", "latest"));
    assert!(world.pod_at("10.244.0.3".parse().expect("an address")).is_none(), "it has ended");
    let web = service(&world, "web.default.svc.cluster.local").expect("known");
    let peers = &world.endpoints().get(&web.key).expect("built").peers;
    assert_eq!(peers.coverage, Coverage::Some);
    assert_eq!(peers.identities.len(), 1, "only of those that take mutual TLS");
    let served: Vec<_> = world.served_by("10.244.0.2".parse().expect("an address")).collect();
    assert_eq!(served.len(), 1);
}

#[test]
fn nodes_tell_where_a_pod_is() {
    let text = r"
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/region: r, topology.kubernetes.io/zone: z}}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeName: n1, containers: [{name: c}]}
status: {podIP: 10.244.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: q, labels: {topology.istio.io/locality: a.b}}
spec: {nodeName: n1, containers: [{name: c}]}
status: {podIP: 10.244.0.2}
";
    let world = world(text);
    let at = |ip: &str| world.pod_at(ip.parse().expect("an address")).expect("known").workload.locality.clone();
    assert_eq!((&*at("10.244.0.1").region, &*at("10.244.0.1").zone), ("r", "z"));
    assert_eq!((&*at("10.244.0.2").region, &*at("10.244.0.2").zone), ("a", "b"));
}
