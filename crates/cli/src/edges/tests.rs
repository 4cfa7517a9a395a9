//! Where a request is counted, and whose it is.

use super::*;

const A: &str = "10.244.0.10";
const B: &str = "10.244.0.11";
const GATEWAY: &str = "10.244.0.12";
const PLAIN: &str = "10.244.0.13";
const OUTSIDE: &str = "192.0.2.1";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    let members = [
        (A, "shop/a", MemberKind::Sidecar),
        (B, "shop/b", MemberKind::Sidecar),
        (GATEWAY, "istio-system/gateway", MemberKind::Router),
        (PLAIN, "shop/plain", MemberKind::Bare),
    ];
    for (address, name, kind) in members {
        ledger.know(ip(address), Member { name: name.into(), kind });
    }
    ledger
}

/// `(direction, source, upstream, requests, failures, mtls)`
type Edge = (Direction, Option<&'static str>, Option<&'static str>, u64, u64, u64);

fn report(edges: &[Edge]) -> EdgeReport {
    let totals = |(direction, source, upstream, requests, failures, mtls): &Edge| EdgeTotals {
        source_ip: source.map(ip),
        source_principal: None,
        direction: *direction,
        protocol: EdgeProtocol::Http,
        destination: "whatever".into(),
        upstream_ip: upstream.map(ip),
        requests: *requests,
        failures: *failures,
        mtls: *mtls,
        key_exchange: if *mtls > 0 { BTreeMap::from([("X25519MLKEM768".into(), *mtls)]) } else { BTreeMap::new() },
        latency_us: vec![(1000, *requests)],
    };
    EdgeReport { edges: edges.iter().map(totals).collect() }
}

fn check(reports: &[(&str, &[Edge])], wanted: &[(&str, &str, u64, u64)]) {
    let mut ledger = ledger();
    for (at, (address, edges)) in reports.iter().enumerate() {
        ledger.record((at as u64, 1), ip(address), report(edges));
    }
    let totals = ledger.totals();
    let seen: Vec<(&str, &str, u64, u64)> = totals
        .0
        .iter()
        .map(|(name, figures)| (&*name.source, &*name.destination, figures.requests, figures.failures))
        .collect();
    assert_eq!(seen, wanted, "{reports:?}");
}

#[test]
fn a_request_is_counted_once_at_its_destination() {
    use Direction::{Inbound, Outbound};
    // From a to b: both proxies report it.
    check(
        &[(A, &[(Outbound, None, Some(B), 10, 1, 10)]), (B, &[(Inbound, Some(A), None, 10, 1, 10)])],
        &[("shop/a", "shop/b", 10, 1)],
    );
    // To something without a proxy, and to the outside.
    check(
        &[(
            A,
            &[
                (Outbound, None, Some(PLAIN), 4, 0, 0),
                (Outbound, None, Some(OUTSIDE), 2, 2, 0),
                (Outbound, None, None, 1, 1, 0),
            ],
        )],
        &[("shop/a", "shop/plain", 4, 0), ("shop/a", "unknown", 3, 3)],
    );
    // From a plain client.
    check(&[(B, &[(Inbound, Some(OUTSIDE), None, 3, 0, 0)])], &[("unknown", "shop/b", 3, 0)]);
    // Through the gateway: an edge to it, and one from it.
    check(
        &[(GATEWAY, &[(Outbound, Some(OUTSIDE), Some(B), 5, 0, 5)]), (B, &[(Inbound, Some(GATEWAY), None, 5, 0, 5)])],
        &[("istio-system/gateway", "shop/b", 5, 0), ("unknown", "istio-system/gateway", 5, 0)],
    );
    // Two of three failures never arrived.
    check(
        &[(A, &[(Outbound, None, Some(B), 10, 3, 10)]), (B, &[(Inbound, Some(A), None, 8, 1, 8)])],
        &[("shop/a", "shop/b", 10, 3)],
    );
}

#[test]
fn what_a_dead_proxy_counted_still_counts() {
    let mut ledger = ledger();
    let arrivals = |count| report(&[(Direction::Inbound, Some(A), None, count, 0, count)]);
    ledger.record((1, 1), ip(B), arrivals(10));
    let before = ledger.totals();
    ledger.record((1, 1), ip(B), arrivals(12));
    ledger.close(1);
    ledger.record((1, 1), ip(B), arrivals(12));
    ledger.record((1, 2), ip(B), arrivals(5));
    assert_eq!(ledger.totals().sum().requests, 17);
    let since = ledger.totals().since(&before).sum();
    assert_eq!((since.requests, since.mtls, since.latency_us), (7, 7, vec![(1000, 7)]));
}
