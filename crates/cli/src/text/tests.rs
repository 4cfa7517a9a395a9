//! What people read.

use super::*;
use crate::report::{EdgeView, Usage};

fn sample() -> Status {
    let workload = |name: &str, ready, why: Option<&str>| WorkloadView {
        name: name.into(),
        replicas: 1,
        ready,
        leaving: u32::from(ready == 0),
        why: why.map(str::to_owned),
    };
    let edge = EdgeView {
        source: "shop/web".into(),
        destination: "shop/db".into(),
        protocol: EdgeProtocol::Http,
        requests: 10_000,
        success_rate: Some(0.9999),
        p50_ms: Some(1.25),
        p99_ms: Some(40.0),
        mtls: Some(1.0),
        key_exchange: None,
    };
    Status {
        directory: "/shop".into(),
        workloads: vec![workload("shop/web", 1, None), workload("shop/db", 0, Some("db: exit status 1"))],
        usage: [(
            "shop/web".to_owned(),
            WorkloadUsage { proxy: Some(Usage { rss_kb: 9216, cpu_s: 1.0 }), app: None, cpu_share: Some(0.125) },
        )]
        .into(),
        edges: vec![LiveEdge { rate: 30.0, edge }],
        findings: vec![FindingView {
            severity: "error".into(),
            object: Some("Deployment/shop/db".into()),
            file: Some("db.yaml".into()),
            line: Some(7),
            message: "no program `db`".into(),
        }],
        last_change: Some(Change {
            files: vec!["web.yaml".into()],
            objects: ["a", "b", "c", "d"].map(str::to_owned).into(),
            applied: 2,
            total: 2,
            ms: Some(21.4),
            ..Change::default()
        }),
        published: vec!["http://127.0.0.1:8080 → shop/gateway:80".into()],
        ..Status::default()
    }
}

#[test]
fn a_status_in_columns() {
    let wanted = "\
/shop is not ready
http://127.0.0.1:8080 → shop/gateway:80

WORKLOAD  READY  RSS  PROXY RSS  CPU
shop/web  1/1    –    9.0 MB     12.5 %
shop/db   0/1    –    –          –       db: exit status 1; 1 leaving

FROM      TO       PROTOCOL  REQ/S  SUCCESS  P50     P99    MTLS   KEY EXCHANGE
shop/web  shop/db  http      30.0   99.9 %   1.2 ms  40 ms  100 %  –

FINDINGS
error: Deployment/shop/db: no program `db` (db.yaml:7)

LAST CHANGE
web.yaml: a, b, c and 1 more, applied by 2/2 proxies in 21 ms
";
    assert_eq!(status(&sample()), wanted);
}

#[test]
fn objects_in_columns() {
    let view = ObjectView {
        object: "Service/shop/web".into(),
        file: Some("web.yaml".into()),
        line: Some(3),
        state: "in force".into(),
        message: None,
    };
    assert_eq!(objects(&[view]), "OBJECT            STATE     FILE\nService/shop/web  in force  web.yaml:3\n");
}
