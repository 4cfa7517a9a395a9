//! Edges: who called whom, how often, how well, over what security. Measured on each connection, never derived from
//! configuration.
//!
//! In: an [`EdgeKey`] per connection (per endpoint on the client's side), then one call per request. Out:
//! [`EdgeReport`], the JSON of the admin's `/edges`, which the CLI reads back with the same types.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    latency::{self, LatencyHistogram},
    metrics::{
        Cell,
        registry::{Entry, Handle, Registry, Series},
    },
};

pub(crate) type EdgeShard = Registry<EdgeKey, EdgeData>;

/// Which side of the proxy's own workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Towards the workload.
    Inbound,
    /// From the workload, or through a gateway.
    Outbound,
}

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeProtocol {
    /// HTTP requests.
    Http,
    /// gRPC requests.
    Grpc,
    /// TCP connections.
    Tcp,
}

/// Identifies an edge, and the security of the connection its requests came over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// Which side.
    pub direction: Direction,
    /// What is counted.
    pub protocol: EdgeProtocol,
    /// The client's address, if it tells one client from another.
    pub source_ip: Option<IpAddr>,
    /// The client's SPIFFE id, from its certificate.
    pub source_principal: Option<Arc<str>>,
    /// Inbound the workload, outbound the service's host.
    pub destination: Arc<str>,
    /// Outbound: the endpoint that was chosen.
    pub upstream_ip: Option<IpAddr>,
    /// Whether the connection (inbound: from the client, outbound: to the endpoint) was mutual TLS.
    pub mtls: bool,
    /// The group its handshake agreed on, by its IANA name, such as `X25519MLKEM768`.
    pub key_exchange: Option<Arc<str>>,
}

impl EdgeKey {
    pub(crate) fn overflow() -> Self {
        Self {
            direction: Direction::Inbound,
            protocol: EdgeProtocol::Http,
            source_ip: None,
            source_principal: None,
            destination: "overflow".into(),
            upstream_ip: None,
            mtls: false,
            key_exchange: None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct EdgeData {
    requests: Cell,
    failures: Cell,
    latency: LatencyHistogram,
}

impl Series for EdgeData {
    fn activity(&self) -> u64 {
        self.requests.get().wrapping_add(self.failures.get())
    }

    fn cost(&self) -> usize {
        1
    }
}

/// Handle to one edge in one shard.
#[derive(Clone, Debug)]
pub struct Edge(Handle<EdgeKey, EdgeData>);

impl Edge {
    pub(crate) fn new(handle: Handle<EdgeKey, EdgeData>) -> Self {
        Self(handle)
    }

    /// A request that went well: HTTP below 500, gRPC status 0. `latency` is as in the metrics.
    pub fn success(&self, latency: Duration) {
        let data = self.0.live();
        data.requests.add(1);
        data.latency.record(latency);
    }

    /// A request that did not.
    pub fn failure(&self, latency: Duration) {
        self.success(latency);
        self.0.live().failures.add(1);
    }

    /// A TCP connection, when it is opened: it counts as one request without a latency.
    pub fn opened(&self) {
        self.0.live().requests.add(1);
    }

    /// A TCP connection, counted before, that ended by a reset or never reached its upstream.
    pub fn broken(&self) {
        self.0.live().failures.add(1);
    }
}

/// All edges of a proxy; cumulative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeReport {
    /// One per (direction, source, destination, upstream, protocol).
    pub edges: Vec<EdgeTotals>,
}

/// The figures of one edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeTotals {
    /// The client's address.
    pub source_ip: Option<IpAddr>,
    /// The client's SPIFFE id.
    pub source_principal: Option<Arc<str>>,
    /// Which side reports.
    pub direction: Direction,
    /// What is counted.
    pub protocol: EdgeProtocol,
    /// Service host (outbound) or workload (inbound).
    pub destination: Arc<str>,
    /// The endpoint, outbound.
    pub upstream_ip: Option<IpAddr>,
    /// Requests; connections for TCP.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those of them that came over mutual TLS.
    pub mtls: u64,
    /// Requests by the key exchange of their connection's handshake.
    pub key_exchange: BTreeMap<Arc<str>, u64>,
    /// `[upper bound in µs, count]`, ascending, without empty buckets.
    pub latency_us: Vec<(u64, u64)>,
}

impl EdgeTotals {
    fn new(key: &EdgeKey) -> Self {
        Self {
            source_ip: key.source_ip,
            source_principal: key.source_principal.clone(),
            direction: key.direction,
            protocol: key.protocol,
            destination: key.destination.clone(),
            upstream_ip: key.upstream_ip,
            requests: 0,
            failures: 0,
            mtls: 0,
            key_exchange: BTreeMap::new(),
            latency_us: Vec::new(),
        }
    }

    /// Adds the figures of another; which edge `self` is does not change.
    pub fn absorb(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.mtls += other.mtls;
        for (group, count) in &other.key_exchange {
            *self.key_exchange.entry(group.clone()).or_default() += count;
        }
        latency::merge(&mut self.latency_us, &other.latency_us);
    }

    fn absorb_data(&mut self, key: &EdgeKey, data: &EdgeData) {
        let requests = data.requests.get();
        self.requests += requests;
        self.failures += data.failures.get();
        self.mtls += if key.mtls { requests } else { 0 };
        if let Some(group) = &key.key_exchange {
            *self.key_exchange.entry(group.clone()).or_default() += requests;
        }
        latency::merge(&mut self.latency_us, &data.latency.buckets().collect::<Vec<_>>());
    }
}

impl EdgeReport {
    pub(crate) fn collect(entries: impl Iterator<Item = Arc<Entry<EdgeKey, EdgeData>>>) -> Self {
        let mut edges = BTreeMap::new();
        for entry in entries.filter(|entry| entry.series.activity() > 0) {
            let key = &entry.key;
            let identity = (
                key.direction,
                key.source_ip,
                key.source_principal.clone(),
                key.destination.clone(),
                key.upstream_ip,
                key.protocol,
            );
            edges.entry(identity).or_insert_with(|| EdgeTotals::new(key)).absorb_data(key, &entry.series);
        }
        Self { edges: edges.into_values().collect() }
    }
}

#[cfg(test)]
mod tests;
