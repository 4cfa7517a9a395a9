//! `Listener`.

use std::{net::SocketAddr, sync::Arc};

use envoy_types::pb::envoy::{
    config::{
        core::v3::TrafficDirection,
        listener::v3::{Listener as Wire, ListenerFilter, listener_filter::ConfigType},
    },
    extensions::filters::listener::{
        http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst, tls_inspector::v3::TlsInspector,
    },
};
use mizzen_rules::ChainTable;

use super::{At, Refused, Result, address, chain, each, is, is_true, metadata, refuse, type_name, unsupported};
use crate::listener::{Direction, Listener};

pub(crate) fn from_wire(name: &Arc<str>, wire: &Wire) -> Result<Listener> {
    unsupported(&[
        ("fcds_config", wire.fcds_config.is_some()),
        ("filter_chain_matcher", wire.filter_chain_matcher.is_some()),
        ("transparent", is_true(wire.transparent.as_ref())),
        ("udp_listener_config", wire.udp_listener_config.is_some()),
        ("api_listener", wire.api_listener.is_some()),
        ("listener_specifier", wire.listener_specifier.is_some()),
    ])?;
    let matches = each("filter_chains", &wire.filter_chains, |chain| {
        chain::conditions(chain.filter_chain_match.as_ref()).at("filter_chain_match")
    })?;
    let filter_chains = each("filter_chains", &wire.filter_chains, chain::from_wire)?;
    let default_chain = wire.default_filter_chain.as_ref().map(chain::from_wire).transpose();
    let filters = listener_filters(&wire.listener_filters)?;
    let direction = if wire.traffic_direction == TrafficDirection::Inbound as i32 {
        Direction::Inbound
    } else {
        Direction::Outbound
    };
    let by_flag = is_true(wire.use_original_dst.as_ref());
    // The filter restores the destination as the flag does, and hands the connection to nobody; inbound these are the same
    // (see `Snapshot::listener_for`).
    if filters.original_dst && !by_flag && direction == Direction::Outbound {
        return refuse("expected true beside the listener filter original_dst").at("use_original_dst");
    }
    let legacy_bind = wire.deprecated_v1.as_ref().and_then(|legacy| legacy.bind_to_port.as_ref());
    Ok(Listener {
        name: Arc::clone(name),
        addresses: addresses(wire)?,
        bind: wire.bind_to_port.as_ref().or(legacy_bind).is_none_or(|bind| bind.value),
        use_original_dst: by_flag || filters.original_dst,
        direction,
        inspect_tls: filters.tls,
        inspect_http: filters.http,
        connections_max: metadata::connections_max(wire.metadata.as_ref()),
        chains: ChainTable::compile(matches).map_err(|error| Refused::new(error.to_string())).at("filter_chains")?,
        filter_chains: filter_chains.into_iter().map(Arc::new).collect(),
        default_chain: default_chain.at("default_filter_chain")?.map(Arc::new),
    })
}

fn addresses(wire: &Wire) -> Result<Vec<SocketAddr>> {
    let mut addresses = vec![address::socket(wire.address.as_ref()).at("address")?];
    addresses.extend(each("additional_addresses", &wire.additional_addresses, |additional| {
        address::socket(additional.address.as_ref()).at("address")
    })?);
    Ok(addresses)
}

#[derive(Default)]
struct Filters {
    tls: bool,
    http: bool,
    original_dst: bool,
}

/// Envoy's `filter_disabled` and the filters' timeout have no meaning here: detection never waits (docs/wire.md).
fn listener_filters(wire: &[ListenerFilter]) -> Result<Filters> {
    let mut found = Filters::default();
    for (index, filter) in wire.iter().enumerate() {
        let config = match &filter.config_type {
            Some(ConfigType::TypedConfig(config)) => Some(config),
            _ => None,
        };
        match (config, filter.name.as_str()) {
            (Some(config), _) if is::<TlsInspector>(config) => found.tls = true,
            (Some(config), _) if is::<HttpInspector>(config) => found.http = true,
            (Some(config), _) if is::<OriginalDst>(config) => found.original_dst = true,
            (None, "envoy.filters.listener.tls_inspector") => found.tls = true,
            (None, "envoy.filters.listener.http_inspector") => found.http = true,
            (None, "envoy.filters.listener.original_dst") => found.original_dst = true,
            (config, name) => {
                let kind = config.map_or("no typed_config", type_name);
                let problem = format!("`{name}` ({kind}) is not supported in this release");
                return refuse(problem).at_index("listener_filters", index);
            }
        }
    }
    Ok(found)
}
