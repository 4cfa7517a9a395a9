//! `Cluster` → what a cluster is, and the endpoints that it brings along.

use std::{net::IpAddr, sync::Arc, time::Duration};

use envoy_types::pb::envoy::{
    config::{
        cluster::v3::{
            self as wire, Cluster, circuit_breakers::Thresholds, cluster::ClusterDiscoveryType, cluster::DiscoveryType,
            cluster::LbConfig, cluster::LbPolicy as WirePolicy, cluster::TransportSocketMatch,
        },
        core::v3::{BindConfig, ConfigSource, SocketAddress, config_source::ConfigSourceSpecifier},
    },
    extensions::{
        load_balancing_policies::{
            cluster_provided::v3::ClusterProvided, least_request::v3::LeastRequest, random::v3::Random,
            round_robin::v3::RoundRobin,
        },
        upstreams::http::v3::{
            HttpProtocolOptions,
            http_protocol_options::{UpstreamProtocolOptions, explicit_http_config::ProtocolConfig},
        },
    },
};

use super::{
    At, FOREVER, Result, address, decode, duration, each, endpoints, is, metadata, named, number, refuse, required,
    timeout, tls, type_name, unsupported,
};
use crate::cluster::{ClusterKind, ClusterSpec, Endpoints, LbPolicy, Limits, TlsChoice, UpstreamProtocol};

/// Envoy's `connect_timeout` where it is unset.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle upstream connections live for an hour (Envoy), those of Istio's passthrough for five minutes.
const IDLE_TIMEOUT: Duration = Duration::from_hours(1);
const PASSTHROUGH_IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// Envoy's circuit breakers where they are unset.
const LIMITS: Limits = Limits { connections: 1024, pending: 1024, requests: 1024, retries: 3 };

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The cluster and, unless they come by EDS, its endpoints.
pub(crate) fn from_wire(name: &Arc<str>, wire: &Cluster) -> Result<(ClusterSpec, Endpoints)> {
    refuse_unsupported(wire)?;
    let kind = kind(name, wire)?;
    let endpoints = match (&wire.load_assignment, &kind) {
        (Some(assignment), ClusterKind::Static) => endpoints::from_wire(assignment, endpoints::Hosts::Addresses),
        (Some(assignment), ClusterKind::Dns) => endpoints::from_wire(assignment, endpoints::Hosts::Names),
        _ => Ok(Endpoints::default()),
    };
    let (bind, bind_v6) = bind(wire.upstream_bind_config.as_ref()).at("upstream_bind_config")?;
    let http = http_options(wire)?;
    let path = format!("typed_extension_protocol_options[{HTTP_OPTIONS}]");
    let common = http.as_ref().and_then(|http| http.common_http_protocol_options.as_ref());
    let common = common.or(wire.common_http_protocol_options.as_ref());
    let idle_unset = if name.ends_with("PassthroughCluster") { PASSTHROUGH_IDLE_TIMEOUT } else { IDLE_TIMEOUT };
    let idle_timeout = common.and_then(|common| common.idle_timeout.as_ref());
    let requests_max = common.and_then(|common| common.max_requests_per_connection.as_ref());
    let requests_max = number(requests_max.or(wire.max_requests_per_connection.as_ref()));
    let spec = ClusterSpec {
        name: Arc::clone(name),
        service: metadata::service(wire.metadata.as_ref()),
        subset: metadata::subset(wire.metadata.as_ref()),
        connect_timeout: duration("connect_timeout", wire.connect_timeout.as_ref())?.unwrap_or(CONNECT_TIMEOUT),
        protocol: protocol(wire, http.as_ref()).at(&path)?,
        policy: policy(wire, &kind)?,
        tls: tls_choices(wire)?,
        bind,
        bind_v6,
        idle_timeout: timeout("common_http_protocol_options.idle_timeout", idle_timeout, idle_unset)
            .at(&path)?
            .unwrap_or(FOREVER),
        requests_per_connection_max: requests_max.unwrap_or(0),
        limits: limits(wire)?,
        origin: metadata::origin(wire.metadata.as_ref()),
        kind,
    };
    Ok((spec, endpoints.at("load_assignment")?))
}

