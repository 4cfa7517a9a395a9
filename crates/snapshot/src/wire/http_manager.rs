//! `HttpConnectionManager` → everything that holds for all requests of a chain.

use std::{sync::Arc, time::Duration};

use envoy_types::pb::envoy::{
    config::core::v3::{HttpProtocolOptions, http_protocol_options::HeadersWithUnderscoresAction},
    extensions::filters::{
        http::{cors::v3::Cors, fault::v3::HttpFault, router::v3::Router},
        network::http_connection_manager::v3::{
            HttpConnectionManager as Wire, HttpFilter,
            http_connection_manager::{
                CodecType, ForwardClientCertDetails, PathWithEscapedSlashesAction, RouteSpecifier,
                ServerHeaderTransformation, UpgradeConfig,
            },
            http_filter::ConfigType,
        },
    },
};
use http::HeaderValue;

use super::{
    At, FOREVER, Refused, Result, cluster, host, is, is_positive, is_true, log, named, number, refuse, timeout,
    type_name, unsupported,
};
use crate::http_manager::{
    ClientCertDetails, ClientCertHeader, EscapedSlashes, HttpManager, PathNormalization, RouteSource,
};

const IDLE_TIMEOUT: Duration = Duration::from_hours(1);
const REQUEST_HEADERS_TIMEOUT: Duration = Duration::from_mins(1);
/// Envoy's `stream_idle_timeout` where it is unset.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_mins(5);
const HEADER_KIBIBYTES_MAX: u32 = 60;
const HEADER_COUNT_MAX: u32 = 100;
/// HTTP/2 streams at once: the edge trusts nobody.
const STREAMS_MAX_EDGE: u32 = 100;
const STREAMS_MAX: u32 = 1000;

const ALPN_FILTER: &str = "istio.alpn";
/// HTTP filters that only observe.
const HARMLESS: [&str; 5] = [
    "istio.metadata_exchange",
    "istio.stats",
    "envoy.filters.http.grpc_stats",
    "envoy.filters.http.peer_metadata",
    "envoy.filters.http.connect_authority",
];

pub(crate) fn from_wire(wire: &Wire) -> Result<HttpManager> {
    refuse_unsupported(wire)?;
    let use_remote_address = is_true(wire.use_remote_address.as_ref());
    let unset = HttpProtocolOptions::default();
    let common = wire.common_http_protocol_options.as_ref().unwrap_or(&unset);
    let streams_max = if use_remote_address { STREAMS_MAX_EDGE } else { STREAMS_MAX };
    let http2 = wire.http2_protocol_options.as_ref();
    let header_kibibytes_max = number(wire.max_request_headers_kb.as_ref()).unwrap_or(HEADER_KIBIBYTES_MAX);
    let request_headers_timeout =
        timeout("request_headers_timeout", wire.request_headers_timeout.as_ref(), REQUEST_HEADERS_TIMEOUT)?;
    Ok(HttpManager {
        stat_prefix: wire.stat_prefix.as_str().into(),
        routes: routes(wire)?,
        access_log: log::from_wire(&wire.access_log)?,
        server_name: server_name(wire)?,
        use_remote_address,
        trusted_hops: wire.xff_num_trusted_hops,
        client_cert: client_cert(wire.forward_client_cert_details).at("forward_client_cert_details")?,
        client_cert_details: client_cert_details(wire),
        generate_request_id: wire.generate_request_id.as_ref().is_none_or(|generate| generate.value),
        upgrades: upgrades(&wire.upgrade_configs)?,
        path: PathNormalization {
            normalize: is_true(wire.normalize_path.as_ref()),
            merge_slashes: wire.merge_slashes,
            escaped_slashes: escaped_slashes(wire.path_with_escaped_slashes_action)?,
        },
        idle_timeout: timeout("idle_timeout", common.idle_timeout.as_ref(), IDLE_TIMEOUT)
            .at("common_http_protocol_options")?
            .unwrap_or(FOREVER),
        request_headers_timeout: request_headers_timeout.unwrap_or(REQUEST_HEADERS_TIMEOUT),
        stream_idle_timeout: timeout("stream_idle_timeout", wire.stream_idle_timeout.as_ref(), STREAM_IDLE_TIMEOUT)?,
        header_bytes_max: header_kibibytes_max.saturating_mul(1024),
        header_count_max: number(common.max_headers_count.as_ref()).unwrap_or(HEADER_COUNT_MAX),
        streams_max: number(http2.and_then(|http2| http2.max_concurrent_streams.as_ref())).unwrap_or(streams_max),
        alpn_by_downstream: filters(&wire.http_filters)?,
    })
}

