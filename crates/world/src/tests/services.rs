//! Services and entries: hosts, addresses, ports, visibility, precedence.

use std::net::IpAddr;
use std::sync::Arc;

use super::{service, service_seen, world};
use crate::service::{Protocol, Registry, Resolution, TargetPort};

const SERVICES: &str = r"
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 9080}, {name: db, port: 3306, targetPort: mysql}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: fixed}
spec: {clusterIP: 10.96.7.7, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: Example.com, ports: [{port: 443, name: https}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: apis}
spec:
  hosts: [api.example.com, www.example.com]
  ports: [{number: 443, name: tls, protocol: TLS, targetPort: 8443}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: block}
spec:
  hosts: [legacy.internal]
  addresses: [192.168.1.1, 192.168.2.0/24, 192.168.3.3/32]
  ports: [{number: 27018, name: mongo, protocol: MONGO}]
  location: MESH_INTERNAL
  resolution: NONE
";

#[test]
fn services_are_read_with_ports_and_addresses() {
    let world = world(SERVICES);
    let reviews = service(&world, "reviews.default.svc.cluster.local").expect("known");
    assert_eq!(reviews.resolution, Resolution::Balanced);
    let ports: Vec<_> = reviews.ports.iter().map(|port| (port.number, port.protocol, port.target.clone())).collect();
    assert_eq!(
        ports,
        [
            (9080, Protocol::Http, TargetPort::Number(9080)),
            (3306, Protocol::Tcp, TargetPort::Name("mysql".into())),
            (53, Protocol::Udp, TargetPort::Number(53)),
        ]
    );
    let [IpAddr::V4(ip)] = reviews.vips[..] else { panic!("{:?}", reviews.vips) };
    assert_eq!(ip.octets()[..2], [10, 96]);
    let fixed = service(&world, "fixed.default.svc.cluster.local").expect("known");
    assert_eq!(fixed.vips, ["10.96.7.7".parse::<IpAddr>().expect("an address")]);
    let headless = service(&world, "headless.default.svc.cluster.local").expect("known");
    assert_eq!((headless.resolution, headless.vips.len()), (Resolution::Headless, 0));
    let outside = service(&world, "outside.default.svc.cluster.local").expect("known");
    let endpoints = world.endpoints().get(&outside.key).expect("built");
    assert_eq!(endpoints.all[0].address, crate::endpoint::Address::Name("example.com".into()));
}

#[test]
fn entries_are_one_service_per_host() {
    let world = world(SERVICES);
    for host in ["api.example.com", "www.example.com"] {
        let entry = service(&world, host).expect("known");
        assert_eq!(entry.registry, Registry::Entry { external: true });
        let [IpAddr::V4(ip)] = entry.vips[..] else { panic!("{:?}", entry.vips) };
        assert_eq!(ip.octets()[..2], [240, 240]);
        let endpoints = world.endpoints().get(&entry.key).expect("built");
        assert_eq!(endpoints.all[0].target(443), Some(8443));
    }
    let block = service(&world, "legacy.internal").expect("known");
    assert_eq!(block.registry, Registry::Entry { external: false });
    assert_eq!(block.vips.len(), 2, "an address and a block of one");
    assert_eq!(block.blocks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.168.2.0/24"]);
}

#[test]
fn who_sees_a_service_and_which_declaration_counts() {
    let text = r"
apiVersion: v1
kind: Service
metadata: {name: hidden, annotations: {networking.istio.io/exportTo: '., friends'}}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: b, namespace: one, creationTimestamp: '2020-01-01T00:00:00Z'}
spec: {hosts: [shared.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: two, creationTimestamp: '2021-01-01T00:00:00Z'}
spec: {hosts: [shared.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: clash, namespace: two}
spec: {hosts: [hidden.default.svc.cluster.local], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
";
    let world = world(text);
    let object =
        |namespace: &str, host: &str| service_seen(&world, namespace, host).map(|found| found.object().to_string());
    let hidden = "hidden.default.svc.cluster.local";
    assert_eq!(object("default", hidden).as_deref(), Some("Service/default/hidden"), "Kubernetes first");
    assert_eq!(object("friends", hidden).as_deref(), Some("Service/default/hidden"));
    assert_eq!(object("others", hidden).as_deref(), Some("ServiceEntry/two/clash"), "the other is not seen");
    assert_eq!(object("default", "shared.com").as_deref(), Some("ServiceEntry/one/b"), "the oldest");
    assert_eq!(object("two", "shared.com").as_deref(), Some("ServiceEntry/two/a"), "the own namespace's");
    let seen: Vec<Arc<str>> = world.services_for("default").map(|found| found.host().clone()).collect();
    assert_eq!(seen, [Arc::from(hidden), Arc::from("shared.com")], "one per host");
}