fn refuse_unsupported(wire: &Cluster) -> Result<()> {
    let breakers = wire.circuit_breakers.as_ref();
    let common = wire.common_lb_config.as_ref();
    let is_slow_start = match &wire.lb_config {
        Some(LbConfig::LeastRequestLbConfig(config)) => config.slow_start_config.is_some(),
        Some(LbConfig::RoundRobinLbConfig(config)) => config.slow_start_config.is_some(),
        _ => false,
    };
    let is_rerouted = matches!(&wire.lb_config, Some(LbConfig::OriginalDstLbConfig(config))
        if config.use_http_header || config.upstream_port_override.is_some() || config.metadata_key.is_some());
    let has_locality_weights = common.is_some_and(|common| {
        use wire::cluster::common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig;
        matches!(common.locality_config_specifier, Some(LocalityWeightedLbConfig(_)))
    });
    unsupported(&[
        ("transport_socket_matcher", wire.transport_socket_matcher.is_some()),
        ("health_checks", !wire.health_checks.is_empty()),
        ("outlier_detection", wire.outlier_detection.is_some()),
        ("lb_subset_config", wire.lb_subset_config.is_some()),
        ("slow_start_config", is_slow_start),
        ("original_dst_lb_config", is_rerouted),
        ("common_lb_config.locality_weighted_lb_config", has_locality_weights),
        ("circuit_breakers.per_host_thresholds", breakers.is_some_and(|b| !b.per_host_thresholds.is_empty())),
        ("upstream_config", wire.upstream_config.is_some()),
        ("connection_pool_per_downstream_connection", wire.connection_pool_per_downstream_connection),
    ])?;
    match wire.filters.iter().position(|filter| !super::chain::is_harmless(&filter.name)) {
        Some(index) => refuse("is not supported in this release").at_index("filters", index),
        None => Ok(()),
    }
}

fn kind(name: &Arc<str>, wire: &Cluster) -> Result<ClusterKind> {
    let kind = match &wire.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(kind)) => match DiscoveryType::try_from(*kind) {
            Ok(kind) => kind,
            Err(_) => return refuse(format!("{kind} is no discovery type")).at("type"),
        },
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return refuse(format!("`{}` is not supported in this release", custom.name)).at("cluster_type");
        }
    };
    Ok(match kind {
        DiscoveryType::Static => ClusterKind::Static,
        DiscoveryType::StrictDns | DiscoveryType::LogicalDns => ClusterKind::Dns,
        DiscoveryType::OriginalDst => ClusterKind::OriginalDst,
        DiscoveryType::Eds => {
            let eds = required("eds_cluster_config", wire.eds_cluster_config.as_ref())?;
            from_ads(eds.eds_config.as_ref()).at("eds_cluster_config.eds_config")?;
            let is_other = !eds.service_name.is_empty() && *eds.service_name != **name;
            ClusterKind::Eds(if is_other { eds.service_name.as_str().into() } else { Arc::clone(name) })
        }
    })
}

/// All resources come over the one stream.
pub(crate) fn from_ads(wire: Option<&ConfigSource>) -> Result<()> {
    match wire.and_then(|wire| wire.config_source_specifier.as_ref()) {
        Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => Ok(()),
        _ => refuse("expected ads"),
    }
}

fn policy(wire: &Cluster, kind: &ClusterKind) -> Result<LbPolicy> {
    let policy = if let Some(policies) = &wire.load_balancing_policy {
        typed_policy(policies)?
    } else {
        match WirePolicy::try_from(wire.lb_policy) {
            Ok(WirePolicy::RoundRobin) => LbPolicy::RoundRobin,
            Ok(WirePolicy::LeastRequest) => LbPolicy::LeastRequest,
            Ok(WirePolicy::Random) => LbPolicy::Random,
            Ok(WirePolicy::ClusterProvided) => LbPolicy::Given,
            Ok(other) => {
                return refuse(format!("{} is not supported in this release", other.as_str_name())).at("lb_policy");
            }
            Err(_) => return refuse(format!("{} is no policy", wire.lb_policy)).at("lb_policy"),
        }
    };
    if (policy == LbPolicy::Given) != (*kind == ClusterKind::OriginalDst) {
        return refuse("expected CLUSTER_PROVIDED for ORIGINAL_DST, and for nothing else").at("lb_policy");
    }
    Ok(policy)
}

/// The first policy of the list that is known, as Envoy chooses.
fn typed_policy(wire: &wire::LoadBalancingPolicy) -> Result<LbPolicy> {
    let configs =
        wire.policies.iter().filter_map(|policy| policy.typed_extension_config.as_ref()?.typed_config.as_ref());
    let known = configs.clone().find_map(|config| {
        let choices = [
            (is::<RoundRobin>(config), LbPolicy::RoundRobin),
            (is::<LeastRequest>(config), LbPolicy::LeastRequest),
            (is::<Random>(config), LbPolicy::Random),
            (is::<ClusterProvided>(config), LbPolicy::Given),
        ];
        choices.into_iter().find(|(is_it, _)| *is_it).map(|(_, policy)| policy)
    });
    known.map_or_else(
        || {
            let names: Vec<&str> = configs.map(type_name).collect();
            refuse(format!("expected round_robin, least_request, random or cluster_provided, found {names:?}"))
                .at("load_balancing_policy")
        },
        Ok,
    )
}

