//! The walk: listener, chain, host, route, cluster, as the proxy and the explanation take it.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::{
    cluster::v3::Cluster,
    listener::v3::{FilterChain, FilterChainMatch, Listener},
    route::v3::{DirectResponseAction, Route, RouteMatch, WeightedCluster, route::Action, route_match::PathSpecifier},
};
use http::HeaderMap;
use mizzen_rules::{ConnectionFacts, RequestFacts, Silent, Step, Trace, Transport};
use mizzen_snapshot::{Handler, walk};

use crate::given::{Proxy, chain, fixed, host, listener, manager, no, routes, tcp, to, vhds, yes};

#[derive(Default)]
struct Heard(Vec<String>);

impl Trace for Heard {
    fn step(&mut self, step: Step<'_>) {
        self.0.push(match step {
            Step::Listener { name } => format!("listener {name}"),
            Step::Narrow { .. } => return,
            Step::Chain { name, chosen } => format!("chain {name} {chosen}"),
            Step::Host { name, domain } => format!("host {name} by {domain}"),
            Step::Route { index, mismatch } => format!("route {index} {}", mismatch.unwrap_or("matches")),
            Step::Cluster { name } => format!("cluster {name}"),
        });
    }
}

fn prefix(path: &str, route: Route) -> Route {
    let path_specifier = Some(PathSpecifier::Prefix(path.into()));
    Route { r#match: Some(RouteMatch { path_specifier, ..RouteMatch::default() }), ..route }
}

/// A proxy with an outbound side: HTTP on port 80, everything else passed on.
fn proxy() -> Proxy {
    let mut proxy = Proxy::default();
    proxy.add_all(&[("a", &fixed("a")), ("PassthroughCluster", &fixed("PassthroughCluster"))]);
    let direct = Action::DirectResponse(DirectResponseAction { status: 502, ..DirectResponseAction::default() });
    let service = host(
        "a:80",
        &["a", "a.default"],
        &[
            prefix("/direct", Route { action: Some(direct), ..to("a") }),
            prefix("/gone", to("gone")),
            prefix("/a", to("a")),
        ],
    );
    proxy.add("80", &vhds("80"));
    proxy.add("80/a:80", &service);
    let http = FilterChain {
        filter_chain_match: Some(FilterChainMatch {
            transport_protocol: "raw_buffer".into(),
            application_protocols: vec!["http/1.1".into(), "h2c".into()],
            ..FilterChainMatch::default()
        }),
        ..chain("0.0.0.0_80", &manager("80"))
    };
    let catch_all = chain("catchall", &tcp("PassthroughCluster"));
    let bound = Listener {
        use_original_dst: yes(),
        bind_to_port: yes(),
        ..listener("virtualOutbound", "0.0.0.0:15001", std::slice::from_ref(&catch_all))
    };
    let wildcard =
        Listener { default_filter_chain: Some(catch_all.clone()), ..listener("0.0.0.0_80", "0.0.0.0:80", &[http]) };
    proxy.add_all(&[
        ("virtualOutbound", &bound),
        ("0.0.0.0_80", &wildcard),
        ("10.96.0.1_80", &listener("10.96.0.1_80", "10.96.0.1:80", std::slice::from_ref(&catch_all))),
        ("v6", &listener("v6", "[::]:80", &[catch_all])),
    ]);
    proxy
}

#[test]
fn the_listener_of_a_destination() {
    let mut proxy = proxy();
    let inbound = Listener { traffic_direction: 1, ..listener("in", "0.0.0.0:9080", &[chain("c", &tcp("a"))]) };
    proxy.add("in", &inbound);
    let snapshot = &proxy.snapshot;
    let accepted_on = snapshot.listener("virtualOutbound").expect("the listener is there");
    let cases = [
        ("10.96.0.1:80", "10.96.0.1_80"),
        ("10.96.0.2:80", "0.0.0.0_80"),
        ("[::ffff:10.96.0.1]:80", "10.96.0.1_80"),
        ("[fd77::1]:80", "v6"),
        ("10.96.0.2:81", "virtualOutbound"),
        // Inbound listeners are for inbound connections.
        ("10.96.0.2:9080", "virtualOutbound"),
    ];
    for (destination, wanted) in cases {
        let destination: SocketAddr = destination.parse().expect("an address");
        assert_eq!(&*snapshot.listener_for(accepted_on, destination).name, wanted, "{destination}");
    }
    let other = snapshot.listener("v6").expect("the listener is there");
    let destination = "10.96.0.1:80".parse().expect("an address");
    assert_eq!(&*snapshot.listener_for(other, destination).name, "v6", "it does not look for a better one");
    assert_eq!(snapshot.bound_listeners().count(), 1);

    proxy.remove::<Listener>(&["10.96.0.1_80"]);
    let moved = Listener { bind_to_port: no(), ..listener("v6", "[::]:81", &[chain("c", &tcp("a"))]) };
    proxy.add("v6", &moved);
    let accepted_on = proxy.snapshot.listener("virtualOutbound").expect("the listener is there");
    let listener = |destination: &str| {
        let destination = destination.parse().expect("an address");
        proxy.snapshot.listener_for(accepted_on, destination).name.to_string()
    };
    assert_eq!(listener("10.96.0.1:80"), "0.0.0.0_80");
    assert_eq!((listener("[fd77::1]:80"), listener("[fd77::1]:81")), ("virtualOutbound".into(), "v6".into()));
}

#[test]
fn connections() {
    let proxy = proxy();
    let listener = proxy.snapshot.listener("0.0.0.0_80").expect("the listener is there");
    let facts = |protocols| ConnectionFacts {
        destination: "10.96.0.1:80".parse().expect("an address"),
        source: "10.244.0.1:4711".parse().expect("an address"),
        transport: Transport::Raw,
        server_name: "",
        protocols,
    };
    let mut heard = Heard::default();
    let plan = walk::connection(&proxy.snapshot, listener, &facts(&["http/1.1"]), &mut heard);
    assert_eq!(plan.chain.as_ref().map(|chain| &*chain.name), Some("0.0.0.0_80"));
    assert_eq!(heard.0, ["listener 0.0.0.0_80", "chain 0.0.0.0_80 true", "chain catchall false"]);
    let plan = walk::connection(&proxy.snapshot, listener, &facts(&[]), &mut Silent);
    assert_eq!(plan.chain.as_ref().map(|chain| &*chain.name), Some("catchall"));
}

/// What the walk says of `GET http://AUTHORITY/PATH`, and what it told on the way.
fn request(proxy: &Proxy, authority: &str, path: &str, random: u64) -> (String, Vec<String>) {
    let listener = proxy.snapshot.listener("0.0.0.0_80").expect("the listener is there");
    let Handler::Http(manager) = &listener.filter_chains[0].handler else { panic!("no connection manager") };
    let headers = HeaderMap::new();
    let facts = RequestFacts { method: "GET", scheme: "http", authority, path, query: None, headers: &headers };
    let mut heard = Heard::default();
    let plan = walk::request(&proxy.snapshot, manager, &facts, random, &mut heard);
    let silent = walk::request(&proxy.snapshot, manager, &facts, random, &mut Silent);
    assert_eq!(format!("{plan:?}"), format!("{silent:?}"), "a trace changes nothing");
    let plan = match plan {
        walk::RequestPlan::NoRoute => "no route".into(),
        walk::RequestPlan::Direct { host, .. } => format!("{} answers", host.name),
        walk::RequestPlan::Forward { host, cluster, target, .. } => {
            format!("{} to {} ({target})", host.name, cluster.spec.name)
        }
        walk::RequestPlan::NoCluster { host, target, .. } => format!("{} to nowhere ({target})", host.name),
    };
    (plan, heard.0)
}

#[test]
fn requests() {
    let mut proxy = proxy();
    let cases = [
        ("a:80", "/a/b", "a:80 to a (0)"),
        ("A.default", "/direct", "a:80 answers"),
        ("a", "/gone", "a:80 to nowhere (0)"),
        ("a", "/other", "no route"),
        ("b", "/a", "no route"),
        ("", "", "no route"),
    ];
    for (authority, path, wanted) in cases {
        assert_eq!(request(&proxy, authority, path, 0).0, wanted, "{authority}{path}");
    }
    let (_, told) = request(&proxy, "a", "/a", 0);
    assert_eq!(told, ["host a:80 by a", "route 0 path", "route 1 path", "route 2 matches", "cluster a"]);

    let weight = |name: &str| envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight {
        name: name.into(),
        weight: Some(envoy_types::pb::google::protobuf::UInt32Value { value: 1 }),
        ..Default::default()
    };
    let weighted = WeightedCluster { clusters: vec![weight("a"), weight("b")], ..WeightedCluster::default() };
    let action = envoy_types::pb::envoy::config::route::v3::RouteAction {
        cluster_specifier: Some(
            envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier::WeightedClusters(weighted),
        ),
        ..Default::default()
    };
    proxy.add("b", &fixed("b"));
    proxy.add("80/a:80", &host("a:80", &["a"], &[Route { action: Some(Action::Route(action)), ..to("a") }]));
    assert_eq!(request(&proxy, "a", "/", 0).0, "a:80 to a (0)");
    assert_eq!(request(&proxy, "a", "/", u64::MAX).0, "a:80 to b (1)");
}

#[test]
fn a_listener_may_bring_its_routes() {
    use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
        HttpConnectionManager, http_connection_manager::RouteSpecifier,
    };
    let mut proxy = Proxy::default();
    proxy.add("a", &fixed("a"));
    let inline = routes("inline", &[host("h", &["*"], &[to("a")])]);
    let manager = HttpConnectionManager { route_specifier: Some(RouteSpecifier::RouteConfig(inline)), ..manager("") };
    proxy.add("0.0.0.0_80", &listener("0.0.0.0_80", "0.0.0.0:80", &[chain("c", &manager)]));
    assert_eq!(request(&proxy, "", "/", 0).0, "h to a (0)", "HTTP/1.0 names no host");
    proxy.remove::<Cluster>(&["a"]);
    assert!(proxy.has_cluster("a"), "inline routes name it");
}
