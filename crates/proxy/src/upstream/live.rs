//! What outlives a generation: per cluster name and endpoint address, the pools, cursors and counts of this worker.
//!
//! A generation re-binds to it: when the cluster's compiled form changed, hosts that stay keep their connections.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use mizzen_balance::{Host, Picker, Policy};
use mizzen_snapshot::{
    Cluster, ClusterKind, Endpoint,
    cluster::{Address, LbPolicy, TlsChoice, Workload},
};

use super::pool::Pool;
use crate::{rand::Rng, shared::Resolved, worker::Config};

/// Endpoints kept for one `ORIGINAL_DST` cluster; beyond, those without connections are dropped, then new ones are refused.
const GIVEN_HOSTS_MAX: usize = 10_000;

/// One endpoint of one cluster, as this worker knows it.
#[derive(Debug)]
pub(crate) struct LiveHost {
    pub(crate) address: SocketAddr,
    /// Which entry of the cluster's TLS choices serves it.
    pub(crate) tls_mode: Option<Box<str>>,
    pub(crate) workload: Option<Arc<Workload>>,
    /// Requests (or TCP connections) under way.
    pub(crate) active: Cell<u32>,
    pub(crate) pool: Pool,
}

impl LiveHost {
    fn new(address: SocketAddr, endpoint: Option<&Endpoint>) -> Rc<Self> {
        Rc::new(Self {
            address,
            tls_mode: endpoint.and_then(|e| e.tls_mode.clone()),
            workload: endpoint.and_then(|e| e.workload.clone()),
            active: Cell::new(0),
            pool: Pool::default(),
        })
    }

    /// The TLS settings for this host among the cluster's choices.
    pub(crate) fn tls<'a>(&self, choices: &'a [TlsChoice]) -> Option<&'a Arc<mizzen_snapshot::listener::ClientTls>> {
        choices
            .iter()
            .find(|choice| choice.mode.is_none() || choice.mode == self.tls_mode)
            .and_then(|choice| choice.tls.as_ref())
    }

    fn is_same(&self, endpoint: &Endpoint) -> bool {
        self.tls_mode == endpoint.tls_mode && self.workload == endpoint.workload
    }
}

/// One cluster, as this worker knows it.
#[derive(Debug)]
pub(crate) struct LiveCluster {
    bound: RefCell<Bound>,
}

#[derive(Debug)]
struct Bound {
    cluster: Arc<Cluster>,
    resolved: Arc<Resolved>,
    hosts: Vec<Rc<LiveHost>>,
    picker: Picker,
    /// Of `ORIGINAL_DST`.
    given: HashMap<SocketAddr, Rc<LiveHost>>,
}

impl LiveCluster {
    fn new(config: &Config, cluster: &Arc<Cluster>, rng: &Rng) -> Rc<Self> {
        let resolved = Arc::clone(&config.resolved);
        let (hosts, picker) = bind(cluster, &resolved, &[], rng);
        let bound = Bound { cluster: Arc::clone(cluster), resolved, hosts, picker, given: HashMap::new() };
        Rc::new(Self { bound: RefCell::new(bound) })
    }

    fn rebind(&self, config: &Config, cluster: &Arc<Cluster>, rng: &Rng) {
        let mut bound = self.bound.borrow_mut();
        let names_changed = cluster.spec.kind == ClusterKind::Dns && !Arc::ptr_eq(&bound.resolved, &config.resolved);
        if Arc::ptr_eq(&bound.cluster, cluster) && !names_changed {
            return;
        }
        let (hosts, picker) = bind(cluster, &config.resolved, &bound.hosts, rng);
        bound.hosts = hosts;
        bound.picker = picker;
        bound.cluster = Arc::clone(cluster);
        bound.resolved = Arc::clone(&config.resolved);
    }

    /// The next host by the cluster's policy, avoiding those in `tried`.
    pub(crate) fn pick(&self, tried: &[SocketAddr], attempts: u32, rng: &Rng) -> Option<Rc<LiveHost>> {
        let bound = &mut *self.bound.borrow_mut();
        let hosts = &bound.hosts;
        let picked = bound.picker.pick(
            |i| hosts[i].active.get(),
            |i| tried.contains(&hosts[i].address),
            attempts,
            &mut || rng.next(),
        )?;
        hosts.get(picked).cloned()
    }

