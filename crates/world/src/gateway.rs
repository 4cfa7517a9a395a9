//! `Gateway`: which ports a gateway workload opens, for which hosts, and which rules may bind to them.

use std::sync::Arc;

use crate::labels::Labels;
use crate::name::{Age, NsName, intersect_hosts};
use crate::service::Protocol;
use crate::virtual_service::VirtualService;

/// One `Gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub key: NsName,
    /// `Gateway/default/bookinfo`.
    pub object: Arc<str>,
    pub age: Age,
    /// Which workloads, of any namespace; empty selects all gateways.
    pub selector: Labels,
    pub servers: Vec<Server>,
}

/// One of its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub port: u16,
    pub protocol: Protocol,
    pub hosts: Vec<ServerHost>,
    /// It asks for something that is not enforced yet (TLS, an address to bind to): its port is not opened for it.
    pub refused: bool,
}

/// A host of a server, and the namespace from which rules may bind to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHost {
    /// `None` is any namespace.
    pub namespace: Option<Arc<str>>,
    pub host: Arc<str>,
}

impl Server {
    /// The hosts of `rule` that this server serves, narrowed to what both name.
    pub fn hosts_of<'a>(&'a self, rule: &'a VirtualService) -> impl Iterator<Item = &'a Arc<str>> {
        rule.hosts.iter().flat_map(move |host| {
            let servers = self.hosts.iter().filter(|server| server.admits(&rule.age.object.namespace));
            servers.filter_map(move |server| intersect_hosts(&server.host, host))
        })
    }
}

impl ServerHost {
    fn admits(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|only| &**only == namespace)
    }
}
