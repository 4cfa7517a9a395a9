//! The DNS table.

use std::collections::BTreeMap;

use super::world;

#[test]
fn services_answer_to_all_their_names() {
    let text = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: data}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: data, labels: {app: db}}
spec: {hostname: db-0, subdomain: db, containers: [{name: db}]}
status: {podIP: 10.244.0.7, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-1, namespace: data, labels: {app: db}}
spec: {hostname: db-1, subdomain: db, containers: [{name: db}]}
status: {podIP: 10.244.0.8}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: e}
spec: {hosts: ['*.example.com', passed.com], addresses: [10.1.1.1], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}
";
    let table: BTreeMap<String, (Vec<String>, String)> = world(text)
        .name_table("default")
        .into_iter()
        .map(|entry| {
            let short = entry.short_names.iter().map(ToString::to_string).collect();
            let ips: Vec<String> = entry.addresses.iter().map(ToString::to_string).collect();
            (entry.name.to_string(), (short, ips.join(",")))
        })
        .collect();
    let of = |name: &str| table.get(name).cloned().unwrap_or_default();
    assert_eq!(
        of("web.default.svc.cluster.local"),
        (vec!["web.default.svc".into(), "web.default".into(), "web".into()], "10.96.0.9".into())
    );
    assert_eq!(
        of("db.data.svc.cluster.local"),
        (vec!["db.data.svc".into(), "db.data".into()], "10.244.0.7".into()),
        "ready Pods only, and no bare name from another namespace"
    );
    assert_eq!(of("db-0.db.data.svc.cluster.local").1, "10.244.0.7");
    assert!(!table.contains_key("db-1.db.data.svc.cluster.local"));
    assert_eq!(of("*.example.com").1, "10.1.1.1");
    assert_eq!(of("passed.com").1, "10.1.1.1");
}
