//! Who asks: an xDS node, read strictly.
//!
//! In: the first request's node, written by the client. Out: [`Asking`], or what is wrong with it. Shape of the id and
//! names of the metadata: Istio's (`TYPE~IP~POD.NAMESPACE~DOMAIN`).

use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::Struct;
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use mizzen_compile::{Capabilities, ProxyKind, Scope};
use mizzen_world::Labels;

/// Longest node id in bytes.
const ID_BYTES_MAX: usize = 1024;
/// Most addresses and labels of a node; further ones are an error.
const LIST_MAX: usize = 64;

/// A client, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) id: String,
    pub(crate) service_account: Option<String>,
    pub(crate) scope: Scope,
}

/// Why a node is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NodeError {
    #[error("node id: expected TYPE~IP~POD.NAMESPACE~DOMAIN, found {0:?}")]
    Id(String),
    #[error("node type: expected sidecar or router, found {0:?}")]
    Type(String),
    #[error("node id: expected an IP address, found {0:?}")]
    Ip(String),
    #[error("node metadata INSTANCE_IPS: expected at most {LIST_MAX} IP addresses, found {0:?}")]
    InstanceIps(String),
    #[error("node metadata LABELS: more than {LIST_MAX}")]
    Labels,
    #[error("the node tells no namespace")]
    Namespace,
}

impl Asking {
    pub(crate) fn read(node: &Node) -> Result<Self, NodeError> {
        let bad_id = || NodeError::Id(node.id.chars().take(100).collect());
        if node.id.len() > ID_BYTES_MAX || node.id.chars().any(char::is_control) {
            return Err(bad_id());
        }
        let parts: Vec<&str> = node.id.split('~').collect();
        let [kind, ip, _, domain] = parts.as_slice() else { return Err(bad_id()) };
        let kind = match *kind {
            "sidecar" => ProxyKind::Sidecar,
            "router" => ProxyKind::Router,
            other => return Err(NodeError::Type(other.to_owned())),
        };
        let ip: IpAddr = ip.parse().map_err(|_| NodeError::Ip((*ip).to_owned()))?;
        let metadata = node.metadata.as_ref();
        let text = |name: &str| metadata.and_then(|fields| string(fields, name)).filter(|text| !text.is_empty());
        let namespace = text("NAMESPACE").or_else(|| domain.split('.').next().filter(|label| !label.is_empty()));
        let namespace = namespace.ok_or(NodeError::Namespace)?;
        let addresses = match text("INSTANCE_IPS") {
            Some(list) => read_addresses(list)?,
            None => vec![ip],
        };
        let labels = metadata.map_or(Ok(Labels::default()), read_labels)?;
        let capabilities = Capabilities::from_names(node.extensions.iter().map(|extension| extension.name.as_str()));
        Ok(Self {
            id: node.id.clone(),
            service_account: text("SERVICE_ACCOUNT").map(str::to_owned),
            scope: Scope { kind, namespace: Arc::from(namespace), labels, capabilities, addresses },
        })
    }

    /// Whether whoever has proven to be of this namespace and account may ask as this node.
    pub(crate) fn is_of(&self, namespace: &str, service_account: &str) -> bool {
        let account = self.service_account.as_deref();
        *self.scope.namespace == *namespace && account.is_none_or(|account| account == service_account)
    }
}

fn read_addresses(list: &str) -> Result<Vec<IpAddr>, NodeError> {
    let bad = || NodeError::InstanceIps(list.chars().take(100).collect());
    let mut addresses: Vec<IpAddr> =
        list.split(',').map(|ip| ip.trim().parse()).collect::<Result<_, _>>().map_err(|_| bad())?;
    if addresses.len() > LIST_MAX {
        return Err(bad());
    }
    // Scopes are compared: the order in which a client lists its addresses means nothing.
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

fn read_labels(metadata: &Struct) -> Result<Labels, NodeError> {
    let Some(ValueKind::StructValue(labels)) = metadata.fields.get("LABELS").and_then(|value| value.kind.as_ref())
    else {
        return Ok(Labels::default());
    };
    if labels.fields.len() > LIST_MAX {
        return Err(NodeError::Labels);
    }
    let text = labels.fields.iter().filter_map(|(key, value)| match &value.kind {
        Some(ValueKind::StringValue(value)) => Some((key.as_str(), value.as_str())),
        _ => None,
    });
    Ok(text.collect())
}

fn string<'a>(fields: &'a Struct, name: &str) -> Option<&'a str> {
    match fields.fields.get(name)?.kind.as_ref()? {
        ValueKind::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
