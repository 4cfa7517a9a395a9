//! Random histories: whatever came and went, what is in force stays closed, and ends as what was last said.

use std::{collections::BTreeMap, sync::Arc};

use envoy_types::pb::envoy::config::{
    cluster::v3::Cluster,
    endpoint::v3::ClusterLoadAssignment,
    listener::v3::Listener,
    route::v3::{Route, RouteConfiguration, VirtualHost},
};
use mizzen_snapshot::Snapshot;

use crate::given::{Proxy, chain, cluster, host, listener, load, manager, routes, to, vhds};

const SEEDS: u64 = 150;
const STEPS: usize = 80;

const CLUSTERS: [&str; 4] = ["a", "b", "c", "d"];
const HOSTS: [&str; 4] = ["80/h", "80/i", "81/h", "81/i"];
const CONFIGS: [&str; 3] = ["80", "81", "82"];
const LISTENERS: [&str; 2] = ["l", "m"];

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % bound as u64) as usize
    }

    fn of(&mut self, names: &[&'static str]) -> &'static str {
        names[self.below(names.len())]
    }

    fn routes(&mut self) -> Vec<&'static str> {
        (0..self.below(3)).map(|_| self.of(&CLUSTERS)).collect()
    }
}

/// What was last said of each resource: the clusters that a host or configuration names, or the one that a listener asks for.
#[derive(Debug, Default)]
struct Said {
    hosts: BTreeMap<&'static str, Vec<&'static str>>,
    configs: BTreeMap<&'static str, Vec<&'static str>>,
    listeners: BTreeMap<&'static str, &'static str>,
}

impl Said {
    fn step(&mut self, proxy: &mut Proxy, rng: &mut Rng) {
        let goes = rng.below(3) == 0;
        match rng.below(5) {
            0 if goes => proxy.remove::<Cluster>(&[rng.of(&CLUSTERS)]),
            0 => say_cluster(proxy, rng.of(&CLUSTERS)),
            1 => {
                let name = rng.of(&CLUSTERS);
                proxy.add(name, &load(name, &["10.0.0.1:80"][..rng.below(2)]));
            }
            2 => {
                let name = rng.of(&HOSTS);
                if goes {
                    self.hosts.remove(name);
                    return proxy.remove::<VirtualHost>(&[name]);
                }
                self.hosts.insert(name, rng.routes());
                // Hosts of one configuration share domains now and then, and one has to wait for the other.
                let domain = if rng.below(4) == 0 { "shared" } else { name };
                proxy.add(name, &host(name, &[domain], &forwards(&self.hosts[name])));
            }
            3 => {
                let name = rng.of(&CONFIGS);
                if goes {
                    self.configs.remove(name);
                    return proxy.remove::<RouteConfiguration>(&[name]);
                }
                self.configs.insert(name, rng.routes());
                proxy.add(name, &config(name, &self.configs[name]));
            }
            _ => {
                let name = rng.of(&LISTENERS);
                if goes {
                    self.listeners.remove(name);
                    return proxy.remove::<Listener>(&[name]);
                }
                self.listeners.insert(name, rng.of(&CONFIGS));
                proxy.add(name, &http(name, self.listeners[name]));
            }
        }
    }
}

fn say_cluster(proxy: &mut Proxy, name: &'static str) {
    proxy.add(name, &cluster(name));
}

fn forwards(clusters: &[&str]) -> Vec<Route> {
    clusters.iter().map(|cluster| to(cluster)).collect()
}

/// 82 has its host inline, the others have them on their own; each brings one that says what it names.
fn config(name: &str, clusters: &[&str]) -> RouteConfiguration {
    let around = if name == "82" { routes(name, &[]) } else { vhds(name) };
    RouteConfiguration { virtual_hosts: vec![host("own", &["own"], &forwards(clusters))], ..around }
}

fn http(name: &str, config: &str) -> Listener {
    let port = if name == "l" { 1 } else { 2 };
    listener(name, &format!("10.0.0.1:{port}"), &[chain("c", &manager(config))])
}

/// What is in force names nothing that it had and has no more.
fn assert_closed(before: &Snapshot, after: &Snapshot, seed: u64) {
    for listener in after.listeners() {
        let missing = listener.route_names().find(|name| after.route_config(name).known().is_none());
        assert_eq!(missing, None, "seed {seed}: listener {}", listener.name);
    }
    for config in after.route_configs() {
        let is_lost =
            |name: &&Arc<str>| before.cluster(name).known().is_some() && after.cluster(name).known().is_none();
        assert_eq!(config.clusters().find(is_lost), None, "seed {seed}: route configuration {}", config.name);
    }
}

/// The clusters that each virtual host in force names, by configuration and host.
fn in_force(snapshot: &Snapshot) -> BTreeMap<String, Vec<String>> {
    let hosts = snapshot.route_configs().flat_map(|config| config.virtual_hosts().map(move |host| (config, host)));
    let named = hosts.map(|(config, host)| {
        let clusters = host.clusters().map(ToString::to_string).collect();
        (format!("{}: {}", config.name, host.name), clusters)
    });
    named.collect()
}

#[test]
fn histories() {
    for seed in 0..SEEDS {
        let mut rng = Rng((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut proxy = Proxy::default();
        let mut said = Said::default();
        for _ in 0..STEPS {
            let before = Arc::clone(&proxy.snapshot);
            said.step(&mut proxy, &mut rng);
            assert_closed(&before, &proxy.snapshot, seed);
        }

        // Everything that is named arrives, and each host has a domain of its own.
        for name in CLUSTERS {
            say_cluster(&mut proxy, name);
            proxy.add(name, &load(name, &[]));
        }
        for (name, clusters) in &said.hosts {
            proxy.add(name, &host(name, &[name], &forwards(clusters)));
        }
        let mut wanted = BTreeMap::new();
        for (name, clusters) in &said.configs {
            let owned = |clusters: &Vec<&str>| clusters.iter().map(ToString::to_string).collect::<Vec<_>>();
            wanted.insert(format!("{name}: own"), owned(clusters));
            let inside = said.hosts.iter().filter(|(host, _)| host.starts_with(&format!("{name}/")));
            wanted.extend(inside.map(|(host, clusters)| (format!("{name}: {host}"), owned(clusters))));
        }
        // A configuration that was removed stays while a listener asks for it.
        let mut found = in_force(&proxy.snapshot);
        found.retain(|name, _| said.configs.keys().any(|config| name.starts_with(&format!("{config}:"))));
        assert_eq!(found, wanted, "seed {seed}: {:?}", proxy.store.waiting());
        for (name, config) in said.listeners.iter().filter(|(_, config)| said.configs.contains_key(*config)) {
            let listener = proxy.snapshot.listener(name);
            let asks: Vec<_> =
                listener.iter().flat_map(|listener| listener.route_names()).map(|name| &**name).collect();
            assert_eq!(asks, [*config], "seed {seed}: listener {name}");
        }

        proxy.remove::<Cluster>(&CLUSTERS);
        proxy.remove::<ClusterLoadAssignment>(&CLUSTERS);
        proxy.remove::<RouteConfiguration>(&CONFIGS);
        proxy.remove::<Listener>(&LISTENERS);
        proxy.remove::<VirtualHost>(&HOSTS);
        assert_eq!(proxy.store.waiting(), Vec::<String>::new(), "seed {seed}");
        let left = (proxy.snapshot.clusters().count(), proxy.snapshot.route_configs().count());
        assert_eq!((left, proxy.snapshot.listeners().count()), ((0, 0), 0), "seed {seed}");
    }
}