    /// The host at a given address (`ORIGINAL_DST`); `None` when there are too many.
    pub(crate) fn given(&self, address: SocketAddr) -> Option<Rc<LiveHost>> {
        let mut bound = self.bound.borrow_mut();
        if let Some(host) = bound.given.get(&address) {
            return Some(Rc::clone(host));
        }
        if bound.given.len() >= GIVEN_HOSTS_MAX {
            bound.given.retain(|_, host| host.in_use());
            if bound.given.len() >= GIVEN_HOSTS_MAX {
                return None;
            }
        }
        let host = LiveHost::new(address, None);
        bound.given.insert(address, Rc::clone(&host));
        Some(host)
    }

    fn sweep(&self, unix_now: u64) {
        let mut bound = self.bound.borrow_mut();
        let idle = bound.cluster.spec.idle_timeout;
        for host in bound.hosts.iter().chain(bound.given.values()) {
            host.pool.sweep(idle, unix_now);
        }
        bound.given.retain(|_, host| host.in_use());
    }

    fn describe(&self, name: &str, lines: &mut Vec<String>) {
        let bound = self.bound.borrow();
        for host in bound.hosts.iter().chain(bound.given.values()) {
            let (idle, streams) = host.pool.counts();
            lines.push(format!("{name}::{}::rq_active::{}", host.address, host.active.get()));
            lines.push(format!("{name}::{}::cx_idle::{idle}", host.address));
            lines.push(format!("{name}::{}::h2_streams::{streams}", host.address));
        }
    }
}

impl LiveHost {
    fn in_use(self: &Rc<Self>) -> bool {
        self.active.get() > 0 || !self.pool.is_empty() || Rc::strong_count(self) > 1
    }
}

/// Hosts of the present endpoints, taking over those of before, and a picker over them.
fn bind(cluster: &Cluster, resolved: &Resolved, before: &[Rc<LiveHost>], rng: &Rng) -> (Vec<Rc<LiveHost>>, Picker) {
    let known: HashMap<SocketAddr, &Rc<LiveHost>> = before.iter().map(|host| (host.address, host)).collect();
    let mut hosts = Vec::new();
    let mut facts = Vec::new();
    for endpoint in &cluster.endpoints.list {
        for address in addresses(endpoint, resolved) {
            let host = match known.get(&address) {
                Some(host) if host.is_same(endpoint) => Rc::clone(host),
                _ => LiveHost::new(address, Some(endpoint)),
            };
            hosts.push(host);
            facts.push(Host { weight: endpoint.weight.max(1), healthy: endpoint.healthy, priority: endpoint.priority });
        }
    }
    let policy = match cluster.spec.policy {
        LbPolicy::RoundRobin => Policy::RoundRobin,
        LbPolicy::LeastRequest => Policy::LeastRequest,
        LbPolicy::Random | LbPolicy::Given => Policy::Random,
    };
    (hosts, Picker::new(policy, &facts, rng.next()))
}

fn addresses(endpoint: &Endpoint, resolved: &Resolved) -> Vec<SocketAddr> {
    match &endpoint.address {
        Address::Socket(address) => vec![*address],
        Address::Name(name, port) => {
            resolved.get(name).map_or_else(Vec::new, |ips| ips.iter().map(|ip| (*ip, *port).into()).collect())
        }
    }
}

/// All clusters of this worker that were used.
#[derive(Debug, Default)]
pub(crate) struct Live {
    clusters: RefCell<HashMap<Arc<str>, Rc<LiveCluster>>>,
}

impl Live {
    /// The live side of a cluster, bound to its present form.
    pub(crate) fn cluster(&self, config: &Config, cluster: &Arc<Cluster>, rng: &Rng) -> Rc<LiveCluster> {
        if let Some(live) = self.clusters.borrow().get(&cluster.spec.name) {
            live.rebind(config, cluster, rng);
            return Rc::clone(live);
        }
        let live = LiveCluster::new(config, cluster, rng);
        self.clusters.borrow_mut().insert(Arc::clone(&cluster.spec.name), Rc::clone(&live));
        live
    }

    /// Forgets clusters that are gone; requests under way keep theirs.
    pub(crate) fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.clusters.borrow_mut().retain(|name, _| is_known(name));
    }

    /// Closes idle connections whose time is over.
    pub(crate) fn sweep(&self, unix_now: u64) {
        for cluster in self.clusters.borrow().values() {
            cluster.sweep(unix_now);
        }
    }

    /// Envoy's `/clusters` text form.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, cluster) in self.clusters.borrow().iter() {
            cluster.describe(name, &mut lines);
        }
        lines
    }
}
