//! The Snapshot: persistent maps of compiled resources. One read = one generation.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use crate::{Cluster, Listener, RouteConfig};

/// What a lookup by name found. On-demand discovery makes `Pending` possible; with wildcard subscriptions it never is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    Known(T),
    Absent,
    /// Asked for, not yet answered.
    Pending,
}

impl<T> Lookup<T> {
    /// What was found; `Absent` and `Pending` are both nothing.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(found) => Some(found),
            Self::Absent | Self::Pending => None,
        }
    }
}

/// One generation of configuration. A clone shares all that it holds.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts up with each publication.
    pub generation: u64,
    pub(crate) listeners: imbl::OrdMap<Arc<str>, Arc<Listener>>,
    pub(crate) routes: imbl::HashMap<Arc<str>, Arc<RouteConfig>>,
    pub(crate) clusters: imbl::HashMap<Arc<str>, Arc<Cluster>>,
    /// Names that the DNS proxy answers (lower case, without trailing dot).
    pub(crate) names: Arc<Names>,
    /// Listeners without a socket of their own, by each of their addresses.
    pub(crate) by_address: imbl::HashMap<SocketAddr, Arc<Listener>>,
}

/// What the DNS tables (`istio.networking.nds.v1.NameTable`) say together.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub addresses: imbl::HashMap<Box<str>, Box<[IpAddr]>>,
    /// `*.suffix` names, without the `*.`.
    pub wildcards: imbl::HashMap<Box<str>, Box<[IpAddr]>>,
}

impl Snapshot {
    /// Listeners with a socket of their own (`bind_to_port`).
    pub fn bound_listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.values().filter(|l| l.bind)
    }

    /// The listener of that name.
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.get(name)
    }

    /// The listener for a connection accepted on `accepted_on` whose original destination is `destination`:
    /// for `use_original_dst`, exact address and port, then wildcard address and port, else `accepted_on` itself. Only
    /// listeners of the same direction: a workload that serves on port 80 is not reached through its own outbound
    /// listener for port 80.
    pub fn listener_for<'a>(&'a self, accepted_on: &'a Arc<Listener>, destination: SocketAddr) -> &'a Arc<Listener> {
        if !accepted_on.use_original_dst {
            return accepted_on;
        }
        // An IPv4 client of a dual-stack socket appears as ::ffff:a.b.c.d.
        let ip = destination.ip().to_canonical();
        let wildcard = match ip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let at = |ip| {
            let found = self.by_address.get(&SocketAddr::new(ip, destination.port()));
            found.filter(|listener| listener.direction == accepted_on.direction)
        };
        at(ip).or_else(|| at(wildcard)).unwrap_or(accepted_on)
    }

    /// The cluster of that name.
    pub fn cluster(&self, name: &str) -> Lookup<&Arc<Cluster>> {
        self.clusters.get(name).map_or(Lookup::Absent, Lookup::Known)
    }

    /// The route configuration of that name.
    pub fn route_config(&self, name: &str) -> Lookup<&Arc<RouteConfig>> {
        self.routes.get(name).map_or(Lookup::Absent, Lookup::Known)
    }

    /// The DNS names.
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// All clusters, for the admin API.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.clusters.values()
    }

    /// All listeners, for the admin API.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.values()
    }

    /// All route configurations, for the admin API.
    pub fn route_configs(&self) -> impl Iterator<Item = &Arc<RouteConfig>> {
        self.routes.values()
    }
}

impl Names {
    /// The addresses of a name (lower case, without trailing dot): its own, else those of the longest `*.suffix`.
    /// An empty list means that the name exists and has no address.
    pub fn lookup(&self, name: &str) -> Option<&[IpAddr]> {
        let suffixes = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
        let found =
            self.addresses.get(name).or_else(|| suffixes.into_iter().find_map(|suffix| self.wildcards.get(suffix)));
        found.map(|addresses| &**addresses)
    }
}
