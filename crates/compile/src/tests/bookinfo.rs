//! A mesh like the sample: what each data plane gets, by name, and the parts that matter in full.

use super::{MIZZEN, cluster, compile, decode, names, router, routes, sidecar, virtual_host};
use crate::{Kind, NameTable, Scope};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;

pub(crate) const BOOKINFO: &str = r"
apiVersion: v1
kind: Service
metadata: {name: productpage}
spec: {clusterIP: 10.96.0.10, selector: {app: productpage}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {clusterIP: 10.96.0.11, selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: data}
spec: {clusterIP: 10.96.0.12, ports: [{name: tcp, port: 5432}, {name: any, port: 7000}]}
---
apiVersion: v1
kind: Pod
metadata: {name: productpage-1, labels: {app: productpage, version: v1, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: productpage, containers: [{name: c}]}
status: {podIP: 10.244.0.1, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: reviews-v1
  labels: {app: reviews, version: v1, security.istio.io/tlsMode: istio}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: reviews-v1, uid: u, controller: true}]
spec: {serviceAccountName: reviews, containers: [{name: c}]}
status: {podIP: 10.244.0.2, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-v2, labels: {app: reviews, version: v2}}
spec: {serviceAccountName: reviews, containers: [{name: c}]}
status: {podIP: 10.244.0.3, conditions: [{type: Ready, status: 'False'}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: split
    route:
    - {destination: {host: reviews, subset: v1}, weight: 80}
    - {destination: {host: reviews, subset: v2}, weight: 20}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front}
spec: {selector: {istio: ingress}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: page}
spec:
  hosts: ['*']
  gateways: [front]
  http: [{match: [{uri: {exact: /productpage}}], route: [{destination: {host: productpage}}]}]
";

fn page() -> Scope {
    sidecar("default", "10.244.0.1")
}

#[test]
fn a_sidecar_gets_these_resources() {
    let set = compile(BOOKINFO, &page());
    let of = |kind| names(&set, kind);
    assert_eq!(
        of(Kind::Cluster),
        "BlackHoleCluster InboundPassthroughCluster PassthroughCluster inbound|9080|| \
         outbound|5432||db.data.svc.cluster.local outbound|7000||db.data.svc.cluster.local \
         outbound|9080|v1|reviews.default.svc.cluster.local outbound|9080|v2|reviews.default.svc.cluster.local \
         outbound|9080||productpage.default.svc.cluster.local outbound|9080||reviews.default.svc.cluster.local"
    );
    assert_eq!(
        of(Kind::Endpoints),
        "outbound|5432||db.data.svc.cluster.local outbound|7000||db.data.svc.cluster.local \
         outbound|9080|v1|reviews.default.svc.cluster.local outbound|9080|v2|reviews.default.svc.cluster.local \
         outbound|9080||productpage.default.svc.cluster.local outbound|9080||reviews.default.svc.cluster.local"
    );
    assert_eq!(of(Kind::Listener), "0.0.0.0_9080 10.96.0.12_5432 10.96.0.12_7000 virtualInbound virtualOutbound");
    assert_eq!(of(Kind::Routes), "9080 db.data.svc.cluster.local:7000");
    assert_eq!(
        of(Kind::VirtualHost),
        "9080/allow_any 9080/productpage.default.svc.cluster.local:9080 9080/reviews.default.svc.cluster.local:9080 \
         db.data.svc.cluster.local:7000/db.data.svc.cluster.local:7000"
    );
    assert_eq!(
        of(Kind::Names),
        "db.data.svc.cluster.local productpage.default.svc.cluster.local reviews.default.svc.cluster.local"
    );
}

#[test]
fn a_gateway_gets_these_resources() {
    let set = compile(BOOKINFO, &router("default", &[("istio", "ingress")]));
    assert_eq!(names(&set, Kind::Listener), "0.0.0.0_80");
    assert_eq!(names(&set, Kind::Routes), "http.80");
    assert_eq!(names(&set, Kind::VirtualHost), "http.80/*:80");
    assert!(names(&set, Kind::Cluster).contains("outbound|9080||productpage.default.svc.cluster.local"));
    let other = compile(BOOKINFO, &router("default", &[("istio", "egress")]));
    assert_eq!(names(&other, Kind::Listener), "", "no Gateway selects it");
}

#[test]
fn a_split_names_clusters_weights_and_provenance() {
    let host = virtual_host(&compile(BOOKINFO, &page()), "9080/reviews.default.svc.cluster.local:9080");
    assert_eq!(host.name, "reviews.default.svc.cluster.local:9080");
    assert_eq!(
        host.domains,
        [
            "reviews.default.svc.cluster.local",
            "reviews.default.svc.cluster.local.",
            "reviews.default.svc",
            "reviews.default",
            "reviews",
            "10.96.0.11",
        ]
    );
    let [route] = &host.routes[..] else { panic!("{:#?}", host.routes) };
    assert_eq!(route.name, "split");
    let text = format!("{route:?}");
    for part in [
        "outbound|9080|v1|reviews.default.svc.cluster.local",
        "value: 80",
        "outbound|9080|v2|reviews.default.svc.cluster.local",
        "value: 20",
        "StringValue(\"VirtualService/default/reviews\")",
        "StringValue(\"spec.http[0]\")",
        "operation: \"reviews:9080/*\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("mesh.yaml"), "no file in a resource");
}

#[test]
fn endpoints_carry_health_workload_and_tls_mode() {
    let set = compile(BOOKINFO, &page());
    let load: ClusterLoadAssignment = decode(&set, Kind::Endpoints, "outbound|9080||reviews.default.svc.cluster.local");
    let [locality] = &load.endpoints[..] else { panic!("{load:#?}") };
    let texts: Vec<String> = locality.lb_endpoints.iter().map(|endpoint| format!("{endpoint:?}")).collect();
    assert_eq!(texts.len(), 2);
    assert!(
        texts[0].contains("10.244.0.2") && texts[0].contains("tlsMode") && texts[0].contains("health_status: Healthy"),
        "{}",
        texts[0]
    );
    assert!(texts[0].contains("reviews-v1;default;reviews;v1;Kubernetes"), "{}", texts[0]);
    assert!(
        texts[1].contains("10.244.0.3")
            && !texts[1].contains("tlsMode")
            && texts[1].contains("health_status: Unhealthy"),
        "{}",
        texts[1]
    );
    let v2: ClusterLoadAssignment = decode(&set, Kind::Endpoints, "outbound|9080|v2|reviews.default.svc.cluster.local");
    assert_eq!(v2.endpoints[0].lb_endpoints.len(), 1);
}

#[test]
fn names_hold_the_address_and_what_short_forms_are_made_from() {
    let set = compile(BOOKINFO, &page());
    let table: NameTable = decode(&set, Kind::Names, "reviews.default.svc.cluster.local");
    let info = &table.table["reviews.default.svc.cluster.local"];
    assert_eq!(info.ips, ["10.96.0.11"]);
    assert_eq!((&*info.registry, &*info.shortname, &*info.namespace), ("Kubernetes", "reviews", "default"));
}

#[test]
fn a_client_without_vhds_gets_the_same_hosts_inline() {
    let scope = page();
    let with = compile(BOOKINFO, &scope);
    let stock = Scope { capabilities: crate::Capabilities { vhds: false, ..MIZZEN }, ..scope };
    let without = compile(BOOKINFO, &stock);
    assert_eq!(names(&without, Kind::VirtualHost), "");
    assert_eq!(names(&without, Kind::Routes), names(&with, Kind::Routes));
    let inline = routes(&without, "9080");
    assert!(inline.vhds.is_none());
    let separate = routes(&with, "9080");
    assert!(separate.vhds.is_some() && separate.virtual_hosts.is_empty());
    let hosts: Vec<_> = inline.virtual_hosts.iter().map(|host| host.name.clone()).collect();
    assert_eq!(
        hosts,
        ["allow_any", "productpage.default.svc.cluster.local:9080", "reviews.default.svc.cluster.local:9080"]
    );
    for host in inline.virtual_hosts {
        assert_eq!(virtual_host(&with, &format!("9080/{}", host.name)), host);
    }
}

#[test]
fn clusters_follow_the_rule() {
    let set = compile(BOOKINFO, &page());
    let reviews = cluster(&set, "outbound|9080|v1|reviews.default.svc.cluster.local");
    assert_eq!(reviews.lb_policy, 0, "round robin");
    let text = format!("{:?}", reviews.metadata);
    for part in ["reviews.default.svc.cluster.local", "subset", "DestinationRule/default/reviews", "spec.subsets[0]"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
