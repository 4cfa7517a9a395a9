//! The world of the simulation: always closed, edited at random, published as generations.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use mizzen_xds::{Generation, Kind, Resource, Version};

/// Kinds that the world has.
pub(crate) const LIVE: [Kind; 5] = [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route, Kind::VirtualHost];

pub(crate) type Store = BTreeMap<(Kind, String), String>;

pub(crate) struct Plant {
    rng: fastrand::Rng,
    pub(crate) store: Store,
    pub(crate) generation: Arc<Generation>,
    salt: u32,
}

impl Plant {
    pub(crate) fn new(rng: fastrand::Rng) -> Self {
        let mut plant = Self { rng, store: Store::new(), generation: Arc::new(Generation::empty(1)), salt: 0 };
        for _ in 0..plant.rng.usize(0..12) {
            plant.change(false);
        }
        plant.publish();
        plant
    }

    /// One to four changes, published as one generation.
    pub(crate) fn edit(&mut self, poison: bool) {
        for _ in 0..self.rng.usize(1..5) {
            let bad = poison && self.rng.u8(0..6) == 0;
            self.change(bad);
        }
        self.publish();
    }

    /// Makes every bad resource good.
    pub(crate) fn mend(&mut self) {
        for body in self.store.values_mut() {
            if body.contains("|bad") {
                *body = body.replace("|bad", "|mended");
            }
        }
        self.publish();
    }

    fn change(&mut self, bad: bool) {
        self.salt += 1;
        let cluster = format!("c{}", self.rng.u8(0..8));
        let suffix = if bad { "|bad" } else { "" };
        match self.rng.u8(0..10) {
            0..3 => {
                let body = format!("{}{suffix}", self.salt);
                self.store.insert((Kind::Cluster, cluster.clone()), body);
                self.store.entry((Kind::Endpoints, cluster)).or_insert_with(|| "e".to_owned());
            }
            3 => {
                let body = format!("e{}", self.salt);
                self.store.entry((Kind::Endpoints, cluster)).and_modify(|old| *old = body);
            }
            4..7 => self.refer_to(&cluster, suffix),
            7 => self.drop_referrers(&cluster),
            8 => {
                let listener = format!("l{}", self.rng.u8(0..4));
                let route = format!("r{}", self.rng.u8(0..4));
                self.store.entry((Kind::Route, route.clone())).or_insert_with(|| "r".to_owned());
                self.store.insert((Kind::Listener, listener), format!("{}|R:{route}{suffix}", self.salt));
                self.drop_unused_routes();
            }
            _ => {
                let listener = format!("l{}", self.rng.u8(0..4));
                self.store.remove(&(Kind::Listener, listener));
                self.drop_unused_routes();
            }
        }
    }

    /// Makes a virtual host, route or listener name the cluster.
    fn refer_to(&mut self, cluster: &str, suffix: &str) {
        if !self.store.contains_key(&(Kind::Cluster, cluster.to_owned())) {
            return;
        }
        let body = format!("{}|C:{cluster}{suffix}", self.salt);
        match self.rng.u8(0..4) {
            0 => drop(self.store.insert((Kind::Listener, format!("t{}", self.rng.u8(0..3))), body)),
            1 => drop(self.store.entry((Kind::Route, format!("r{}", self.rng.u8(0..4)))).and_modify(|old| *old = body)),
            _ => {
                let host = format!("8{}/h{}", self.rng.u8(0..2), self.rng.u8(0..6));
                self.store.insert((Kind::VirtualHost, host), body);
            }
        }
    }

    /// Removes a cluster with its endpoints and all that names it.
    fn drop_referrers(&mut self, cluster: &str) {
        self.store.remove(&(Kind::Cluster, cluster.to_owned()));
        self.store.remove(&(Kind::Endpoints, cluster.to_owned()));
        let named = |body: &str| references(body, "C:").any(|name| name == cluster);
        self.store.retain(|(kind, _), body| *kind == Kind::Route || !named(body));
        for ((kind, _), body) in &mut self.store {
            if *kind == Kind::Route && references(body, "C:").any(|name| name == cluster) {
                *body = format!("{}", self.salt);
            }
        }
        self.drop_unused_routes();
    }

    fn drop_unused_routes(&mut self) {
        let bodies: Vec<String> =
            self.store.iter().filter(|((kind, _), _)| *kind == Kind::Listener).map(|(_, body)| body.clone()).collect();
        let used = |route: &str| bodies.iter().any(|body| references(body, "R:").any(|name| name == route));
        self.store.retain(|(kind, name), _| *kind != Kind::Route || used(name));
    }

    fn publish(&mut self) {
        let mut next = self.generation.next(self.generation.number + 1);
        for kind in LIVE {
            let resources = self.store.iter().filter(|((of, _), _)| *of == kind).map(|((_, name), body)| Resource {
                name: Arc::from(name.as_str()),
                version: version(body),
                body: Bytes::from(body.clone()),
            });
            let set = next.set(kind).replaced(resources);
            next.put(set);
        }
        self.generation = Arc::new(next);
    }
}

/// Names in a body behind a letter, as `C:`.
pub(crate) fn references<'a>(body: &'a str, letter: &'a str) -> impl Iterator<Item = &'a str> {
    body.split('|').filter_map(move |part| part.strip_prefix(letter))
}

fn version(body: &str) -> Version {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    Version(hasher.finish())
}
