//! Tests of the compiler, from YAML to decoded Envoy messages.

mod accepted;
mod bookinfo;
mod clusters;
mod edits;
mod gateways;
mod inbound;
mod listeners;
mod property;
mod refused;
mod routes;

use std::fmt::Write;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use mizzen_api::Object;
use mizzen_world::{Labels, Objects, World};
use prost::Message;

use crate::{Capabilities, Compiler, Kind, ProxyKind, ResourceSet, Scope};

/// What `mizzen-proxy` can do.
pub(crate) const MIZZEN: Capabilities = Capabilities { vhds: true, alpn: true };
/// What a stock Envoy can do.
pub(crate) const ENVOY: Capabilities = Capabilities { vhds: false, alpn: false };

pub(crate) fn parse(text: &str) -> Vec<Arc<Object>> {
    let result = mizzen_api::load("mesh.yaml", text);
    assert!(result.unparsable.is_none() && result.rejected.is_empty(), "{result:#?}");
    result.objects.into_iter().map(Arc::new).collect()
}

pub(crate) fn objects(text: &str) -> Objects {
    parse(text).into_iter().map(|object| (object.id.clone(), object)).collect()
}

pub(crate) fn world(text: &str) -> World {
    World::new(1, &objects(text)).0
}

pub(crate) fn sidecar(namespace: &str, ip: &str) -> Scope {
    Scope {
        kind: ProxyKind::Sidecar,
        namespace: namespace.into(),
        labels: Labels::default(),
        capabilities: MIZZEN,
        addresses: ip.parse().into_iter().collect(),
    }
}

pub(crate) fn router(namespace: &str, labels: &[(&str, &str)]) -> Scope {
    Scope {
        kind: ProxyKind::Router,
        labels: labels.iter().copied().collect(),
        addresses: Vec::new(),
        ..sidecar(namespace, "")
    }
}

pub(crate) fn compile(text: &str, scope: &Scope) -> Arc<ResourceSet> {
    Compiler::new().compile(&world(text), scope)
}

/// A resource decoded with Envoy's own full type.
pub(crate) fn decode<M: Message + Default>(set: &ResourceSet, kind: Kind, name: &str) -> M {
    let resource = set.get(kind, name).unwrap_or_else(|| panic!("no {kind:?} {name}: {}", names(set, kind)));
    M::decode(resource.body.clone()).expect("Envoy's type reads it")
}

pub(crate) fn cluster(set: &ResourceSet, name: &str) -> Cluster {
    decode(set, Kind::Cluster, name)
}

pub(crate) fn listener(set: &ResourceSet, name: &str) -> Listener {
    decode(set, Kind::Listener, name)
}

pub(crate) fn virtual_host(set: &ResourceSet, name: &str) -> VirtualHost {
    decode(set, Kind::VirtualHost, name)
}

pub(crate) fn routes(set: &ResourceSet, name: &str) -> RouteConfiguration {
    decode(set, Kind::Routes, name)
}

pub(crate) fn names(set: &ResourceSet, kind: Kind) -> String {
    let mut text = String::new();
    for name in set.of(kind).keys() {
        write!(text, "{name} ").expect("writing to a string");
    }
    text.trim_end().to_owned()
}

/// A Service and a ready, meshed Pod behind it.
pub(crate) fn service(name: &str, port: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: {name}}}, ports: [{port}]}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}-1, labels: {{app: {name}, security.istio.io/tlsMode: istio}}}}\n\
         spec: {{serviceAccountName: {name}, containers: [{{name: c}}]}}\n\
         status: {{podIP: {ip}, conditions: [{{type: Ready, status: 'True'}}]}}\n---\n"
    )
}
