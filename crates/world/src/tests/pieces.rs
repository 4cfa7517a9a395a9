//! Small pure functions, by table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::name::{covering_patterns, expand_host, host_covers, intersect_hosts};
use crate::service::Protocol;
use crate::vip::{CLUSTER_IPS, allocate};
use crate::visibility::Visibility;

#[test]
fn short_hosts_belong_to_the_namespace_of_the_rule() {
    let cases = [
        ("reviews", "reviews.shop.svc.cluster.local"),
        ("Reviews", "reviews.shop.svc.cluster.local"),
        ("reviews.other", "reviews.other"),
        ("reviews.other.svc.cluster.local", "reviews.other.svc.cluster.local"),
        ("*", "*"),
        ("*.example.com", "*.example.com"),
        ("10.0.0.1", "10.0.0.1"),
    ];
    for (written, full) in cases {
        assert_eq!(&*expand_host(written, "shop", "cluster.local"), full, "{written}");
    }
}

#[test]
fn wildcards_cover_and_intersect() {
    let cases = [
        ("a.com", "a.com", true, Some("a.com")),
        ("*", "a.com", true, Some("a.com")),
        ("*.com", "a.com", true, Some("a.com")),
        ("*.com", "*.a.com", true, Some("*.a.com")),
        ("*.a.com", "*.com", false, Some("*.a.com")),
        ("*.a.com", "a.com", false, None),
        ("b.com", "a.com", false, None),
        ("*", "*", true, Some("*")),
    ];
    for (pattern, host, covers, both) in cases {
        assert_eq!(host_covers(pattern, host), covers, "{pattern} {host}");
        let (a, b): (Arc<str>, Arc<str>) = (pattern.into(), host.into());
        assert_eq!(intersect_hosts(&a, &b).map(|host| &**host), both, "{pattern} {host}");
    }
}

#[test]
fn patterns_that_cover_a_host_come_most_specific_first() {
    let of = |host: &str| covering_patterns(host).collect::<Vec<_>>();
    assert_eq!(of("a.b.c"), ["a.b.c", "*.b.c", "*.c", "*"]);
    assert_eq!(of("*.b.c"), ["*.b.c", "*.c", "*"]);
    assert_eq!(of("*"), ["*"]);
    for pattern in of("a.b.c") {
        assert!(host_covers(&pattern, "a.b.c"), "{pattern}");
    }
}

#[test]
fn protocols_are_chosen_as_istio_does() {
    let cases = [
        ("TCP", None, "http", 1, Protocol::Http),
        ("TCP", None, "http-web", 1, Protocol::Http),
        ("TCP", None, "HTTP2", 1, Protocol::Http2),
        ("TCP", None, "grpc", 1, Protocol::Grpc),
        ("TCP", None, "grpc-web-x", 1, Protocol::GrpcWeb),
        ("TCP", None, "mysql", 1, Protocol::Tcp),
        ("TCP", None, "https", 1, Protocol::Tls),
        ("TCP", None, "web", 1, Protocol::Auto),
        ("TCP", None, "", 80, Protocol::Auto),
        ("TCP", None, "", 3306, Protocol::Tcp),
        ("TCP", Some("http"), "tcp", 1, Protocol::Http),
        ("TCP", Some("kubernetes.io/h2c"), "tcp", 1, Protocol::Http2),
        ("TCP", Some("kubernetes.io/wss"), "http", 1, Protocol::Tls),
        ("UDP", Some("http"), "http", 1, Protocol::Udp),
    ];
    for (transport, app, name, number, wanted) in cases {
        assert_eq!(Protocol::of_service_port(transport, app, name, number), wanted, "{app:?} {name} {number}");
    }
}

#[test]
fn visibility_reads_export_to() {
    let own: Arc<str> = "a".into();
    let read = |entries: &[&str]| Visibility::from_entries(entries.iter().copied(), &own, &Visibility::Public);
    let cases: [(&[&str], &str, bool); 8] = [
        (&[], "b", true),
        (&["*"], "b", true),
        (&["."], "a", true),
        (&["."], "b", false),
        (&["~"], "a", false),
        (&["b", "c"], "b", true),
        (&["b", "c"], "a", false),
        (&["b", "*"], "z", true),
    ];
    for (entries, client, seen) in cases {
        assert_eq!(read(entries).includes(client), seen, "{entries:?} {client}");
    }
    assert!(read(&[]).contains(&read(&["."])));
    assert!(!read(&["."]).contains(&read(&[])));
    assert!(read(&["a", "b"]).contains(&read(&["."])));
}

#[test]
fn given_addresses_depend_on_the_name_alone() {
    let names = |list: &[&str]| list.iter().map(|name| Arc::from(*name)).collect::<BTreeSet<Arc<str>>>();
    let none = BTreeSet::new();
    let two = allocate(CLUSTER_IPS, &names(&["a/x", "b/y"]), &none);
    let more = allocate(CLUSTER_IPS, &names(&["a/w", "a/x", "b/y", "c/z"]), &none);
    for (name, ip) in &two {
        assert_eq!(more.get(name), Some(ip));
        assert_eq!(ip.octets()[..2], [10, 96]);
    }
    let taken: BTreeSet<Ipv4Addr> = [two["a/x"]].into();
    let moved = allocate(CLUSTER_IPS, &names(&["a/x"]), &taken);
    assert_eq!(u32::from(moved["a/x"]), u32::from(two["a/x"]) + 1, "the next free one");
    let many: BTreeSet<Arc<str>> = (0..70_000).map(|n| format!("n/{n}").into()).collect();
    let given: BTreeMap<_, _> = allocate(CLUSTER_IPS, &many, &none);
    assert_eq!(given.values().collect::<BTreeSet<_>>().len(), given.len());
    assert_eq!(given.len(), 0x1_0000 - 3, "a full block leaves the rest without");
}
