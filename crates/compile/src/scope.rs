//! Who asks: the facts about a data plane that may decide what it gets, and nothing else about it.
//!
//! Clients with equal scopes get the very same resources, compiled once.

use std::net::IpAddr;
use std::sync::Arc;

use mizzen_world::Labels;

/// The kind of a data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// Beside a workload, both ways.
    Sidecar,
    /// A gateway.
    Router,
}

/// What a client lists in `node.extensions[].name` (`docs/wire.md`, "Client capabilities").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capabilities {
    /// `mizzen.io/vhds`: virtual hosts arrive as resources of their own.
    pub vhds: bool,
    /// `istio.alpn`: the filter that picks the upstream ALPN by the downstream protocol.
    pub alpn: bool,
}

impl Capabilities {
    /// Reads the names of `node.extensions`; unknown ones mean nothing here.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Capabilities {
        let mut capabilities = Capabilities::default();
        for name in names {
            match name {
                "mizzen.io/vhds" => capabilities.vhds = true,
                "istio.alpn" => capabilities.alpn = true,
                _ => {}
            }
        }
        capabilities
    }
}

/// A data plane, as far as its configuration depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    pub kind: ProxyKind,
    pub namespace: Arc<str>,
    /// The workload's labels: they select gateways, policies and routes with `sourceLabels`.
    pub labels: Labels,
    pub capabilities: Capabilities,
    /// The workload's own addresses: they tell which services it is an endpoint of, and its policy.
    pub addresses: Vec<IpAddr>,
}
