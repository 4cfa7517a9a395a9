//! From what is accepted to what is in force: make before break.
//!
//! - A cluster with EDS waits for its first endpoints.
//! - A route, or a TCP proxy, whose cluster is accepted but not in force yet waits for it. A cluster that is not known at
//!   all holds back only a new version that the one in force does not share the gap with; a first version comes into
//!   force as it is (its requests get 503 `NC`).
//! - A listener waits for its route configurations; a virtual host of its own for the route configuration around it.
//! - What was removed stays as long as something in force names it.
//!
//! Only names that were touched since the last publication, or wait, are looked at, so that it costs what changed.

use std::{collections::BTreeMap, sync::Arc};

use mizzen_rules::HostTable;

use super::{AcceptedCluster, Store, split_host};
use crate::{Cluster, ClusterKind, Endpoints, Listener, RouteConfig, Snapshot, VirtualHost};

/// The next Snapshot, and whether it differs from the one in force.
struct Draft {
    next: Snapshot,
    is_changed: bool,
}

/// A virtual host that comes, goes or changes: its resource name, the version in force and the one to be.
struct Swap {
    name: Arc<str>,
    old: Option<Arc<VirtualHost>>,
    new: Option<Arc<VirtualHost>>,
}

impl Store {
    /// The next Snapshot, if something in force changed since the last call; costs what changed.
    pub fn publish(&mut self) -> Option<Arc<Snapshot>> {
        let mut draft = Draft { next: Snapshot::clone(&self.current), is_changed: false };
        self.publish_clusters(&mut draft);
        self.publish_routes(&mut draft);
        self.publish_hosts(&mut draft);
        self.publish_listeners(&mut draft);
        self.publish_names(&mut draft);
        self.let_go(&mut draft);
        if !draft.is_changed {
            return None;
        }
        draft.next.generation += 1;
        self.current = Arc::new(draft.next);
        Some(Arc::clone(&self.current))
    }

    /// As [`Store::publish`], but nothing waits: for a caller whose patience with a control plane that does not send
    /// what it named has ended (Envoy's `initial_fetch_timeout`). A cluster without endpoints is empty.
    pub fn publish_incomplete(&mut self) -> Option<Arc<Snapshot>> {
        self.hurried = true;
        let published = self.publish();
        self.hurried = false;
        published
    }

    fn publish_clusters(&mut self, draft: &mut Draft) {
        for load in self.loads.take_open() {
            for user in self.load_users.get(&load).into_iter().flatten() {
                self.clusters.touch(user);
            }
        }
        for name in self.clusters.take_open() {
            let Some(accepted) = self.clusters.get(&name) else {
                if draft.next.clusters.contains_key(&name) {
                    self.leaving_clusters.insert(name);
                }
                continue;
            };
            if let ClusterKind::Eds(load) = &accepted.spec.kind {
                self.load_users.entry(Arc::clone(load)).or_default().insert(Arc::clone(&name));
            }
            let current = draft.next.clusters.get(&name);
            match self.endpoints(accepted, current) {
                Some(endpoints) => draft.put_cluster(&name, accepted, endpoints),
                None => self.clusters.wait(name, "its endpoints".into()),
            }
        }
    }

    /// Where the cluster is: by its kind; once known, the last endpoints stay until others come.
    fn endpoints(&self, accepted: &AcceptedCluster, current: Option<&Arc<Cluster>>) -> Option<Arc<Endpoints>> {
        let ClusterKind::Eds(load) = &accepted.spec.kind else { return Some(Arc::clone(&accepted.endpoints)) };
        let last =
            || current.filter(|current| current.spec.kind == accepted.spec.kind).map(|current| &current.endpoints);
        let found = self.loads.get(load).or_else(last).map(Arc::clone);
        found.or_else(|| self.hurried.then(Arc::default))
    }

    fn publish_routes(&mut self, draft: &mut Draft) {
        for name in self.routes.take_open() {
            let current = self.routes_in_force.get(&name);
            let Some(new) = self.routes.get(&name) else {
                if current.is_some() {
                    self.leaving_routes.insert(name);
                }
                continue;
            };
            if let Err(reason) = self.clusters_ready(draft, new.clusters(), current.map(|current| current.clusters())) {
                self.routes.wait(name, reason);
                continue;
            }
            let new = Arc::clone(new);
            self.cluster_uses.add(new.clusters());
            if let Some(current) = self.routes_in_force.insert(Arc::clone(&name), Arc::clone(&new)) {
                self.cluster_uses.release(current.clusters());
            }
            let merged = self.with_hosts_in_force(&name, new);
            draft.put_routes(&name, merged);
        }
    }

    /// A new version of a route configuration with the hosts of their own that were in force before.
    fn with_hosts_in_force(&mut self, name: &str, config: Arc<RouteConfig>) -> Arc<RouteConfig> {
        let inside = self.names_in_force(name);
        if inside.is_empty() {
            return config;
        }
        let mut hosts = config.hosts.clone();
        for name in inside {
            let host = &self.hosts_in_force[&name];
            if !config.on_demand_hosts || add_host(&mut hosts, host).is_err() {
                self.drop_host(&name);
            }
        }
        Arc::new(RouteConfig { name: Arc::clone(&config.name), hosts, on_demand_hosts: config.on_demand_hosts })
    }

