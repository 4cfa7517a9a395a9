//! What comes into force when: make before break.

use std::sync::Arc;

use envoy_types::pb::envoy::config::{
    cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener, route::v3::RouteConfiguration,
};
use mizzen_snapshot::{Lookup, Snapshot, Store, Update};

use crate::given::{Proxy, chain, cluster, fixed, host, listener, load, manager, routes, tcp, to};

fn route_names(proxy: &Proxy, config: &str) -> Vec<String> {
    let Lookup::Known(config) = proxy.snapshot.route_config(config) else { return Vec::new() };
    let routes = config.virtual_hosts().flat_map(|host| &host.routes);
    routes.map(|route| route.name.to_string()).collect()
}

fn is_same_cluster(before: &Snapshot, after: &Snapshot, name: &str) -> bool {
    let both = before.cluster(name).known().zip(after.cluster(name).known());
    both.is_some_and(|(before, after)| Arc::ptr_eq(before, after))
}

#[test]
fn a_cluster_waits_for_its_endpoints() {
    let mut proxy = Proxy::default();
    proxy.add("a", &cluster("a"));
    assert!(!proxy.has_cluster("a"));
    assert_eq!(proxy.store.waiting(), ["cluster a waits for its endpoints"]);
    proxy.add("a", &load("a", &[]));
    assert!(proxy.has_cluster("a"), "no endpoints are an answer, too");
    assert!(proxy.store.waiting().is_empty());
}

#[test]
fn endpoints_may_have_another_name_and_several_users() {
    let mut proxy = Proxy::default();
    let other = |name| {
        let mut cluster = cluster(name);
        if let Some(eds) = &mut cluster.eds_cluster_config {
            eds.service_name = "shared".into();
        }
        cluster
    };
    proxy.add_all(&[("a", &other("a")), ("b", &other("b"))]);
    proxy.add("shared", &load("shared", &["10.0.0.1:80"]));
    assert!(proxy.has_cluster("a") && proxy.has_cluster("b"));
    proxy.remove::<Cluster>(&["a"]);
    proxy.add("shared", &load("shared", &["10.0.0.2:80", "10.0.0.3:80"]));
    let b = proxy.cluster("b").expect("b is there");
    assert_eq!(b.endpoints.list.len(), 2);
    assert!(!proxy.has_cluster("a"));
}

#[test]
fn new_endpoints_leave_the_rest_alone() {
    let mut proxy = Proxy::default();
    proxy.add("a", &cluster("a"));
    proxy.add("a", &load("a", &["10.0.0.1:80"]));
    let before = proxy.cluster("a").expect("a is there");
    proxy.add("a", &load("a", &["10.0.0.2:80"]));
    let after = proxy.cluster("a").expect("a is there");
    assert!(Arc::ptr_eq(&before.spec, &after.spec));
    assert!(!Arc::ptr_eq(&before.endpoints, &after.endpoints));
    proxy.remove::<ClusterLoadAssignment>(&["a"]);
    let last = proxy.cluster("a").expect("a is there");
    assert!(Arc::ptr_eq(&last.endpoints, &after.endpoints), "the last endpoints stay while the cluster does");
}

#[test]
fn a_first_version_may_name_what_nobody_knows() {
    let mut proxy = Proxy::default();
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("nowhere")])]));
    assert_eq!(route_names(&proxy, "80"), ["to-nowhere"]);
}

#[test]
fn a_first_version_waits_for_a_cluster_that_is_on_its_way() {
    let mut proxy = Proxy::default();
    proxy.add("a", &cluster("a"));
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("a")])]));
    assert!(route_names(&proxy, "80").is_empty());
    assert_eq!(
        proxy.store.waiting(),
        ["cluster a waits for its endpoints", "route configuration 80 waits for cluster a"]
    );
    proxy.add("a", &load("a", &["10.0.0.1:80"]));
    assert_eq!(route_names(&proxy, "80"), ["to-a"]);
}