fn http_options(wire: &Cluster) -> Result<Option<HttpProtocolOptions>> {
    let Some(options) = wire.typed_extension_protocol_options.get(HTTP_OPTIONS) else { return Ok(None) };
    let read = || {
        let options: HttpProtocolOptions = decode(&options.value)?;
        let is_codec = |name: &str| name == "envoy.filters.http.upstream_codec";
        unsupported(&[
            ("http_filters", options.http_filters.iter().any(|filter| !is_codec(&filter.name) && !filter.is_optional)),
            ("request_mirror_policies", !options.request_mirror_policies.is_empty()),
            ("hash_policy", !options.hash_policy.is_empty()),
            ("retry_policy", options.retry_policy.is_some()),
            ("outlier_detection", options.outlier_detection.is_some()),
        ])?;
        Ok(Some(options))
    };
    read().at(&format!("typed_extension_protocol_options[{HTTP_OPTIONS}]"))
}

fn protocol(wire: &Cluster, http: Option<&HttpProtocolOptions>) -> Result<UpstreamProtocol> {
    match http.and_then(|http| http.upstream_protocol_options.as_ref()) {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => match &explicit.protocol_config {
            Some(ProtocolConfig::HttpProtocolOptions(_)) => Ok(UpstreamProtocol::Http1),
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => Ok(UpstreamProtocol::Http2),
            Some(ProtocolConfig::Http3ProtocolOptions(_)) | None => {
                refuse("expected http_protocol_options or http2_protocol_options").at("explicit_http_config")
            }
        },
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_)) => Ok(UpstreamProtocol::Downstream),
        Some(UpstreamProtocolOptions::AutoConfig(_)) => refuse("is not supported in this release").at("auto_config"),
        None if wire.protocol_selection == wire::cluster::ClusterProtocolSelection::UseDownstreamProtocol as i32 => {
            Ok(UpstreamProtocol::Downstream)
        }
        None if wire.http2_protocol_options.is_some() => Ok(UpstreamProtocol::Http2),
        None => Ok(UpstreamProtocol::Http1),
    }
}

/// The choices in order; the last one matches every endpoint.
fn tls_choices(wire: &Cluster) -> Result<Vec<TlsChoice>> {
    let mut choices = each("transport_socket_matches", &wire.transport_socket_matches, tls_choice)?;
    if choices.last().is_none_or(|choice| choice.mode.is_some()) {
        let tls = tls::client(wire.transport_socket.as_ref()).at("transport_socket")?;
        choices.push(TlsChoice { mode: None, tls: tls.map(Arc::new) });
    }
    Ok(choices)
}

fn tls_choice(wire: &TransportSocketMatch) -> Result<TlsChoice> {
    let fields = wire.r#match.as_ref().map(|wanted| &wanted.fields);
    let mode = match fields.filter(|fields| !fields.is_empty()) {
        None => None,
        Some(fields) => {
            match (wire.r#match.as_ref().and_then(|wanted| metadata::string(wanted, "tlsMode")), fields.len()) {
                (Some(mode), 1) => Some(mode.into()),
                _ => return refuse("expected {} or {tlsMode: TEXT}").at("match"),
            }
        }
    };
    let tls = tls::client(wire.transport_socket.as_ref()).at("transport_socket")?;
    Ok(TlsChoice { mode, tls: tls.map(Arc::new) })
}

/// The source address of IPv4 and that of IPv6; a second address of one family is not used.
fn bind(wire: Option<&BindConfig>) -> Result<(Option<IpAddr>, Option<IpAddr>)> {
    let Some(wire) = wire else { return Ok((None, None)) };
    let mut found = (None, None);
    let source = wire.source_address.iter();
    let extra = wire.extra_source_addresses.iter().filter_map(|extra| extra.address.as_ref());
    for address in source.chain(extra).chain(&wire.additional_source_addresses) {
        let ip = source_address(address)?;
        let slot = if ip.is_ipv4() { &mut found.0 } else { &mut found.1 };
        slot.get_or_insert(ip);
    }
    Ok(found)
}

fn source_address(wire: &SocketAddress) -> Result<IpAddr> {
    use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
    if !matches!(wire.port_specifier, None | Some(PortSpecifier::PortValue(0))) {
        return refuse("expected 0").at("source_address.port_value");
    }
    address::ip(named("address", &wire.address)?).at("source_address")
}

fn limits(wire: &Cluster) -> Result<Limits> {
    let thresholds = wire.circuit_breakers.iter().flat_map(|breakers| &breakers.thresholds);
    let Some(wire) = thresholds.into_iter().find(|thresholds| thresholds.priority == 0) else { return Ok(LIMITS) };
    unsupported(&[("circuit_breakers.thresholds.retry_budget", wire.retry_budget.is_some())])?;
    let limit = |value: &Option<_>, unset| number(value.as_ref()).unwrap_or(unset);
    let Thresholds { max_connections, max_pending_requests, max_requests, max_retries, .. } = wire;
    Ok(Limits {
        connections: limit(max_connections, LIMITS.connections),
        pending: limit(max_pending_requests, LIMITS.pending),
        requests: limit(max_requests, LIMITS.requests),
        retries: limit(max_retries, LIMITS.retries),
    })
}
