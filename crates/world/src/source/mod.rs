//! Source to model: one function per kind, from what a user wrote to what the mesh means by it. No function here looks at
//! another object; what follows from several is built in `update`.

mod destination_rule;
mod endpoints;
mod gateway;
mod mesh;
mod peer_auth;
mod pod;
mod service;
mod virtual_service;

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_api::Object;

use crate::labels::Labels;
use crate::name::{Age, NsName};

pub(crate) use destination_rule::destination_rule;
pub(crate) use endpoints::{
    Found, entry_endpoints, external_endpoint, legacy_endpoints, pod_endpoint, service_of_slice, slice_endpoints,
};
pub(crate) use gateway::gateway;
pub(crate) use mesh::mesh_settings;
pub(crate) use peer_auth::peer_authentication;
pub(crate) use pod::{node_locality, pod};
pub(crate) use service::{declared_services, wants_address};
pub(crate) use virtual_service::{retries, virtual_service};

/// The age of an object.
pub(crate) fn age(object: &Object) -> Age {
    Age { created: object.meta.creation, object: ns_name(object) }
}

pub(crate) fn ns_name(object: &Object) -> NsName {
    NsName { namespace: object.id.namespace.clone(), name: object.id.name.clone() }
}

fn labels(map: &BTreeMap<String, String>) -> Labels {
    map.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// The text as a shared string, `None` if it is absent or empty.
fn text(value: Option<&String>) -> Option<Arc<str>> {
    value.filter(|value| !value.is_empty()).map(|value| value.as_str().into())
}