    fn names_in_force(&self, config: &str) -> Vec<Arc<str>> {
        let is_inside = |name: &&Arc<str>| split_host(name).is_some_and(|(of, _)| of == config);
        self.hosts_in_force.keys().filter(is_inside).cloned().collect()
    }

    /// Takes a virtual host of its own out of force; if it is still accepted, it is looked at again.
    fn drop_host(&mut self, name: &Arc<str>) {
        if let Some(host) = self.hosts_in_force.remove(name) {
            self.cluster_uses.release(host.clusters());
        }
        self.hosts.touch(name);
    }

    fn publish_hosts(&mut self, draft: &mut Draft) {
        let mut by_config: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
        for name in self.hosts.take_open() {
            if let Some((config, _)) = split_host(&name) {
                by_config.entry(config.into()).or_default().push(name);
            }
        }
        for (config, names) in by_config {
            match draft.next.routes.get(&config).filter(|config| config.on_demand_hosts) {
                Some(around) => {
                    let around = Arc::clone(around);
                    self.publish_hosts_of(&around, names, draft);
                }
                None => {
                    for name in names.into_iter().filter(|name| self.hosts.contains(name)).collect::<Vec<_>>() {
                        self.hosts.wait(name, format!("route configuration {config} with vhds"));
                    }
                }
            }
        }
    }

    /// Old versions go first, so that a domain can move from one host to another in one publication.
    fn publish_hosts_of(&mut self, around: &RouteConfig, names: Vec<Arc<str>>, draft: &mut Draft) {
        let swaps: Vec<Swap> = names.into_iter().filter_map(|name| self.swap(name, draft)).collect();
        if swaps.is_empty() {
            return;
        }
        let mut hosts = around.hosts.clone();
        for old in swaps.iter().filter_map(|swap| swap.old.as_ref()) {
            old.domains.iter().for_each(|domain| drop(hosts.remove(domain)));
            self.cluster_uses.release(old.clusters());
        }
        for Swap { name, old, new } in swaps {
            let added = new.as_ref().map(|new| add_host(&mut hosts, new));
            let in_force = match added {
                Some(Err(reason)) => {
                    self.hosts.wait(Arc::clone(&name), reason);
                    old.filter(|old| add_host(&mut hosts, old).is_ok())
                }
                _ => new,
            };
            match in_force {
                Some(host) => {
                    self.cluster_uses.add(host.clusters());
                    self.hosts_in_force.insert(name, host);
                }
                None => drop(self.hosts_in_force.remove(&name)),
            }
        }
        let merged = RouteConfig { name: Arc::clone(&around.name), hosts, on_demand_hosts: true };
        draft.put_routes(&merged.name.clone(), Arc::new(merged));
    }

    /// What to do about a virtual host; `None` if nothing can be done, or nothing is to do.
    fn swap(&mut self, name: Arc<str>, draft: &Draft) -> Option<Swap> {
        let old = self.hosts_in_force.get(&name);
        let Some(new) = self.hosts.get(&name) else {
            return old.cloned().map(|old| Swap { name, old: Some(old), new: None });
        };
        if old.is_some_and(|old| Arc::ptr_eq(old, new)) {
            return None;
        }
        match self.clusters_ready(draft, new.clusters(), old.map(|old| old.clusters())) {
            Ok(()) => Some(Swap { old: old.cloned(), new: Some(Arc::clone(new)), name }),
            Err(reason) => {
                self.hosts.wait(name, reason);
                None
            }
        }
    }

    fn publish_listeners(&mut self, draft: &mut Draft) {
        let mut open = self.listeners.take_open();
        // Those that go first: another may wait for their address.
        open.sort_by_key(|name| self.listeners.contains(name));
        for name in open {
            let current = draft.next.listeners.get(&name).cloned();
            let new = self.listeners.get(&name).cloned();
            if let Some(reason) = new.as_ref().and_then(|new| self.listener_waits(draft, new, current.as_ref())) {
                self.listeners.wait(name, reason);
                continue;
            }
            if let Some(new) = &new {
                self.cluster_uses.add(new.clusters());
                self.route_uses.add(new.route_names());
            }
            if let Some(current) = &current {
                self.cluster_uses.release(current.clusters());
                self.route_uses.release(current.route_names());
            }
            draft.put_listener(&name, current.as_deref(), new);
        }
    }

    fn listener_waits(&self, draft: &Draft, new: &Listener, current: Option<&Arc<Listener>>) -> Option<String> {
        let taken = new.addresses.iter().filter(|_| !new.bind).filter_map(|at| draft.next.by_address.get(at));
        if let Some(other) = taken.into_iter().find(|other| other.name != new.name) {
            return Some(format!("an address that listener {} has", other.name));
        }
        let missing = new.route_names().find(|name| !draft.next.routes.contains_key(*name));
        if let Some(missing) = missing.filter(|_| !self.hurried) {
            return Some(format!("route configuration {missing}"));
        }
        self.clusters_ready(draft, new.clusters(), current.map(|current| current.clusters())).err()
    }

