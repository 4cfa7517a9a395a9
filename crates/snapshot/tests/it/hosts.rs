//! Virtual hosts that are resources of their own.

use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use mizzen_rules::Silent;
use mizzen_snapshot::{Lookup, RouteConfig};

use crate::given::{Proxy, fixed, host, refused, routes, to, vhds};

fn config(proxy: &Proxy) -> Arc<RouteConfig> {
    proxy.snapshot.route_config("80").known().cloned().expect("route configuration 80 is there")
}

/// The host that serves an authority.
fn serving(proxy: &Proxy, authority: &str) -> Option<String> {
    let config = config(proxy);
    config.hosts.decide(authority, &mut Silent).map(|host| host.name.to_string())
}

#[test]
fn hosts_come_change_and_go() {
    let mut proxy = Proxy::default();
    let a = host("a", &["a", "a.test"], &[to("x")]);
    proxy.add("80/a", &a);
    assert_eq!(proxy.store.waiting(), ["virtual host 80/a waits for route configuration 80 with vhds"]);
    proxy.add("80", &vhds("80"));
    assert!(config(&proxy).on_demand_hosts);
    assert_eq!(serving(&proxy, "a.test:80"), Some("a".into()));

    proxy.add_all(&[("80/b", &host("b", &["b"], &[])), ("81/c", &host("c", &["c"], &[]))]);
    assert_eq!((serving(&proxy, "b"), serving(&proxy, "c")), (Some("b".into()), None));
    proxy.add("80/a", &host("a2", &["a"], &[to("x")]));
    assert_eq!((serving(&proxy, "a"), serving(&proxy, "a.test")), (Some("a2".into()), None));
    proxy.remove::<VirtualHost>(&["80/a", "81/c"]);
    assert_eq!((serving(&proxy, "a"), serving(&proxy, "b")), (None, Some("b".into())));
    assert!(proxy.store.waiting().is_empty());
}

#[test]
fn a_domain_moves_in_one_update() {
    let mut proxy = Proxy::default();
    proxy.add("80", &vhds("80"));
    proxy.add_all(&[("80/a", &host("a", &["x", "y"], &[])), ("80/b", &host("b", &["z"], &[]))]);
    proxy.add_all(&[("80/a", &host("a", &["z"], &[])), ("80/b", &host("b", &["x", "y"], &[]))]);
    assert_eq!((serving(&proxy, "x"), serving(&proxy, "z")), (Some("b".into()), Some("a".into())));
}

#[test]
fn a_domain_that_is_taken_makes_the_newcomer_wait() {
    let mut proxy = Proxy::default();
    proxy.add("80", &vhds("80"));
    proxy.add_all(&[("80/a", &host("a", &["x"], &[])), ("80/b", &host("b", &["y"], &[]))]);
    proxy.add("80/b", &host("b", &["z", "X"], &[]));
    let waiting =
        "virtual host 80/b waits for a change elsewhere: domain `X` is served by another virtual host already";
    assert_eq!(proxy.store.waiting(), [waiting]);
    assert_eq!((serving(&proxy, "y"), serving(&proxy, "z")), (Some("b".into()), None), "the old version stays");
    proxy.remove::<VirtualHost>(&["80/a"]);
    assert_eq!((serving(&proxy, "x"), serving(&proxy, "y")), (Some("b".into()), None));
    assert!(proxy.store.waiting().is_empty());
}

#[test]
fn a_new_version_waits_for_its_cluster_also_when_the_configuration_around_it_changes() {
    let mut proxy = Proxy::default();
    proxy.add("x", &fixed("x"));
    proxy.add("80", &vhds("80"));
    proxy.add("80/a", &host("a", &["a"], &[to("x")]));
    proxy.add("80/a", &host("a2", &["a"], &[to("y")]));
    assert_eq!(proxy.store.waiting(), ["virtual host 80/a waits for cluster y"]);
    proxy.add("80", &RouteConfiguration { virtual_hosts: vec![host("inline", &["*"], &[])], ..vhds("80") });
    assert_eq!((serving(&proxy, "a"), serving(&proxy, "other")), (Some("a".into()), Some("inline".into())));
    proxy.add("y", &fixed("y"));
    assert_eq!(serving(&proxy, "a"), Some("a2".into()));
    // The clusters of hosts in force are in use; those of versions replaced are not.
    proxy.remove::<envoy_types::pb::envoy::config::cluster::v3::Cluster>(&["x", "y"]);
    assert!(!proxy.has_cluster("x") && proxy.has_cluster("y"));
    proxy.remove::<RouteConfiguration>(&["80"]);
    assert!(matches!(proxy.snapshot.route_config("80"), Lookup::Absent));
    assert!(!proxy.has_cluster("y"), "{:?}", proxy.store.waiting());
}

#[test]
fn a_configuration_without_vhds_has_no_hosts_of_their_own() {
    let mut proxy = Proxy::default();
    proxy.add("80", &vhds("80"));
    proxy.add("80/a", &host("a", &["a"], &[]));
    proxy.add("80", &routes("80", &[host("inline", &["b"], &[])]));
    assert_eq!((serving(&proxy, "a"), serving(&proxy, "b")), (None, Some("inline".into())));
    proxy.add("80", &vhds("80"));
    assert_eq!((serving(&proxy, "a"), serving(&proxy, "b")), (Some("a".into()), None));
}

#[test]
fn one_changed_host_of_a_thousand_is_compiled_alone() {
    let mut proxy = Proxy::default();
    proxy.add("x", &fixed("x"));
    proxy.add("80", &vhds("80"));
    let names: Vec<String> = (0..1000).map(|n| format!("80/h{n}")).collect();
    let hosts: Vec<VirtualHost> = (0..1000).map(|n| host(&format!("h{n}"), &[&format!("h{n}.test")], &[])).collect();
    let mut all: Vec<(&str, &VirtualHost)> = names.iter().map(String::as_str).zip(&hosts).collect();
    proxy.add_all(&all);
    let before = config(&proxy);
    let changed = host("h7", &["h7.test"], &[to("x")]);
    all[7].1 = &changed;
    proxy.add_all(&all);
    let after = config(&proxy);
    let is_kept = |n: &u32| {
        let authority = format!("h{n}.test");
        let host = |config: &RouteConfig| config.hosts.decide(&authority, &mut Silent).cloned();
        host(&before).zip(host(&after)).is_some_and(|(before, after)| Arc::ptr_eq(&before, &after))
    };
    assert_eq!((0..1000).filter(is_kept).count(), 999);
    assert_eq!(after.virtual_hosts().count(), 1000);
}

#[test]
fn names_and_domains_that_are_refused() {
    for name in ["80", "/a", "80/"] {
        assert_eq!(refused(name, &host("a", &["a"], &[])), "expected a resource named ROUTECONFIG/HOST");
    }
    let cases = [
        (host("", &["a"], &[]), "name: must not be empty"),
        (host("a", &[], &[]), "domains: expected at least one"),
        (host("a", &["a", "A"], &[]), "domains: domain `A` is served by another virtual host already"),
        (host("a", &["a*b"], &[]), "domains: domain `a*b` has a `*` that is neither its first nor its last character"),
    ];
    for (host, wanted) in cases {
        assert_eq!(refused("80/a", &host), wanted);
    }
}