fn refuse_unsupported(wire: &Wire) -> Result<()> {
    let replies = wire.local_reply_config.as_ref();
    unsupported(&[
        ("add_user_agent", is_true(wire.add_user_agent.as_ref())),
        ("scheme_header_transformation", wire.scheme_header_transformation.is_some()),
        ("request_timeout", is_positive(wire.request_timeout.as_ref())),
        ("original_ip_detection_extensions", !wire.original_ip_detection_extensions.is_empty()),
        ("early_header_mutation_extensions", !wire.early_header_mutation_extensions.is_empty()),
        ("skip_xff_append", wire.skip_xff_append),
        ("via", !wire.via.is_empty()),
        ("preserve_external_request_id", wire.preserve_external_request_id),
        ("always_set_request_id_in_response", wire.always_set_request_id_in_response),
        ("forward_client_cert_matcher", wire.forward_client_cert_matcher.is_some()),
        (
            "local_reply_config",
            replies.is_some_and(|replies| !replies.mappers.is_empty() || replies.body_format.is_some()),
        ),
        ("strip_matching_host_port", wire.strip_matching_host_port),
        ("strip_port_mode", wire.strip_port_mode.is_some()),
        ("strip_trailing_host_dot", wire.strip_trailing_host_dot),
        ("path_normalization_options", wire.path_normalization_options.is_some()),
        ("proxy_status_config", wire.proxy_status_config.is_some()),
        ("append_x_forwarded_port", wire.append_x_forwarded_port),
        ("forward_proto_config", wire.forward_proto_config.is_some()),
    ])?;
    if wire.codec_type == CodecType::Http3 as i32 {
        return refuse("HTTP3 is not supported in this release").at("codec_type");
    }
    let Some(common) = &wire.common_http_protocol_options else { return Ok(()) };
    let underscores = HeadersWithUnderscoresAction::Allow as i32;
    unsupported(&[
        ("max_connection_duration", is_positive(common.max_connection_duration.as_ref())),
        ("max_stream_duration", is_positive(common.max_stream_duration.as_ref())),
        ("headers_with_underscores_action", common.headers_with_underscores_action != underscores),
        ("max_requests_per_connection", number(common.max_requests_per_connection.as_ref()).is_some_and(|max| max > 0)),
    ])
    .at("common_http_protocol_options")
}

fn routes(wire: &Wire) -> Result<RouteSource> {
    match &wire.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => {
            cluster::from_ads(rds.config_source.as_ref()).at("rds.config_source")?;
            Ok(RouteSource::Named(named("rds.route_config_name", &rds.route_config_name)?.into()))
        }
        Some(RouteSpecifier::RouteConfig(config)) => {
            unsupported(&[("route_config.vhds", config.vhds.is_some())])?;
            let config = host::configuration(&config.name.as_str().into(), config).at("route_config")?;
            Ok(RouteSource::Inline(Arc::new(config)))
        }
        Some(RouteSpecifier::ScopedRoutes(_)) => refuse("is not supported in this release").at("scoped_routes"),
        None => refuse("expected rds or route_config"),
    }
}

/// Checks the filters; whether `istio.alpn` is among them.
fn filters(wire: &[HttpFilter]) -> Result<bool> {
    let active = || wire.iter().enumerate().filter(|(_, filter)| !filter.disabled);
    let mut alpn = false;
    let mut routed = false;
    for (index, filter) in active() {
        if routed {
            return refuse("nothing may follow the router").at_index("http_filters", index);
        }
        match config(filter) {
            Some(config) if is::<Router>(config) => routed = true,
            _ if filter.name == ALPN_FILTER => alpn = true,
            _ if HARMLESS.contains(&&*filter.name) || filter.is_optional => {}
            // Without configuration of their own these two act only where a route asks, and such a route is refused.
            Some(config) if config.value.is_empty() && (is::<Cors>(config) || is::<HttpFault>(config)) => {}
            config => {
                let kind = config.map_or("no typed_config", type_name);
                let problem = format!("`{}` ({kind}) is not supported in this release", filter.name);
                return refuse(problem).at_index("http_filters", index);
            }
        }
    }
    if routed { Ok(alpn) } else { refuse("expected envoy.filters.http.router at the end").at("http_filters") }
}

