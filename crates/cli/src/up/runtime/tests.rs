//! The objects are read back by the same reader that reads the user's.

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use super::*;
use crate::plan::{Context, Name, Programs, ipv6_of, plan};

const SHOP: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
        - name: web
          command: [web]
          ports: [{name: main, containerPort: 9080}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: main}, {name: admin, port: 81, targetPort: 9081}]
---
apiVersion: v1
kind: Service
metadata: {name: both, namespace: shop}
spec: {selector: {app: web}, ipFamilies: [IPv4, IPv6], ports: [{port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: other}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

fn world() -> (Objects, Arc<Workload>) {
    let loaded = mizzen_api::load("shop.yaml", SHOP).objects;
    let objects: Objects = loaded.into_iter().map(|object| (object.id.clone(), Arc::new(object))).collect();
    let programs = Programs { directories: &[], is_program: &|_| true, is_directory: &|_| true };
    let inherited = BTreeMap::new();
    let context = Context { directory: Path::new("/"), programs: &programs, publish: &[], inherited: &inherited };
    let workload = Arc::clone(&plan(&objects, &context).workloads[&Name::new("shop", "web")]);
    (objects, workload)
}

fn facts(host: u8) -> PodFacts {
    let ipv4 = Ipv4Addr::new(10, 244, 1, host);
    PodFacts { name: format!("web-{host}"), ipv4, ipv6: ipv6_of(ipv4), host_ip: Ipv4Addr::new(10, 244, 0, 1) }
}

#[test]
fn ready_replicas_are_endpoints_and_the_others_are_pods() {
    let (user, workload) = world();
    let (one, two) = (facts(1), facts(2));
    let told = |pod, is_endpoint| Told { workload: &workload, pod, is_endpoint };
    let list =
        json!({"apiVersion": "v1", "kind": "List", "items": objects(&[told(&one, true), told(&two, false)], &user)});
    let read = mizzen_api::load("runtime.json", &list.to_string());
    let rejected: Vec<String> =
        read.rejected.iter().flat_map(|rejected| &rejected.findings).map(ToString::to_string).collect();
    assert_eq!((rejected, read.unparsable), (Vec::new(), None));
    let seen: Vec<String> = read.objects.iter().map(describe).collect();
    let wanted = [
        "web-1 sa=web ip=10.244.1.1,fd77:6d7a::1:1 ready=True tls=istio owner=web",
        "web-2 sa=web ip=10.244.1.2,fd77:6d7a::1:2 ready=False tls=istio owner=web",
        "elsewhere IPv4 [] []",
        "both IPv4 [:9080] [10.244.1.1]",
        "both IPv6 [:9080] [fd77:6d7a::1:1]",
        "web IPv4 [http:9080 admin:9081] [10.244.1.1]",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(wanted));
}

fn describe(object: &Object) -> String {
    match &object.spec {
        Spec::Pod(pod) => {
            let ips: Vec<&str> = pod.status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
            let ready = pod.status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
            format!(
                "{} sa={} ip={} ready={} tls={} owner={}",
                object.id.name,
                pod.spec.service_account_name.as_deref().unwrap_or_default(),
                ips.join(","),
                ready.map(|ready| ready.status.as_str()).unwrap_or_default(),
                object.meta.labels.get("security.istio.io/tlsMode").map(String::as_str).unwrap_or_default(),
                object.meta.owner.as_ref().map(|owner| owner.name.as_str()).unwrap_or_default(),
            )
        }
        Spec::EndpointSlice(slice) => {
            let ports: Vec<String> = slice
                .ports
                .iter()
                .map(|port| format!("{}:{}", port.name.as_deref().unwrap_or_default(), port.port.unwrap_or_default()))
                .collect();
            let addresses: Vec<&str> =
                slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses).map(String::as_str).collect();
            let service = &object.meta.labels["kubernetes.io/service-name"];
            format!("{service} {} [{}] [{}]", slice.address_type, ports.join(" "), addresses.join(" "))
        }
        _ => object.id.to_string(),
    }
}
