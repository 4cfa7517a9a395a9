//! What is read from `core.v3.Metadata`: provenance, Istio's names, the TLS mode of an endpoint.

use std::sync::Arc;

use envoy_types::pb::{
    envoy::config::core::v3::Metadata,
    google::protobuf::{Struct, Value, value::Kind},
};
use mizzen_rules::Origin;

use crate::cluster::{ServiceName, Workload};

/// `filter_metadata["mizzen.io"] {object, rule}`: see docs/wire.md, "Provenance".
pub(crate) fn origin(metadata: Option<&Metadata>) -> Option<Origin> {
    let fields = section(metadata, "mizzen.io")?;
    let object: Arc<str> = string(fields, "object")?.into();
    Some(Origin { object, rule: string(fields, "rule").unwrap_or_default().into() })
}

/// `istio.services[0]`.
pub(crate) fn service(metadata: Option<&Metadata>) -> Option<ServiceName> {
    let services = section(metadata, "istio")?.fields.get("services")?;
    let Some(Kind::ListValue(services)) = &services.kind else { return None };
    let Some(Kind::StructValue(first)) = &services.values.first()?.kind else { return None };
    let part = |name| string(first, name).unwrap_or_default().into();
    Some(ServiceName { host: part("host"), name: part("name"), namespace: part("namespace") })
}

/// `istio.subset`.
pub(crate) fn subset(metadata: Option<&Metadata>) -> Option<Box<str>> {
    string(section(metadata, "istio")?, "subset").map(Into::into)
}

/// `istio.workload`: `name;namespace;canonical;revision;cluster`.
pub(crate) fn workload(metadata: Option<&Metadata>) -> Option<Workload> {
    let mut parts = string(section(metadata, "istio")?, "workload")?.split(';').map(Box::from);
    let mut part = || parts.next().unwrap_or_default();
    Some(Workload {
        name: part(),
        namespace: part(),
        canonical_name: part(),
        canonical_revision: part(),
        cluster: part(),
    })
}

/// `envoy.transport_socket_match.tlsMode`.
pub(crate) fn tls_mode(metadata: Option<&Metadata>) -> Option<&str> {
    string(section(metadata, "envoy.transport_socket_match")?, "tlsMode")
}

/// `mizzen.io.connections_max` of a listener.
pub(crate) fn connections_max(metadata: Option<&Metadata>) -> Option<u32> {
    match section(metadata, "mizzen.io")?.fields.get("connections_max")?.kind {
        Some(Kind::NumberValue(number)) if number >= 0.0 => Some(number as u32),
        _ => None,
    }
}

pub(crate) fn string<'a>(fields: &'a Struct, name: &str) -> Option<&'a str> {
    match fields.fields.get(name) {
        Some(Value { kind: Some(Kind::StringValue(text)) }) => Some(text),
        _ => None,
    }
}

fn section<'a>(metadata: Option<&'a Metadata>, name: &str) -> Option<&'a Struct> {
    metadata?.filter_metadata.get(name)
}
