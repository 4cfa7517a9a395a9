//! Accepted resources, and the publication of closed configuration.
//!
//! ```text
//! Update ─► compile each ─► accepted (last good, by name) ─► publish: what is closed ─► Snapshot
//!              └► Rejection          └► waits, with a reason ◄──────┘
//! ```
//!
//! What is accepted and what is in force differ while something is on its way: see `publish` below.

mod name_book;
mod publish;
mod shelf;
mod uses;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use envoy_types::pb::envoy::config as wire;

use self::{name_book::NameBook, shelf::Shelf, uses::Uses};
use crate::{
    ClusterSpec, Endpoints, Listener, RouteConfig, Snapshot, VirtualHost,
    wire::{At, Result, cluster, decode, endpoints, host, listener, names, names::NameEntry, refuse},
};

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LOAD: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
const NAMES: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";

/// One resource as it arrived.
#[derive(Clone, Debug)]
pub struct Resource {
    pub name: String,
    pub version: String,
    /// The encoded message (the `Any`'s value).
    pub body: Bytes,
}

/// One response: what came and what went, of one type.
#[derive(Clone, Debug)]
pub struct Update {
    pub type_url: String,
    pub added: Vec<Resource>,
    pub removed: Vec<String>,
}

/// A resource that was refused; its last good version stays in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub name: String,
    /// Field path and what was expected there.
    pub message: String,
}

/// What became of an [`Update`].
#[derive(Clone, Debug, Default)]
pub struct Applied {
    pub accepted: usize,
    pub rejected: Vec<Rejection>,
}

/// A cluster as it was accepted.
#[derive(Debug)]
struct AcceptedCluster {
    spec: Arc<ClusterSpec>,
    /// Those that it brings along; empty for EDS.
    endpoints: Arc<Endpoints>,
}

/// The resources accepted so far.
#[derive(Debug, Default)]
pub struct Store {
    clusters: Shelf<AcceptedCluster>,
    loads: Shelf<Arc<Endpoints>>,
    listeners: Shelf<Arc<Listener>>,
    routes: Shelf<Arc<RouteConfig>>,
    hosts: Shelf<Arc<VirtualHost>>,
    names: Shelf<Arc<[NameEntry]>>,
    /// What is in force.
    current: Arc<Snapshot>,
    /// In force: route configurations as they came, without the hosts that came on their own.
    routes_in_force: HashMap<Arc<str>, Arc<RouteConfig>>,
    /// In force: virtual hosts that came on their own.
    hosts_in_force: HashMap<Arc<str>, Arc<VirtualHost>>,
    /// In force: DNS names.
    name_book: NameBook,
    /// How often what is in force names a cluster, and a route configuration.
    cluster_uses: Uses,
    route_uses: Uses,
    /// Name of a `ClusterLoadAssignment` → the clusters that take their endpoints from it.
    load_users: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Removed, and still in force.
    leaving_clusters: BTreeSet<Arc<str>>,
    leaving_routes: BTreeSet<Arc<str>>,
    /// Nothing waits in the publication under way.
    hurried: bool,
}

impl Store {
    /// Compiles and keeps the good resources of a response, names the bad ones. A resource whose bytes are those accepted
    /// before is not compiled again.
    pub fn apply(&mut self, update: Update) -> Applied {
        match update.type_url.as_str() {
            CLUSTER => self.clusters.apply(update, compile_cluster),
            LOAD => self.loads.apply(update, compile_load),
            LISTENER => self.listeners.apply(update, compile_listener),
            ROUTES => self.routes.apply(update, compile_routes),
            HOST => self.hosts.apply(update, compile_host),
            NAMES => self.names.apply(update, |_, body| names::from_wire(&decode(body)?).map(Arc::from)),
            other => {
                let message = format!("type `{other}` is not known here");
                let reject = |resource: Resource| Rejection { name: resource.name, message: message.clone() };
                Applied { accepted: 0, rejected: update.added.into_iter().map(reject).collect() }
            }
        }
    }

    /// What waits, and for what: `listener 0.0.0.0_80 waits for route configuration 80`.
    pub fn waiting(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut add = |kind: &str, waiting: &mut dyn Iterator<Item = (&Arc<str>, &str)>| {
            lines.extend(waiting.map(|(name, reason)| format!("{kind} {name} waits for {reason}")));
        };
        add("cluster", &mut self.clusters.waiting());
        add("route configuration", &mut self.routes.waiting());
        add("virtual host", &mut self.hosts.waiting());
        add("listener", &mut self.listeners.waiting());
        let leaving = |kind, names: &BTreeSet<Arc<str>>| {
            let line = |name| format!("{kind} {name} was removed, and stays until nothing in force names it");
            names.iter().map(line).collect::<Vec<_>>()
        };
        lines.extend(leaving("cluster", &self.leaving_clusters));
        lines.extend(leaving("route configuration", &self.leaving_routes));
        lines
    }

    /// Accepted bytes by type, for `/config_dump`: (type URL, resource), by name within a type.
    pub fn dump(&self) -> Vec<(String, Resource)> {
        let mut all = Vec::new();
        let mut add = |kind: &str, resources: &mut dyn Iterator<Item = Resource>| {
            all.extend(resources.map(|resource| (kind.to_owned(), resource)));
        };
        add(CLUSTER, &mut self.clusters.dump());
        add(LOAD, &mut self.loads.dump());
        add(LISTENER, &mut self.listeners.dump());
        add(ROUTES, &mut self.routes.dump());
        add(HOST, &mut self.hosts.dump());
        add(NAMES, &mut self.names.dump());
        all
    }
}

fn compile_cluster(name: &Arc<str>, body: &[u8]) -> Result<AcceptedCluster> {
    let wire: wire::cluster::v3::Cluster = decode(body)?;
    is_named(name, &wire.name).at("name")?;
    let (spec, endpoints) = cluster::from_wire(name, &wire)?;
    Ok(AcceptedCluster { spec: Arc::new(spec), endpoints: Arc::new(endpoints) })
}

fn compile_load(name: &Arc<str>, body: &[u8]) -> Result<Arc<Endpoints>> {
    let wire: wire::endpoint::v3::ClusterLoadAssignment = decode(body)?;
    is_named(name, &wire.cluster_name).at("cluster_name")?;
    endpoints::from_wire(&wire, endpoints::Hosts::Addresses).map(Arc::new)
}

fn compile_listener(name: &Arc<str>, body: &[u8]) -> Result<Arc<Listener>> {
    let wire: wire::listener::v3::Listener = decode(body)?;
    is_named(name, &wire.name).at("name")?;
    listener::from_wire(name, &wire).map(Arc::new)
}

fn compile_routes(name: &Arc<str>, body: &[u8]) -> Result<Arc<RouteConfig>> {
    let wire: wire::route::v3::RouteConfiguration = decode(body)?;
    is_named(name, &wire.name).at("name")?;
    host::configuration(name, &wire).map(Arc::new)
}

/// A virtual host that is a resource of its own is named `ROUTECONFIG/HOST`; its message knows the last part only.
fn compile_host(name: &Arc<str>, body: &[u8]) -> Result<Arc<VirtualHost>> {
    if split_host(name).is_none() {
        return refuse("expected a resource named ROUTECONFIG/HOST");
    }
    host::on_demand(&decode(body)?)
}

/// (route configuration, host) of a virtual host's resource name.
fn split_host(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('/').filter(|(config, host)| !config.is_empty() && !host.is_empty())
}

fn is_named(name: &str, inner: &str) -> Result<()> {
    if name == inner { Ok(()) } else { refuse(format!("expected `{name}`, the name of the resource, found `{inner}`")) }
}
