//! Clusters and endpoints, compiled.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mizzen_rules::Origin;

use crate::listener::ClientTls;

/// A cluster as the proxy uses it: what it is, and where it is now. A change of endpoints keeps `spec`'s identity.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub spec: Arc<ClusterSpec>,
    pub endpoints: Arc<Endpoints>,
}

/// All of a cluster but its endpoints.
#[derive(Debug)]
pub struct ClusterSpec {
    pub name: Arc<str>,
    pub kind: ClusterKind,
    /// Istio's `istio.services[0]`, for metrics.
    pub service: Option<ServiceName>,
    pub subset: Option<Box<str>>,
    pub connect_timeout: Duration,
    pub protocol: UpstreamProtocol,
    pub policy: LbPolicy,
    /// By the endpoint's `tlsMode`: first match wins.
    pub tls: Vec<TlsChoice>,
    /// Source address of connections to the application (`127.0.0.6`, `::6`).
    pub bind: Option<IpAddr>,
    /// The bind for the other family.
    pub bind_v6: Option<IpAddr>,
    /// Idle upstream connections live this long. Default 1 h (5 min for `PassthroughCluster`).
    pub idle_timeout: Duration,
    /// 0: no limit.
    pub requests_per_connection_max: u32,
    pub limits: Limits,
    pub origin: Option<Origin>,
}

/// Where endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// Name of the `ClusterLoadAssignment`.
    Eds(Arc<str>),
    /// In the resource itself; addresses only.
    Static,
    /// In the resource itself; host names, resolved by the proxy.
    Dns,
    /// The connection's original destination.
    OriginalDst,
}

/// Istio's service identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName {
    pub host: Box<str>,
    pub name: Box<str>,
    pub namespace: Box<str>,
}

/// HTTP version towards the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    Http1,
    Http2,
    /// As the client.
    Downstream,
}

/// How an endpoint is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LbPolicy {
    RoundRobin,
    LeastRequest,
    Random,
    /// The original destination (`CLUSTER_PROVIDED`).
    Given,
}

/// One entry of `transport_socket_matches`.
#[derive(Clone, Debug)]
pub struct TlsChoice {
    /// `tlsMode` of the endpoint; `None` matches all.
    pub mode: Option<Box<str>>,
    /// `None`: plaintext.
    pub tls: Option<Arc<ClientTls>>,
}

/// Circuit breakers; `u32::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections: u32,
    pub pending: u32,
    pub requests: u32,
    pub retries: u32,
}

/// The endpoints of a cluster.
#[derive(Debug, Default)]
pub struct Endpoints {
    pub list: Vec<Endpoint>,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub address: Address,
    pub weight: u32,
    pub healthy: bool,
    /// 0 is the first choice.
    pub priority: u32,
    pub tls_mode: Option<Box<str>>,
    /// From Istio's endpoint metadata.
    pub workload: Option<Arc<Workload>>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Socket(SocketAddr),
    /// Host and port of a DNS cluster.
    Name(Box<str>, u16),
}

/// `istio.workload`: `name;namespace;canonical;revision;cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    pub name: Box<str>,
    pub namespace: Box<str>,
    pub canonical_name: Box<str>,
    pub canonical_revision: Box<str>,
    pub cluster: Box<str>,
}