#[test]
fn a_new_version_waits_for_its_clusters_and_the_old_one_stays() {
    let mut proxy = Proxy::default();
    proxy.add("a", &fixed("a"));
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("a")])]));
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("b")])]));
    assert_eq!(route_names(&proxy, "80"), ["to-a"]);
    assert_eq!(proxy.store.waiting(), ["route configuration 80 waits for cluster b"]);
    // Another version that can be had takes its place…
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("a"), to("a")])]));
    assert_eq!(route_names(&proxy, "80"), ["to-a", "to-a"]);
    assert!(proxy.store.waiting().is_empty());
    // … or the cluster arrives.
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("b")])]));
    proxy.add("b", &cluster("b"));
    assert_eq!(route_names(&proxy, "80"), ["to-a", "to-a"]);
    proxy.add("b", &load("b", &["10.0.0.1:80"]));
    assert_eq!(route_names(&proxy, "80"), ["to-b"]);
}

#[test]
fn a_gap_that_was_there_before_holds_nothing_back() {
    let mut proxy = Proxy::default();
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("nowhere")])]));
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("nowhere"), to("nowhere")])]));
    assert_eq!(route_names(&proxy, "80").len(), 2);
}

#[test]
fn a_removed_cluster_stays_while_a_route_names_it() {
    let mut proxy = Proxy::default();
    proxy.add_all(&[("a", &fixed("a")), ("b", &fixed("b"))]);
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("a")])]));
    proxy.add("l", &listener("l", "10.0.0.1:9", &[chain("c", &tcp("a"))]));
    proxy.remove::<Cluster>(&["a"]);
    assert!(proxy.has_cluster("a"));
    assert_eq!(proxy.store.waiting(), ["cluster a was removed, and stays until nothing in force names it"]);
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("b")])]));
    assert!(proxy.has_cluster("a"), "the listener names it still");
    proxy.remove::<Listener>(&["l"]);
    assert!(!proxy.has_cluster("a"));
    assert!(proxy.store.waiting().is_empty());
}

#[test]
fn a_cluster_that_comes_back_in_time_stays() {
    let mut proxy = Proxy::default();
    proxy.add("a", &fixed("a"));
    proxy.add("80", &routes("80", &[host("h", &["*"], &[to("a")])]));
    proxy.remove::<Cluster>(&["a"]);
    proxy.add("a", &fixed("a"));
    proxy.remove::<RouteConfiguration>(&["80"]);
    assert!(proxy.has_cluster("a"));
    assert!(proxy.store.waiting().is_empty());
}

#[test]
fn a_listener_waits_for_its_routes_and_they_for_its_end() {
    let mut proxy = Proxy::default();
    proxy.add("l", &listener("l", "0.0.0.0:80", &[chain("c", &manager("80"))]));
    assert!(proxy.snapshot.listener("l").is_none());
    assert_eq!(proxy.store.waiting(), ["listener l waits for route configuration 80"]);
    proxy.add("80", &routes("80", &[]));
    assert!(proxy.snapshot.listener("l").is_some());

    proxy.remove::<RouteConfiguration>(&["80"]);
    assert!(matches!(proxy.snapshot.route_config("80"), Lookup::Known(_)));
    assert_eq!(
        proxy.store.waiting(),
        ["route configuration 80 was removed, and stays until nothing in force names it"]
    );
    proxy.add("l", &listener("l", "0.0.0.0:80", &[chain("c", &manager("81"))]));
    assert!(matches!(proxy.snapshot.route_config("80"), Lookup::Known(_)), "the old listener stays until 81 is there");
    proxy.add("81", &routes("81", &[]));
    assert!(matches!(proxy.snapshot.route_config("80"), Lookup::Absent));
    proxy.remove::<Listener>(&["l"]);
    assert_eq!(proxy.snapshot.listeners().count(), 0);
}

