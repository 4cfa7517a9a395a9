//! Listeners and their filter chains, compiled.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mizzen_rules::{ChainTable, Origin};

use crate::{HttpManager, http_manager::RouteSource};

/// A listener: sockets (if bound) and the choice of a filter chain.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "Envoy's own independent switches")]
pub struct Listener {
    pub name: Arc<str>,
    /// The first address and the additional ones.
    pub addresses: Vec<SocketAddr>,
    /// Opens sockets; otherwise it is reached through a `use_original_dst` listener.
    pub bind: bool,
    /// Looks for a better listener by the original destination.
    pub use_original_dst: bool,
    pub direction: Direction,
    /// Reads a `ClientHello` before the chain is chosen.
    pub inspect_tls: bool,
    /// Tells HTTP/1, HTTP/2 and other bytes apart before the chain is chosen.
    pub inspect_http: bool,
    /// Connections at once; more are closed at accept. `None`: the process-wide limit only.
    pub connections_max: Option<u32>,
    pub chains: ChainTable,
    /// In the order of `chains`.
    pub filter_chains: Vec<Arc<FilterChain>>,
    /// Serves what no chain matches.
    pub default_chain: Option<Arc<FilterChain>>,
}

impl Listener {
    /// All chains, the default one last.
    pub fn all_chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.filter_chains.iter().chain(&self.default_chain)
    }

    /// Names of the route configurations that its connection managers ask for.
    pub fn route_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all_chains().filter_map(|chain| match &chain.handler {
            Handler::Http(manager) => match &manager.routes {
                RouteSource::Named(name) => Some(name),
                RouteSource::Inline(_) => None,
            },
            Handler::Tcp(_) => None,
        })
    }

    /// The clusters that its TCP proxies and inline routes name; one may come several times.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all_chains().flat_map(|chain| {
            let (inline, tcp) = match &chain.handler {
                Handler::Http(manager) => match &manager.routes {
                    RouteSource::Inline(config) => (Some(config), None),
                    RouteSource::Named(_) => (None, None),
                },
                Handler::Tcp(proxy) => (None, Some(proxy)),
            };
            let inline = inline.into_iter().flat_map(|config| config.clusters());
            inline.chain(tcp.into_iter().flat_map(|proxy| proxy.clusters.iter().map(|(name, _)| name)))
        })
    }
}

/// Envoy's `traffic_direction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Inbound,
    Outbound,
}

/// What happens to a connection.
#[derive(Debug)]
pub struct FilterChain {
    pub name: Arc<str>,
    /// Terminates TLS; `None` is plaintext.
    pub tls: Option<Arc<ServerTls>>,
    /// For the TLS handshake. Default 15 s (Istio).
    pub handshake_timeout: Duration,
    pub handler: Handler,
    pub origin: Option<Origin>,
}

/// The terminal network filter.
#[derive(Debug)]
pub enum Handler {
    Http(Arc<HttpManager>),
    Tcp(Arc<TcpProxy>),
}

/// `envoy.filters.network.tcp_proxy`.
#[derive(Debug)]
pub struct TcpProxy {
    pub stat_prefix: Box<str>,
    /// Cluster names with their weights; one entry is the common case.
    pub clusters: Vec<(Arc<str>, u32)>,
    /// Both directions silent for this long: closed. `None`: 1 h (Envoy).
    pub idle_timeout: Option<Duration>,
    pub access_log: Option<Arc<AccessLogSpec>>,
}

/// A file access log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessLogSpec {
    /// `/dev/stdout` or a path.
    pub path: Box<str>,
    pub format: LogFormat,
}

/// How a line is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Envoy's format string.
    Text(Box<str>),
    /// Keys and their format strings, in order.
    Json(Vec<(Box<str>, Box<str>)>),
}

/// What a chain asks of TLS: names only, the keys are the proxy's own affair.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerTls {
    /// SDS name of certificate and key: `default`.
    pub certificate: Box<str>,
    /// SDS name of the trust bundle: `ROOTCA`. `None`: clients need no certificate.
    pub trust: Option<Box<str>>,
    pub require_client_certificate: bool,
    /// What the peer's URI SAN must match. Empty: any that the bundle vouches for.
    pub peers: Vec<SanMatch>,
    pub alpn: Vec<Box<str>>,
    pub versions: TlsVersions,
}

/// What an upstream asks of TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientTls {
    /// SDS name of certificate and key; `None`: no client certificate.
    pub certificate: Option<Box<str>>,
    /// SDS name of the trust bundle.
    pub trust: Box<str>,
    pub sni: Option<Box<str>>,
    /// What the peer's SAN must match. Empty: any.
    pub peers: Vec<SanMatch>,
    /// Empty with the `istio.alpn` filter in force: chosen by the downstream protocol.
    pub alpn: Vec<Box<str>>,
    pub versions: TlsVersions,
}

/// Condition on a peer's URI SAN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SanMatch {
    Exact(Box<str>),
    Prefix(Box<str>),
}

/// Protocol versions allowed, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsVersions {
    pub min: TlsVersion,
    pub max: TlsVersion,
}

/// TLS 1.2 or 1.3; older ones are refused when the resource is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}
