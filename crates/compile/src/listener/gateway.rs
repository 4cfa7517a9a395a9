//! The listeners of a gateway: one per HTTP port of its servers, with a socket of its own.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use mizzen_world::mesh::MeshSettings;

use super::filters::{Side, http, rds};
use super::{finish, wildcard};
use crate::memo::{Shared, View};
use crate::resource::Resource;
use crate::wire::build::{bool_value, provenance};
use crate::wire::{FilterChain, Listener};

/// A plain HTTP port of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GatewayListenerView {
    pub(crate) mesh: Shared<MeshSettings>,
    pub(crate) port: u16,
    /// The object that opened it first, and its server: `spec.servers[0]`.
    pub(crate) object: Arc<str>,
    pub(crate) server: usize,
    pub(crate) alpn: bool,
}

impl View for GatewayListenerView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let name = format!("0.0.0.0_{}", self.port);
        let side = Side::Gateway { alpn: self.alpn };
        let chain = FilterChain {
            name: name.clone(),
            filters: vec![http(&self.mesh, side, &format!("outbound_{name}"), rds(&format!("http.{}", self.port)))],
            metadata: Some(provenance(&self.object, &format!("spec.servers[{}]", self.server))),
            ..FilterChain::default()
        };
        let listener = Listener {
            bind_to_port: Some(bool_value(true)),
            filter_chains: vec![chain],
            ..wildcard(name, self.port, TrafficDirection::Outbound)
        };
        finish(&listener)
    }
}
