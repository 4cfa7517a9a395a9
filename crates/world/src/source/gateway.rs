//! `Gateway` → model.

use std::sync::Arc;

use mizzen_api::Object;
use mizzen_api::istio::Gateway as Source;

use super::{age, labels, ns_name};
use crate::gateway::{Gateway, Server, ServerHost};
use crate::service::Protocol;

pub(crate) fn gateway(object: &Object, source: &Source) -> Gateway {
    let servers = source.servers.iter().enumerate().map(|(index, server)| Server {
        port: server.port.number,
        protocol: Protocol::named(&server.port.protocol).unwrap_or(Protocol::Tcp),
        hosts: server.hosts.iter().map(|host| server_host(host, &object.id.namespace)).collect(),
        refused: object.refuses_under(&format!("spec.servers[{index}]")),
    });
    Gateway {
        key: ns_name(object),
        object: object.id.to_string().into(),
        age: age(object),
        selector: labels(&source.selector),
        servers: servers.collect(),
    }
}

/// Reads `[NS/]DNS`; the namespace `.` is the gateway's own, `*` any.
fn server_host(written: &str, own: &Arc<str>) -> ServerHost {
    let (namespace, host) = match written.split_once('/') {
        None | Some(("*", _)) => (None, written.rsplit('/').next().unwrap_or(written)),
        Some((".", host)) => (Some(own.clone()), host),
        Some((namespace, host)) => (Some(namespace.into()), host),
    };
    ServerHost { namespace, host: host.to_ascii_lowercase().into() }
}