fn config(filter: &HttpFilter) -> Option<&envoy_types::pb::google::protobuf::Any> {
    match &filter.config_type {
        Some(ConfigType::TypedConfig(config)) => Some(config),
        _ => None,
    }
}

fn server_name(wire: &Wire) -> Result<Option<HeaderValue>> {
    let name = if wire.server_name.is_empty() { "envoy" } else { &wire.server_name };
    match ServerHeaderTransformation::try_from(wire.server_header_transformation) {
        Ok(ServerHeaderTransformation::Overwrite) => HeaderValue::from_str(name)
            .map(Some)
            .map_err(|_| Refused::new(format!("`{}` is no header value", name.escape_debug())))
            .at("server_name"),
        Ok(ServerHeaderTransformation::PassThrough) => Ok(None),
        _ => refuse("expected OVERWRITE or PASS_THROUGH").at("server_header_transformation"),
    }
}

fn client_cert(wire: i32) -> Result<ClientCertHeader> {
    match ForwardClientCertDetails::try_from(wire) {
        Ok(ForwardClientCertDetails::Sanitize) => Ok(ClientCertHeader::Sanitize),
        Ok(ForwardClientCertDetails::ForwardOnly) => Ok(ClientCertHeader::ForwardOnly),
        Ok(ForwardClientCertDetails::AppendForward) => Ok(ClientCertHeader::AppendForward),
        Ok(ForwardClientCertDetails::SanitizeSet) => Ok(ClientCertHeader::SanitizeSet),
        Ok(ForwardClientCertDetails::AlwaysForwardOnly) => Ok(ClientCertHeader::AlwaysForwardOnly),
        Err(_) => refuse(format!("{wire} is unknown")),
    }
}

fn client_cert_details(wire: &Wire) -> ClientCertDetails {
    let Some(wire) = &wire.set_current_client_cert_details else { return ClientCertDetails::default() };
    ClientCertDetails {
        subject: is_true(wire.subject.as_ref()),
        cert: wire.cert,
        chain: wire.chain,
        uri: wire.uri,
        dns: wire.dns,
    }
}

/// A later entry for the same value wins, as in Envoy.
fn upgrades(wire: &[UpgradeConfig]) -> Result<Vec<Box<str>>> {
    let mut upgrades: Vec<Box<str>> = Vec::new();
    for (index, upgrade) in wire.iter().enumerate() {
        let name = upgrade.upgrade_type.to_ascii_lowercase();
        upgrades.retain(|known| **known != *name);
        if upgrade.enabled.as_ref().is_some_and(|enabled| !enabled.value) {
            continue;
        }
        if name.is_empty() || name == "connect" || name == "connect-udp" || !upgrade.filters.is_empty() {
            return refuse(format!("`{name}` is not supported in this release")).at_index("upgrade_configs", index);
        }
        upgrades.push(name.into());
    }
    Ok(upgrades)
}

fn escaped_slashes(wire: i32) -> Result<EscapedSlashes> {
    use PathWithEscapedSlashesAction as Action;
    match Action::try_from(wire) {
        Ok(Action::ImplementationSpecificDefault | Action::KeepUnchanged) => Ok(EscapedSlashes::Keep),
        Ok(Action::RejectRequest) => Ok(EscapedSlashes::Reject),
        Ok(Action::UnescapeAndForward) => Ok(EscapedSlashes::Unescape),
        Ok(Action::UnescapeAndRedirect) | Err(_) => {
            refuse("expected KEEP_UNCHANGED, REJECT_REQUEST or UNESCAPE_AND_FORWARD")
                .at("path_with_escaped_slashes_action")
        }
    }
}
