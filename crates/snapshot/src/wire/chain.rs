//! `FilterChain` → when it serves, and what it does.

use std::{sync::Arc, time::Duration};

use envoy_types::pb::envoy::{
    config::listener::v3::{
        Filter, FilterChain as Wire, FilterChainMatch, filter::ConfigType, filter_chain_match::ConnectionSourceType,
    },
    extensions::filters::network::{
        http_connection_manager::v3::HttpConnectionManager,
        tcp_proxy::v3::{TcpProxy as WireTcpProxy, tcp_proxy::ClusterSpecifier},
    },
};
use mizzen_rules::{ChainMatch, Transport};

use super::{
    At, FOREVER, Refused, Result, address, decode, duration, each, http_manager, is, is_positive, is_true, log,
    metadata, named, number, refuse, tls, type_name, unsupported,
};
use crate::listener::{FilterChain, Handler, TcpProxy};

/// Istio's `transport_socket_connect_timeout`.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Network filters that only observe: a chain or cluster works the same without them.
pub(crate) fn is_harmless(filter: &str) -> bool {
    ["istio.metadata_exchange", "envoy.filters.network.metadata_exchange", "istio.stats"].contains(&filter)
}

/// When a chain serves. `None` is always.
pub(crate) fn conditions(wire: Option<&FilterChainMatch>) -> Result<ChainMatch> {
    let Some(wire) = wire else { return Ok(ChainMatch::default()) };
    unsupported(&[
        ("address_suffix", !wire.address_suffix.is_empty()),
        ("suffix_len", wire.suffix_len.is_some()),
        ("direct_source_prefix_ranges", !wire.direct_source_prefix_ranges.is_empty()),
        ("source_type", wire.source_type != ConnectionSourceType::Any as i32),
    ])?;
    let port = |port: u32| u16::try_from(port).map_err(|_| Refused::new(format!("{port} is no port")));
    let transport = match wire.transport_protocol.as_str() {
        "" => None,
        "raw_buffer" => Some(Transport::Raw),
        "tls" => Some(Transport::Tls),
        other => return refuse(format!("expected raw_buffer or tls, found `{other}`")).at("transport_protocol"),
    };
    let destination_port = number(wire.destination_port.as_ref()).map(port).transpose().at("destination_port")?;
    let text = |text: &String| text.as_str().into();
    Ok(ChainMatch {
        destination_port,
        destinations: each("prefix_ranges", &wire.prefix_ranges, address::network)?,
        server_names: wire.server_names.iter().map(text).collect(),
        transport,
        protocols: wire.application_protocols.iter().map(text).collect(),
        sources: each("source_prefix_ranges", &wire.source_prefix_ranges, address::network)?,
        source_ports: each("source_ports", &wire.source_ports, |source| port(*source))?,
    })
}

pub(crate) fn from_wire(wire: &Wire) -> Result<FilterChain> {
    unsupported(&[("use_proxy_proto", is_true(wire.use_proxy_proto.as_ref()))])?;
    let tls = tls::server(wire.transport_socket.as_ref()).at("transport_socket")?;
    let handshake = duration("transport_socket_connect_timeout", wire.transport_socket_connect_timeout.as_ref())?;
    Ok(FilterChain {
        name: wire.name.as_str().into(),
        tls: tls.map(Arc::new),
        handshake_timeout: handshake.filter(|timeout| !timeout.is_zero()).unwrap_or(HANDSHAKE_TIMEOUT),
        handler: handler(&wire.filters)?,
        origin: metadata::origin(wire.metadata.as_ref()),
    })
}

/// The last filter serves the connection; those before it must be harmless.
fn handler(filters: &[Filter]) -> Result<Handler> {
    let Some((last, before)) = filters.split_last() else {
        return refuse("expected a connection manager or a TCP proxy").at("filters");
    };
    if let Some(index) = before.iter().position(|filter| !is_harmless(&filter.name)) {
        let problem = format!("`{}` is not supported in this release", before[index].name);
        return refuse(problem).at_index("filters", index);
    }
    terminal(last).at_index("filters", before.len())
}

fn terminal(wire: &Filter) -> Result<Handler> {
    let Some(ConfigType::TypedConfig(config)) = &wire.config_type else {
        return refuse("expected a typed_config");
    };
    if is::<HttpConnectionManager>(config) {
        let manager = decode(&config.value).and_then(|manager| http_manager::from_wire(&manager));
        manager.at("typed_config").map(|manager| Handler::Http(Arc::new(manager)))
    } else if is::<WireTcpProxy>(config) {
        let proxy = decode(&config.value).and_then(|proxy| tcp_proxy(&proxy));
        proxy.at("typed_config").map(|proxy| Handler::Tcp(Arc::new(proxy)))
    } else {
        refuse(format!("expected a connection manager or a TCP proxy, found `{}`", type_name(config)))
            .at("typed_config")
    }
}

fn tcp_proxy(wire: &WireTcpProxy) -> Result<TcpProxy> {
    unsupported(&[
        ("on_demand", wire.on_demand.is_some()),
        ("metadata_match", wire.metadata_match.is_some()),
        ("tunneling_config", wire.tunneling_config.is_some()),
        ("max_downstream_connection_duration", is_positive(wire.max_downstream_connection_duration.as_ref())),
        ("max_connect_attempts", number(wire.max_connect_attempts.as_ref()).is_some_and(|attempts| attempts > 1)),
        ("proxy_protocol_tlvs", !wire.proxy_protocol_tlvs.is_empty()),
        ("upstream_connect_mode", wire.upstream_connect_mode != 0),
    ])?;
    let clusters = match &wire.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![(named("cluster", name)?.into(), 1)],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let clusters = each("clusters", &weighted.clusters, |cluster| {
                unsupported(&[("metadata_match", cluster.metadata_match.is_some())])?;
                Ok((named("name", &cluster.name)?.into(), cluster.weight))
            });
            let clusters = clusters.at("weighted_clusters")?;
            if clusters.iter().all(|(_, weight)| *weight == 0) {
                return refuse("expected a weight above 0").at("weighted_clusters.clusters");
            }
            clusters
        }
        None => return refuse("expected cluster or weighted_clusters"),
    };
    Ok(TcpProxy {
        stat_prefix: wire.stat_prefix.as_str().into(),
        clusters,
        idle_timeout: duration("idle_timeout", wire.idle_timeout.as_ref())?
            .map(|idle| if idle.is_zero() { FOREVER } else { idle }),
        access_log: log::from_wire(&wire.access_log)?,
    })
}
