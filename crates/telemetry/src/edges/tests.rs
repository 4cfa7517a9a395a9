//! Counting, summing over shards and security, and the JSON the CLI reads back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Direction, EdgeKey, EdgeProtocol, EdgeReport};
use crate::{
    latency::percentile,
    metrics::{Limits, Metrics},
};

fn key(mtls: bool) -> EdgeKey {
    EdgeKey {
        direction: Direction::Inbound,
        protocol: EdgeProtocol::Http,
        source_ip: Some([10, 244, 0, 5].into()),
        source_principal: mtls.then(|| "spiffe://cluster.local/ns/default/sa/productpage".into()),
        destination: "default/reviews-v1".into(),
        upstream_ip: None,
        mtls,
        key_exchange: mtls.then(|| "X25519MLKEM768".into()),
    }
}

#[test]
fn json_is_the_contracts() {
    let metrics = Metrics::new(Limits::default());
    let edge = metrics.shard().edge(&key(true));
    edge.success(Duration::from_micros(10));
    edge.success(Duration::from_micros(10));
    edge.failure(Duration::from_millis(1));
    let found = serde_json::to_value(metrics.edges()).expect("plain data");
    assert_eq!(
        found,
        json!({"edges": [{
            "source_ip": "10.244.0.5",
            "source_principal": "spiffe://cluster.local/ns/default/sa/productpage",
            "direction": "inbound",
            "protocol": "http",
            "destination": "default/reviews-v1",
            "upstream_ip": null,
            "requests": 3,
            "failures": 1,
            "mtls": 3,
            "key_exchange": {"X25519MLKEM768": 3},
            "latency_us": [[10, 2], [1_023, 1]],
        }]})
    );
    let back: EdgeReport = serde_json::from_value(found).expect("what we wrote");
    assert_eq!(back, metrics.edges());
    assert_eq!(percentile(&back.edges[0].latency_us, 0.5), Some(10));
}

#[test]
fn shards_and_securities_of_one_edge_are_summed() {
    let metrics = Metrics::new(Limits::default());
    let principal: Arc<str> = "spiffe://a".into();
    for (mtls, group) in [(true, Some("X25519MLKEM768")), (true, Some("X25519")), (false, None)] {
        let key = EdgeKey {
            source_principal: Some(principal.clone()),
            mtls,
            key_exchange: group.map(Into::into),
            ..key(true)
        };
        for shard in [metrics.shard(), metrics.shard()] {
            shard.edge(&key).success(Duration::from_millis(1));
        }
    }
    let report = metrics.edges();
    assert_eq!(report.edges.len(), 1);
    let edge = &report.edges[0];
    assert_eq!(
        (edge.requests, edge.mtls, edge.key_exchange["X25519"], edge.key_exchange["X25519MLKEM768"]),
        (6, 4, 2, 2)
    );
    assert_eq!(edge.latency_us.iter().map(|(_, count)| count).sum::<u64>(), 6);

    let mut total = edge.clone();
    total.absorb(edge);
    assert_eq!((total.requests, total.mtls, total.key_exchange["X25519"]), (12, 8, 4));
}

#[test]
fn tcp_counts_connections() {
    let metrics = Metrics::new(Limits::default());
    let edge = metrics.shard().edge(&EdgeKey { protocol: EdgeProtocol::Tcp, ..key(false) });
    edge.opened();
    edge.opened();
    edge.broken();
    let report = metrics.edges();
    assert_eq!((report.edges[0].requests, report.edges[0].failures, report.edges[0].mtls), (2, 1, 0));
    assert!(report.edges[0].latency_us.is_empty());
}

#[test]
fn edges_are_bounded_and_expire() {
    let metrics = Metrics::new(Limits { edges: 1, idle: Duration::from_secs(1), ..Limits::default() });
    let shard = metrics.shard();
    shard.edge(&key(true)).success(Duration::ZERO);
    shard.edge(&key(false)).success(Duration::ZERO);
    shard.edge(&EdgeKey { destination: "other".into(), ..key(false) }).success(Duration::ZERO);
    let report = metrics.edges();
    let folded = report.edges.iter().find(|edge| &*edge.destination == "overflow").expect("two were folded");
    assert_eq!((report.edges.len(), folded.requests, folded.source_ip), (2, 2, None));

    let start = Instant::now();
    metrics.expire(start);
    metrics.expire(start + Duration::from_secs(1));
    assert_eq!(metrics.edges().edges.len(), 1, "the overflow stays");
}
