//! What is wrong between objects, with file and line.

use super::world_and_findings;

const TEXT: &str = r"apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: broken}
spec:
  hosts: [web]
  gateways: [mesh, front]
  http:
  - route:
    - destination: {host: gone}
  - match: [{uri: {prefix: /}}]
    route:
    - destination:
        host: web
        subset: v9
  - route:
    - destination:
        host: web
        port: {number: 81}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: second}
spec:
  hosts:
  - other
  - web
  http: [{route: [{destination: {host: web}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: lonely}
spec:
  host: nobody
";

#[test]
fn dangling_references_and_conflicts_are_named() {
    let (_, findings) = world_and_findings(TEXT);
    let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let wanted = [
        ("VirtualService/default/broken: spec.gateways[1]:", "there is no Gateway `default/front`", "mesh.yaml:11"),
        (
            "VirtualService/default/broken: spec.http[0].route[0].destination.host:",
            "no service `gone.default",
            "mesh.yaml:14",
        ),
        ("VirtualService/default/broken: spec.http[1].route[0].destination.subset:", "subset `v9`", "mesh.yaml:19"),
        ("VirtualService/default/broken: spec.http[2].route[0].destination.port:", "has no port 81", "mesh.yaml:23"),
        (
            "VirtualService/default/second: spec.hosts[1]:",
            "already routed by VirtualService/default/broken (mesh.yaml:6)",
            "mesh.yaml:31",
        ),
        ("DestinationRule/default/lonely: spec.host:", "no service `nobody.default", "mesh.yaml:38"),
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for ((place, message, line), found) in wanted.iter().zip(&found) {
        assert!(found.contains(place) && found.contains(message) && found.contains(line), "{place} {message}: {found}");
    }
}

#[test]
fn a_mended_reference_is_no_finding() {
    let mended = TEXT.replace("{host: gone}", "{host: web}").replace("subset: v9", "port: {number: 80}");
    let mended = mended.replace("port: {number: 81}", "port: {number: 80}").replace("[mesh, front]", "[mesh]");
    let mended = mended.replace("  - web\n", "").replace("host: nobody", "host: web");
    let (_, findings) = world_and_findings(&mended);
    assert!(findings.is_empty(), "{findings:#?}");
}
