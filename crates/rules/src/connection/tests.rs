//! Filter chains by Envoy's order, as tables.

use super::*;
use crate::trace::Silent;

fn facts<'a>(destination: &str, server_name: &'a str, protocols: &'a [&'a str]) -> ConnectionFacts<'a> {
    ConnectionFacts {
        destination: destination.parse().expect("an address"),
        source: "10.244.0.9:4711".parse().expect("an address"),
        transport: if server_name.is_empty() { Transport::Raw } else { Transport::Tls },
        server_name,
        protocols,
    }
}

fn nets(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|net| net.parse().expect("a network")).collect()
}

fn texts(list: &[&str]) -> Vec<Box<str>> {
    list.iter().map(|text| Box::from(*text)).collect()
}

fn any() -> ChainMatch {
    ChainMatch::default()
}

fn port(port: u16) -> ChainMatch {
    ChainMatch { destination_port: Some(port), ..any() }
}

fn check(chains: &[ChainMatch], cases: &[(ConnectionFacts<'_>, Option<usize>)]) {
    let table = ChainTable::compile(chains.to_vec()).expect("chains that differ");
    for (facts, wanted) in cases {
        assert_eq!(table.decide(facts, &mut Silent), *wanted, "{facts:?}");
    }
}

/// The inbound chains of a PERMISSIVE port with automatic protocol (Istio, `virtualInbound`).
#[test]
fn inbound_permissive() {
    let of = |transport, protocols: &[&str]| ChainMatch {
        transport: Some(transport),
        protocols: texts(protocols),
        ..port(9080)
    };
    let chains = [
        port(15006),
        of(Transport::Tls, &["istio-http/1.0", "istio-http/1.1", "istio-h2"]),
        of(Transport::Raw, &["http/1.1", "h2c"]),
        of(Transport::Tls, &["istio-peer-exchange", "istio"]),
        of(Transport::Raw, &[]),
        of(Transport::Tls, &[]),
        any(),
    ];
    check(
        &chains,
        &[
            (facts("10.0.0.1:15006", "", &[]), Some(0)),
            (facts("10.0.0.1:9080", "outbound_.9080_._.reviews", &["istio-http/1.1", "istio", "http/1.1"]), Some(1)),
            (facts("10.0.0.1:9080", "", &["http/1.1"]), Some(2)),
            (facts("10.0.0.1:9080", "x", &["istio-peer-exchange", "istio"]), Some(3)),
            (facts("10.0.0.1:9080", "", &[]), Some(4)),
            (facts("10.0.0.1:9080", "", &["http/1.0"]), Some(4)),
            (facts("10.0.0.1:9080", "x", &["h2"]), Some(5)),
            (facts("[fd77::1]:9080", "x", &[]), Some(5)),
            (facts("10.0.0.1:1", "", &["http/1.1"]), Some(6)),
        ],
    );
}

#[test]
fn a_step_once_taken_is_not_taken_back() {
    let named = |name: &str, transport| ChainMatch { server_names: texts(&[name]), transport, ..any() };
    // The exact name asks for plaintext: a TLS connection to it does not fall back to the suffix, nor to any.
    let chains = [named("a.test", Some(Transport::Raw)), named("*.test", None), any()];
    check(&chains, &[(facts("10.0.0.1:443", "a.test", &[]), None), (facts("10.0.0.1:443", "b.test", &[]), Some(1))]);
    // A chain for this port exists, but not for this address.
    let chains = [ChainMatch { destinations: nets(&["10.0.0.0/8"]), ..port(80) }, any()];
    check(&chains, &[(facts("192.168.0.1:80", "", &[]), None), (facts("192.168.0.1:81", "", &[]), Some(1))]);
}

#[test]
fn the_longest_network_and_the_longest_suffix() {
    let to = |list: &[&str]| ChainMatch { destinations: nets(list), ..any() };
    let chains = [to(&["10.0.0.0/8", "fd77::/16"]), to(&["10.1.0.7/16"]), to(&["10.1.2.3/32"]), any()];
    check(
        &chains,
        &[
            (facts("10.9.9.9:1", "", &[]), Some(0)),
            (facts("10.1.9.9:1", "", &[]), Some(1)),
            (facts("10.1.2.3:1", "", &[]), Some(2)),
            (facts("[::ffff:10.1.2.3]:1", "", &[]), Some(2)),
            (facts("[fd77::1]:1", "", &[]), Some(0)),
            (facts("[fd78::1]:1", "", &[]), Some(3)),
        ],
    );
    let named = |list: &[&str]| ChainMatch { server_names: texts(list), ..any() };
    let chains = [named(&["*.test", "a.b.test"]), named(&["*.b.test"]), any()];
    check(
        &chains,
        &[
            (facts("10.0.0.1:1", "a.b.test", &[]), Some(0)),
            (facts("10.0.0.1:1", "c.b.test", &[]), Some(1)),
            (facts("10.0.0.1:1", "b.test", &[]), Some(0)),
            (facts("10.0.0.1:1", "test", &[]), Some(2)),
            (facts("10.0.0.1:1", ".test", &[]), Some(2)),
            (facts("10.0.0.1:1", "", &[]), Some(2)),
        ],
    );
}

#[test]
fn sources_and_the_order_of_the_clients_protocols() {
    let chains = [
        ChainMatch { sources: nets(&["10.244.0.0/16"]), source_ports: vec![4711], ..any() },
        ChainMatch { sources: nets(&["10.244.0.0/16"]), ..any() },
        ChainMatch { protocols: texts(&["h2"]), ..any() },
        ChainMatch { protocols: texts(&["http/1.1"]), ..any() },
    ];
    check(
        &chains,
        &[
            (facts("10.0.0.1:1", "", &[]), Some(0)),
            (facts("10.0.0.1:1", "x", &["h2", "http/1.1"]), Some(2)),
            (facts("10.0.0.1:1", "x", &["http/1.1", "h2"]), Some(3)),
            (facts("10.0.0.1:1", "x", &["spdy"]), Some(0)),
        ],
    );
}

#[test]
fn an_open_network_is_the_same_as_none() {
    let chains = [
        ChainMatch { destinations: nets(&["0.0.0.0/0"]), server_names: texts(&["a.test"]), ..any() },
        ChainMatch { server_names: texts(&["b.test"]), ..any() },
    ];
    check(
        &chains,
        &[
            (facts("10.0.0.1:1", "a.test", &[]), Some(0)),
            (facts("10.0.0.1:1", "b.test", &[]), Some(1)),
            (facts("[fd77::1]:1", "a.test", &[]), None),
            (facts("[fd77::1]:1", "b.test", &[]), Some(1)),
        ],
    );
}

#[test]
fn chains_that_are_refused() {
    let many = ChainMatch {
        server_names: (0..300).map(|n| format!("{n}.test").into()).collect(),
        source_ports: (0..300).collect(),
        ..any()
    };
    let named = |name: &str| ChainMatch { server_names: texts(&[name]), ..any() };
    let cases = [
        (vec![any(), port(1), any()], ChainError::Duplicate { first: 0, second: 2 }),
        (vec![named("A.test"), named("a.test")], ChainError::Duplicate { first: 0, second: 1 }),
        (
            vec![
                ChainMatch { destinations: nets(&["10.0.0.0/8"]), ..any() },
                ChainMatch { destinations: nets(&["10.1.1.1/8", "fd77::/16"]), ..any() },
            ],
            ChainError::Duplicate { first: 0, second: 1 },
        ),
        (
            vec![ChainMatch { destinations: nets(&["::/0"]), ..any() }, any()],
            ChainError::Duplicate { first: 0, second: 1 },
        ),
        (vec![any(), named("*")], ChainError::ServerName { chain: 1, name: "*".into() }),
        (vec![named("*a.test")], ChainError::ServerName { chain: 0, name: "*a.test".into() }),
        (vec![named("")], ChainError::ServerName { chain: 0, name: "".into() }),
        (vec![many], ChainError::TooMany),
    ];
    for (chains, wanted) in cases {
        assert_eq!(ChainTable::compile(chains).expect_err("chains that must be refused"), wanted);
    }
    // The same condition twice in one chain is no conflict.
    let chains = vec![ChainMatch { protocols: texts(&["h2", "h2"]), ..any() }];
    assert!(ChainTable::compile(chains).is_ok());
}
