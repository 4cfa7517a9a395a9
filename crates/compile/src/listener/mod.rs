//! Listeners: where a data plane accepts, and which filter chain a connection gets.

mod filters;
mod gateway;
mod inbound;
mod outbound;

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::listener_filter::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::{AdditionalAddress, ListenerFilter};
use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::google::protobuf::Any;

pub(crate) use gateway::GatewayListenerView;
pub(crate) use inbound::{InboundPort, InboundView};
pub(crate) use outbound::{Plain, ServiceListenerView, VirtualOutboundView, WildcardView};

use crate::resource::{Kind, Resource};
use crate::wire::Listener;
use crate::wire::build::{address, any, bool_value};

/// A listener on a port of every address of both families.
fn wildcard(name: impl Into<String>, port: u16, direction: TrafficDirection) -> Listener {
    Listener {
        name: name.into(),
        address: Some(address("0.0.0.0", port)),
        additional_addresses: vec![AdditionalAddress {
            address: Some(address("::", port)),
            ..AdditionalAddress::default()
        }],
        traffic_direction: direction as i32,
        ..Listener::default()
    }
}

/// Not a socket of its own: connections are handed to it by the one that was captured on.
fn unbound(listener: Listener) -> Listener {
    Listener { bind_to_port: Some(bool_value(false)), ..listener }
}

fn finish(listener: &Listener) -> Vec<Arc<Resource>> {
    vec![Resource::encode(Kind::Listener, &*listener.name, listener)]
}

fn listener_filter(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter {
        name: format!("envoy.filters.listener.{name}"),
        config_type: Some(ConfigType::TypedConfig(config)),
        filter_disabled: None,
    }
}

/// Tell TLS and HTTP from other bytes. Without a timeout: how long to wait for a first byte is no matter of clocks.
fn inspectors() -> Vec<ListenerFilter> {
    vec![
        listener_filter("tls_inspector", any(&TlsInspector::default())),
        listener_filter("http_inspector", any(&HttpInspector {})),
    ]
}
