//! DNS names: one table per service, named by its host.

use std::sync::Arc;

use mizzen_world::endpoint::Endpoints;
use mizzen_world::names::names_of;
use mizzen_world::service::Service;

use crate::memo::{Shared, View};
use crate::resource::{Kind, Resource};
use crate::wire::{NameInfo, NameTable};

/// All that a service's names are made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NamesView {
    pub(crate) service: Shared<Service>,
    /// Only of a headless service.
    pub(crate) endpoints: Option<Shared<Endpoints>>,
}

impl View for NamesView {
    fn compile(&self) -> Vec<Arc<Resource>> {
        let service = &*self.service;
        let entries = names_of(service, self.endpoints.as_deref(), service.namespace());
        if entries.is_empty() {
            return Vec::new();
        }
        let registry = if service.is_kubernetes() { "Kubernetes" } else { "External" };
        let table = entries.into_iter().map(|entry| {
            let info = NameInfo {
                ips: entry.addresses.iter().map(ToString::to_string).collect(),
                registry: registry.to_owned(),
                // What clients build `SHORT.NS` and `SHORT.NS.svc` from.
                shortname: short_name(service, &entry.name),
                namespace: service.namespace().to_string(),
            };
            (entry.name.to_string(), info)
        });
        vec![Resource::encode(Kind::Names, service.host().clone(), &NameTable { table: table.collect() })]
    }
}

/// The part of a Kubernetes name before its namespace; a Pod's is `POD.SERVICE`.
fn short_name(service: &Service, name: &str) -> String {
    if !service.is_kubernetes() {
        return String::new();
    }
    let replica = name.strip_suffix(&**service.host()).unwrap_or_default();
    format!("{replica}{}", service.name())
}
