//! The report's names and nulls, and the verdict.

use serde_json::{Value, json};

use super::*;
use crate::edges::EdgeName;

fn edge(source: &str, figures: Figures) -> (EdgeName, Figures) {
    (EdgeName { source: source.into(), destination: "shop/b".into(), protocol: EdgeProtocol::Http }, figures)
}

fn groups(names: &[&str]) -> BTreeMap<Arc<str>, u64> {
    names.iter().map(|name| (Arc::from(*name), 1)).collect()
}

fn workload(ready: u32) -> WorkloadView {
    WorkloadView { name: "shop/b".into(), replicas: 1, ready, leaving: 0, why: None }
}

#[test]
fn what_was_not_measured_is_null() {
    let report = report(&Totals::default(), &[workload(0)], &BTreeMap::new(), &Convergence::default());
    let wanted = json!({
        "requests_total": 0, "success_rate": null, "mtls_share": null, "edges": [],
        "workloads": [{"name": "shop/b", "ready": false, "proxy_rss_kb": null, "proxy_cpu_s": null}],
        "config": {"generations": null, "convergence_ms_p50": null, "convergence_ms_p99": null},
    });
    assert_eq!(serde_json::to_value(report).expect("it is plain data"), wanted);
}

#[test]
fn what_was_measured_has_the_names_of_the_interface() {
    let figures = Figures {
        requests: 200,
        failures: 2,
        arrived: 200,
        mtls: 150,
        key_exchange: groups(&["X25519MLKEM768"]),
        latency_us: vec![(1000, 150), (4000, 50)],
    };
    let totals = Totals([edge("shop/a", figures)].into());
    let usage = BTreeMap::from([("shop/b".to_owned(), Usage { rss_kb: 9000, cpu_s: 0.25 })]);
    let convergence = Convergence { generations: Some(3), ms: vec![20.0, 10.0, 30.0] };
    let report = report(&totals, &[workload(1)], &usage, &convergence);
    let json = serde_json::to_value(&report).expect("it is plain data");
    assert_eq!(
        json["edges"][0],
        json!({
            "source": "shop/a", "destination": "shop/b", "protocol": "http", "requests": 200, "success_rate": 0.99,
            "p50_ms": 0.996, "p99_ms": 3.984, "mtls": 0.75, "key_exchange": "X25519MLKEM768",
        })
    );
    assert_eq!(json["config"], json!({"generations": 3, "convergence_ms_p50": 20.0, "convergence_ms_p99": 30.0}));
    assert_eq!((&json["mtls_share"], &json["workloads"][0]["proxy_rss_kb"]), (&json!(0.75), &Value::from(9000)));
}

#[test]
fn several_key_exchanges_are_mixed() {
    let cases = [(&[][..], None), (&["x25519"], Some("x25519")), (&["x25519", "secp256r1"], Some("mixed"))];
    for (names, wanted) in cases {
        assert_eq!(key_exchange(&groups(names)).as_deref(), wanted);
    }
}

#[test]
fn the_verdict_names_each_shortcoming() {
    let run = |requests, failures, ready| {
        let figures = Figures { requests, failures, ..Figures::default() };
        let totals = Totals([edge("shop/a", figures)].into());
        let workloads = [workload(ready)];
        let report = report(&totals, &workloads, &BTreeMap::new(), &Convergence::default());
        shortcomings(&report, (ready == 0).then_some(&workloads))
    };
    assert_eq!(run(100, 0, 1), Vec::<String>::new());
    assert_eq!(run(99, 0, 1), ["99 requests passed, expected 100 at least"]);
    assert_eq!(run(100, 1, 1), ["1 of 100 requests from shop/a to shop/b failed"]);
    assert_eq!(run(100, 0, 0), ["not all workloads became ready in time", "shop/b is not ready: starting"]);
}
