//! Endpoints of a service: addresses with the ports they serve, their health, and the workload behind them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::workload::Workload;

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    Ip(IpAddr),
    /// A DNS name, for services that resolve by DNS.
    Name(Arc<str>),
}

impl Address {
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Ip(ip) => Some(*ip),
            Address::Name(_) => None,
        }
    }
}

/// What is known of an endpoint's fitness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    Ready,
    /// Sent to clients as unhealthy.
    Unready,
    /// Serves what it has; no new client hears of it.
    Terminating,
    /// Selected by the labels but in no slice: it accepts, no client hears of it.
    Unlisted,
}

/// A port of the service and the port of the endpoint behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    pub service_port: u16,
    pub port: u16,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub address: Address,
    pub targets: Arc<[Target]>,
    pub health: Health,
    /// Relative to the other endpoints; 0 is taken as 1.
    pub weight: u32,
    /// The name under which DNS knows this endpoint alone: `HOSTNAME` in `HOSTNAME.SERVICE.NS.svc…`.
    pub hostname: Option<Arc<str>>,
    pub workload: Arc<Workload>,
}

impl Endpoint {
    pub fn target(&self, service_port: u16) -> Option<u16> {
        self.targets.iter().find(|target| target.service_port == service_port).map(|target| target.port)
    }

    /// True if clients are told of it.
    pub fn is_listed(&self) -> bool {
        matches!(self.health, Health::Ready | Health::Unready)
    }
}

/// How much of a service is meshed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Coverage {
    /// No listed endpoint takes mutual TLS.
    #[default]
    Nothing,
    Some,
    All,
}

/// What a client's TLS needs to know of a service's endpoints; it changes far less often than they do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// The SPIFFE ids of the meshed endpoints, sorted.
    pub identities: Vec<Arc<str>>,
    pub coverage: Coverage,
}

/// All endpoints of one service, sorted by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    pub all: Vec<Endpoint>,
    pub peers: Arc<Peers>,
}

impl Endpoints {
    /// Sorts, sums up the peers, and reuses the previous `Peers` if they are the same.
    pub fn new(mut all: Vec<Endpoint>, previous: Option<&Endpoints>) -> Endpoints {
        all.sort_by(|a, b| a.address.cmp(&b.address).then_with(|| a.targets.cmp(&b.targets)));
        all.dedup_by(|a, b| a.address == b.address && a.targets == b.targets);
        let peers = Peers::of(&all);
        let peers = match previous {
            Some(previous) if *previous.peers == peers => previous.peers.clone(),
            _ => Arc::new(peers),
        };
        Endpoints { all, peers }
    }

    pub fn listed(&self) -> impl Iterator<Item = &Endpoint> {
        self.all.iter().filter(|endpoint| endpoint.is_listed())
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.all.iter().filter_map(|endpoint| endpoint.address.ip())
    }
}

impl Peers {
    fn of(endpoints: &[Endpoint]) -> Peers {
        // Terminating endpoints count: a connection may still be made to one that a client has not yet dropped.
        let (mut meshed, mut plain) = (0, 0);
        let mut identities = BTreeSet::new();
        for endpoint in endpoints {
            if endpoint.workload.meshed {
                meshed += 1;
                identities.extend(endpoint.workload.identity.clone());
            } else if endpoint.is_listed() {
                plain += 1;
            }
        }
        let coverage = match (meshed, plain) {
            (0, _) => Coverage::Nothing,
            (_, 0) => Coverage::All,
            _ => Coverage::Some,
        };
        Peers { identities: identities.into_iter().collect(), coverage }
    }
}
