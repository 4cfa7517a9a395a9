//! Bytes that nobody should send: refused or accepted, never a panic, and what is in force can still be walked.
//!
//! Seeded; a failure names its case.

use bytes::Bytes;
use envoy_types::pb::envoy::config::{
    cluster::v3::Cluster,
    endpoint::v3::ClusterLoadAssignment,
    listener::v3::Listener,
    route::v3::{RouteConfiguration, VirtualHost},
};
use http::HeaderMap;
use mizzen_rules::{ConnectionFacts, RequestFacts, Silent, Transport};
use mizzen_snapshot::{Handler, Resource, Snapshot, Store, Update, walk};
use prost::{Message, Name};

use crate::{
    given::{chain, cluster, fixed, host, listener, load, manager, routes, tcp, to, vhds},
    names::{NameTable, table},
};

const CASES: u64 = 20_000;
/// After so many cases a new store begins, so that it does not fill with what was accepted.
const CASES_PER_STORE: u64 = 200;

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// (type URL, name, valid bytes)
fn valid() -> Vec<(String, &'static str, Vec<u8>)> {
    fn one<T: Message + Name>(name: &'static str, message: &T) -> (String, &'static str, Vec<u8>) {
        (T::type_url(), name, message.encode_to_vec())
    }
    let clusters: [(&str, Cluster); 2] = [("c", cluster("c")), ("f", fixed("f"))];
    let hosts = [host("h", &["h", "*.h", "h.*"], &[to("c"), to("f")])];
    let route_configs: [(&str, RouteConfiguration); 2] = [("80", routes("80", &hosts)), ("81", vhds("81"))];
    let chains = [chain("http", &manager("80"))];
    let listeners: [(&str, Listener); 2] =
        [("l", listener("l", "0.0.0.0:80", &chains)), ("t", listener("t", "10.0.0.1:81", &[chain("t", &tcp("f"))]))];
    let load: ClusterLoadAssignment = load("c", &["10.0.0.1:80", "[fd77::1]:80"]);
    let own: VirtualHost = host("x", &["x"], &[to("c")]);
    let names = table(&[("a.test", &["10.0.0.1"], "Kubernetes", "a")]);
    let mut all = vec![one("c", &load), one("81/x", &own), one::<NameTable>("n", &names)];
    all.extend(clusters.iter().map(|(name, cluster)| one(name, cluster)));
    all.extend(route_configs.iter().map(|(name, config)| one(name, config)));
    all.extend(listeners.iter().map(|(name, listener)| one(name, listener)));
    all
}

fn mutate(body: &mut Vec<u8>, others: &[(String, &'static str, Vec<u8>)], rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(body.len());
        match rng.below(6) {
            0 if !body.is_empty() => body[at] ^= 1 << rng.below(8),
            1 if !body.is_empty() => body[at] = rng.next() as u8,
            2 => body.truncate(at),
            3 => body.insert(at, rng.next() as u8),
            4 => {
                // A piece of another resource, of another type perhaps.
                let other = &others[rng.below(others.len())].2;
                let from = rng.below(other.len());
                let until = from + rng.below(other.len() - from);
                drop(body.splice(at..at, other[from..until].iter().copied()));
            }
            _ => {
                let again = body.clone();
                body.extend(again);
            }
        }
    }
}

#[test]
fn no_bytes_panic() {
    let valid = valid();
    let mut store = Store::default();
    let mut snapshot = std::sync::Arc::<Snapshot>::default();
    let (mut accepted, mut rejected) = (0, 0);
    for case in 0..CASES {
        if case % CASES_PER_STORE == 0 {
            store = Store::default();
            snapshot = std::sync::Arc::default();
        }
        let mut rng = Rng((case + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (type_url, name, bytes) = &valid[rng.below(valid.len())];
        let mut body = bytes.clone();
        match rng.below(8) {
            0 => body = (0..rng.below(64)).map(|_| rng.next() as u8).collect(),
            1 => {}
            _ => mutate(&mut body, &valid, &mut rng),
        }
        let _on_panic = Case(case);
        let resource = Resource { name: (*name).into(), version: case.to_string(), body: Bytes::from(body) };
        let removed = if rng.below(10) == 0 { vec![valid[rng.below(valid.len())].1.into()] } else { Vec::new() };
        let applied = store.apply(Update { type_url: type_url.clone(), added: vec![resource], removed });
        accepted += applied.accepted;
        rejected += applied.rejected.len();
        let published = if rng.below(20) == 0 { store.publish_incomplete() } else { store.publish() };
        snapshot = published.unwrap_or(snapshot);
        walk_all(&snapshot, &mut rng);
        drop(store.waiting());
    }
    assert!(accepted > 3000 && rejected > 3000, "{accepted} accepted, {rejected} rejected: the cases say little");
}

/// Names the case when the test panics.
struct Case(u64);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("case {}", self.0);
        }
    }
}

fn walk_all(snapshot: &Snapshot, rng: &mut Rng) {
    let headers = HeaderMap::new();
    let ports = [80, 81, 0];
    let facts = ConnectionFacts {
        destination: ([10, 0, 0, 1], ports[rng.below(3)]).into(),
        source: ([10, 0, 0, 2], 1).into(),
        transport: [Transport::Raw, Transport::Tls][rng.below(2)],
        server_name: ["", "a.h"][rng.below(2)],
        protocols: &["http/1.1"],
    };
    for listener in snapshot.listeners() {
        let listener = snapshot.listener_for(listener, facts.destination);
        let plan = walk::connection(snapshot, listener, &facts, &mut Silent);
        let Some(Handler::Http(manager)) = plan.chain.as_ref().map(|chain| &chain.handler) else { continue };
        let authority = ["h:80", "", "a.h", "h.a."][rng.below(4)];
        let request =
            RequestFacts { method: "GET", scheme: "http", authority, path: "/", query: None, headers: &headers };
        walk::request(snapshot, manager, &request, rng.next(), &mut Silent);
    }
}
