//! Istio's kinds, field for field as their public schemas have them (`networking.istio.io`, `security.istio.io`, `MeshConfig`).
//!
//! These are source types: names in camelCase as in a file, protobuf's oneofs as optional fields of which validation allows one.
//! An absent list or map is an empty one. Which fields are enforced is told by [`crate::enforced`], not here.

mod common;
mod destination_rule;
mod gateway;
mod load_balancer;
mod mesh_config;
mod peer_authentication;
mod service_entry;
mod virtual_service;

pub use common::{
    Destination, LabelsSelector, PolicySelector, Port, PortSelector, StringMatch, StringMatchKind, TlsVersion,
};
pub use destination_rule::{
    ClientTls, ClientTlsMode, ConnectionPool, DestinationRule, H2UpgradePolicy, HttpPool, KeepAlive, OutlierDetection,
    PortPolicy, ProxyProtocol, ProxyProtocolVersion, RetryBudget, Subset, TcpKeepalive, TcpPool, TrafficPolicy, Tunnel,
};
pub use gateway::{Gateway, Server, ServerTls, ServerTlsMode, TlsCertificate};
pub use load_balancer::{
    BackendUtilization, ConsistentHash, Distribute, Failover, HashCookie, HashCookieAttribute, LoadBalancer,
    LocalityLb, Maglev, RingHash, SimpleLb, Warmup, ZoneAwareLb,
};
pub use mesh_config::{
    AccessLogEncoding, InboundTrafficMode, InboundTrafficPolicy, MESH_CONFIG_KEY, MESH_CONFIG_NAME, MeshConfig,
    MeshTls, OutboundTrafficMode, OutboundTrafficPolicy, PathNormalization, PathNormalizationMode, ProxyConfig,
};
pub use peer_authentication::{MtlsMode, MutualTls, PeerAuthentication};
pub use service_entry::{Location, Resolution, ServiceEntry, WorkloadEntry};
pub use virtual_service::{
    CorsPolicy, Delegate, DerivePort, DirectResponse, Fault, FaultAbort, FaultDelay, HeaderOperations, Headers,
    HttpBody, HttpMatch, HttpRoute, HttpRouteDestination, L4Match, MirrorPolicy, Percent, Redirect, RegexRewrite,
    Retries, Rewrite, RouteDestination, TcpRoute, TlsMatch, TlsRoute, UnmatchedPreflights, VirtualService,
};