#[test]
fn nothing_new_is_no_generation() {
    let mut proxy = Proxy::default();
    assert!(!proxy.publish());
    proxy.add_all(&[("a", &fixed("a")), ("b", &fixed("b"))]);
    // The same bytes, though the version is another.
    proxy.apply(&[("a", &fixed("a"))]);
    assert!(!proxy.publish());
    let versions: Vec<String> = proxy.store.dump().into_iter().map(|(_, resource)| resource.version).collect();
    assert_eq!(versions, ["2", "1"]);
}

#[test]
fn a_publication_costs_what_changed() {
    let mut proxy = Proxy::default();
    let names: Vec<String> = (0..1000).map(|n| format!("c{n}")).collect();
    let clusters: Vec<Cluster> = names.iter().map(|name| fixed(name)).collect();
    let all: Vec<(&str, &Cluster)> = names.iter().map(String::as_str).zip(&clusters).collect();
    proxy.add_all(&all);
    let before = Arc::clone(&proxy.snapshot);
    let changed = Cluster { alt_stat_name: "x".into(), ..fixed("c500") };
    let mut again = all.clone();
    again[500].1 = &changed;
    proxy.add_all(&again);
    let is_kept = |name: &&String| is_same_cluster(&before, &proxy.snapshot, name);
    assert_eq!(names.iter().filter(is_kept).count(), 999);
}

#[test]
fn a_refused_version_leaves_the_last_good_one() {
    let mut proxy = Proxy::default();
    proxy.add_all(&[("a", &fixed("a")), ("b", &fixed("b"))]);
    let before = Arc::clone(&proxy.snapshot);
    let bad = Cluster { track_timeout_budgets: true, lb_policy: 5, ..fixed("a") };
    let good = Cluster { track_timeout_budgets: true, ..fixed("b") };
    let applied = proxy.apply(&[("a", &bad), ("b", &good)]);
    assert_eq!(applied.accepted, 1);
    assert_eq!(applied.rejected.len(), 1);
    assert_eq!(applied.rejected[0].name, "a");
    assert_eq!(applied.rejected[0].message, "lb_policy: MAGLEV is not supported in this release");
    assert!(proxy.publish());
    let same = |name| is_same_cluster(&before, &proxy.snapshot, name);
    assert!(same("a") && !same("b"));
    assert_eq!(proxy.store.dump().len(), 2);
}

#[test]
fn two_listeners_do_not_share_an_address() {
    let mut proxy = Proxy::default();
    proxy.add("80", &routes("80", &[]));
    let http = |name| listener(name, "10.0.0.1:80", &[chain("c", &manager("80"))]);
    proxy.add("m", &http("m"));
    proxy.add("l", &http("l"));
    assert_eq!(proxy.store.waiting(), ["listener l waits for an address that listener m has"]);
    proxy.remove::<Listener>(&["m"]);
    assert!(proxy.snapshot.listener("l").is_some());
}

#[test]
fn patience_can_end() {
    let mut proxy = Proxy::default();
    proxy.add("a", &cluster("a"));
    proxy.add("l", &listener("l", "0.0.0.0:80", &[chain("c", &manager("80"))]));
    proxy.add("m", &listener("m", "10.0.0.1:81", &[chain("c", &tcp("a"))]));
    assert!(proxy.store.publish().is_none());
    let snapshot = proxy.store.publish_incomplete().expect("a Snapshot with what there is");
    assert!(matches!(snapshot.cluster("a"), Lookup::Known(_)));
    assert!(snapshot.listener("l").is_some() && snapshot.listener("m").is_some());
    assert!(proxy.store.waiting().is_empty());
}

#[test]
fn other_types_are_refused_by_name() {
    let resource = mizzen_snapshot::Resource { name: "x".into(), version: String::new(), body: bytes::Bytes::new() };
    let update =
        Update { type_url: "type.googleapis.com/a.B".into(), added: vec![resource], removed: vec!["y".into()] };
    let applied = Store::default().apply(update);
    assert_eq!(applied.rejected[0].message, "type `type.googleapis.com/a.B` is not known here");
}