    /// Whether what names these clusters may come into force; `current` are those that the version in force names.
    fn clusters_ready<'a>(
        &self,
        draft: &Draft,
        mut names: impl Iterator<Item = &'a Arc<str>>,
        current: Option<impl Iterator<Item = &'a Arc<str>>>,
    ) -> Result<(), String> {
        let missing = |name: &&Arc<str>| !draft.next.clusters.contains_key(&***name);
        let gaps: Option<Vec<&Arc<str>>> = current.map(|current| current.filter(missing).collect());
        let holds_back = |name: &&Arc<str>| {
            let is_new_gap = gaps.as_ref().is_some_and(|gaps| !gaps.contains(name));
            missing(name) && (self.clusters.contains(name) || is_new_gap)
        };
        match names.find(holds_back).filter(|_| !self.hurried) {
            Some(name) => Err(format!("cluster {name}")),
            None => Ok(()),
        }
    }

    fn publish_names(&mut self, draft: &mut Draft) {
        let open = self.names.take_open();
        for table in &open {
            self.name_book.replace(table, self.names.get(table));
        }
        if !open.is_empty() {
            draft.next.names = Arc::new(self.name_book.names().clone());
            draft.is_changed = true;
        }
    }

    /// Removes what nothing in force names any more: route configurations first, since they name clusters.
    fn let_go(&mut self, draft: &mut Draft) {
        self.leaving_routes.retain(|name| !self.routes.contains(name));
        let unused: Vec<_> =
            self.leaving_routes.iter().filter(|name| !self.route_uses.contains(name)).cloned().collect();
        for name in unused {
            self.leaving_routes.remove(&name);
            self.names_in_force(&name).iter().for_each(|host| self.drop_host(host));
            if let Some(config) = self.routes_in_force.remove(&name) {
                self.cluster_uses.release(config.clusters());
            }
            draft.is_changed |= draft.next.routes.remove(&name).is_some();
        }
        self.leaving_clusters.retain(|name| !self.clusters.contains(name));
        let unused: Vec<_> =
            self.leaving_clusters.iter().filter(|name| !self.cluster_uses.contains(name)).cloned().collect();
        for name in unused {
            self.leaving_clusters.remove(&name);
            if let Some(cluster) = draft.next.clusters.remove(&name) {
                self.forget_load(&cluster);
                draft.is_changed = true;
            }
        }
    }

    fn forget_load(&mut self, cluster: &Cluster) {
        let ClusterKind::Eds(load) = &cluster.spec.kind else { return };
        let Some(users) = self.load_users.get_mut(load) else { return };
        users.remove(&cluster.spec.name);
        if users.is_empty() {
            self.load_users.remove(load);
        }
    }
}

impl Draft {
    fn put_cluster(&mut self, name: &Arc<str>, accepted: &AcceptedCluster, endpoints: Arc<Endpoints>) {
        let is_same = self.next.clusters.get(name).is_some_and(|current| {
            Arc::ptr_eq(&current.spec, &accepted.spec) && Arc::ptr_eq(&current.endpoints, &endpoints)
        });
        if !is_same {
            let cluster = Cluster { spec: Arc::clone(&accepted.spec), endpoints };
            self.next.clusters.insert(Arc::clone(name), Arc::new(cluster));
            self.is_changed = true;
        }
    }

    fn put_routes(&mut self, name: &Arc<str>, config: Arc<RouteConfig>) {
        self.next.routes.insert(Arc::clone(name), config);
        self.is_changed = true;
    }

    fn put_listener(&mut self, name: &Arc<str>, current: Option<&Listener>, new: Option<Arc<Listener>>) {
        for address in current.into_iter().filter(|current| !current.bind).flat_map(|current| &current.addresses) {
            self.next.by_address.remove(address);
        }
        for new in new.iter().filter(|new| !new.bind) {
            for address in &new.addresses {
                self.next.by_address.insert(*address, Arc::clone(new));
            }
        }
        self.is_changed |= match new {
            Some(new) => {
                self.next.listeners.insert(Arc::clone(name), new);
                true
            }
            None => self.next.listeners.remove(name).is_some(),
        };
    }
}

/// Adds all domains of the host, or none; the error is what the host has to wait for.
fn add_host(hosts: &mut HostTable<Arc<VirtualHost>>, host: &Arc<VirtualHost>) -> Result<(), String> {
    for (index, domain) in host.domains.iter().enumerate() {
        if let Err(error) = hosts.insert(domain, Arc::clone(host)) {
            host.domains[..index].iter().for_each(|domain| drop(hosts.remove(domain)));
            return Err(format!("a change elsewhere: {error}"));
        }
    }
    Ok(())
}
