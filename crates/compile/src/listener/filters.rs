//! The last filter of a chain: HTTP connection manager or TCP proxy, with the access log.

use std::time::Duration;

use envoy_types::pb::envoy::config::accesslog::v3::{AccessLog as WireLog, access_log::ConfigType as LogConfig};
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{DataSource, HttpProtocolOptions};
use envoy_types::pb::envoy::config::listener::v3::{Filter, filter::ConfigType};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    ForwardClientCertDetails, PathWithEscapedSlashesAction, RouteSpecifier, SetCurrentClientCertDetails, UpgradeConfig,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use envoy_types::pb::google::protobuf::Any;
use mizzen_world::mesh::{AccessLog, MeshSettings, PathNormalization};
use prost::Message;

use crate::wire::build::{ads, any, any_named, bool_value, duration};
use crate::wire::{FileAccessLog, LogFormat, Struct, Value};

/// Istio's default text format.
const TEXT_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
    \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
    \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% \
    %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// Istio's default fields in JSON.
const JSON_FORMAT: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// Idle client connections are closed after this (Istio).
const IDLE_TIMEOUT: Duration = Duration::from_hours(1);

/// On which side of a workload HTTP is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Outbound {
        alpn: bool,
    },
    Inbound,
    /// The edge: the peer's address is the client's.
    Gateway {
        alpn: bool,
    },
}

/// The name of a route configuration that is discovered.
pub(super) fn rds(name: &str) -> RouteSpecifier {
    RouteSpecifier::Rds(Rds { config_source: Some(ads()), route_config_name: name.to_owned() })
}

/// An HTTP connection manager.
pub(super) fn http(mesh: &MeshSettings, side: Side, stat_prefix: &str, routes: RouteSpecifier) -> Filter {
    let manager = manager(mesh, side, stat_prefix);
    filter("http_connection_manager", any(&HttpConnectionManager { route_specifier: Some(routes), ..manager }))
}

/// An HTTP connection manager whose one route configuration is inside, already encoded.
pub(super) fn http_inline(mesh: &MeshSettings, stat_prefix: &str, routes: &[u8]) -> Filter {
    /// `HttpConnectionManager.route_config`.
    const ROUTE_CONFIG: u32 = 4;
    let mut config = any(&manager(mesh, Side::Inbound, stat_prefix));
    crate::wire::build::append(&mut config.value, ROUTE_CONFIG, routes);
    filter("http_connection_manager", config)
}

fn manager(mesh: &MeshSettings, side: Side, stat_prefix: &str) -> HttpConnectionManager {
    let (merge_slashes, escaped) = match mesh.path_normalization {
        PathNormalization::None | PathNormalization::Base => (false, PathWithEscapedSlashesAction::KeepUnchanged),
        PathNormalization::MergeSlashes => (true, PathWithEscapedSlashesAction::KeepUnchanged),
        PathNormalization::DecodeAndMergeSlashes => (true, PathWithEscapedSlashesAction::UnescapeAndForward),
    };
    let gateway = matches!(side, Side::Gateway { .. });
    let (forward, details) = client_cert(side);
    HttpConnectionManager {
        stat_prefix: stat_prefix.to_owned(),
        http_filters: http_filters(side),
        server_name: if matches!(side, Side::Outbound { .. }) { "envoy" } else { "istio-envoy" }.to_owned(),
        access_log: access_log(mesh),
        use_remote_address: Some(bool_value(gateway)),
        xff_num_trusted_hops: if gateway { mesh.trusted_proxies } else { 0 },
        forward_client_cert_details: forward as i32,
        set_current_client_cert_details: details,
        // Envoy knows no pattern here: to it `*` is a name that no client sends.
        upgrade_configs: ["websocket", "*"]
            .map(|name| UpgradeConfig { upgrade_type: name.to_owned(), ..UpgradeConfig::default() })
            .to_vec(),
        normalize_path: Some(bool_value(mesh.path_normalization != PathNormalization::None)),
        merge_slashes,
        path_with_escaped_slashes_action: escaped as i32,
        stream_idle_timeout: Some(duration(Duration::ZERO)),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(duration(IDLE_TIMEOUT)),
            ..HttpProtocolOptions::default()
        }),
        proxy_100_continue: true,
        ..HttpConnectionManager::default()
    }
}

/// What is told to the next hop about the client's certificate: a sidecar appends, the edge replaces.
fn client_cert(side: Side) -> (ForwardClientCertDetails, Option<SetCurrentClientCertDetails>) {
    let details = SetCurrentClientCertDetails {
        subject: Some(bool_value(true)),
        uri: true,
        dns: true,
        cert: matches!(side, Side::Gateway { .. }),
        ..SetCurrentClientCertDetails::default()
    };
    match side {
        Side::Outbound { .. } => (ForwardClientCertDetails::Sanitize, None),
        Side::Inbound => (ForwardClientCertDetails::AppendForward, Some(details)),
        Side::Gateway { .. } => (ForwardClientCertDetails::SanitizeSet, Some(details)),
    }
}

fn http_filters(side: Side) -> Vec<HttpFilter> {
    let filter = |name: &str, config: Any| HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    };
    let alpn = matches!(side, Side::Outbound { alpn: true } | Side::Gateway { alpn: true });
    let alpn = alpn.then(|| filter("istio.alpn", any_named(ALPN_TYPE, &AlpnConfig::istio())));
    alpn.into_iter().chain([filter("envoy.filters.http.router", any(&Router::default()))]).collect()
}

const ALPN_TYPE: &str = "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig";

/// Istio's ALPN filter: which list is offered upstream, by the protocol of the request.
#[derive(Clone, PartialEq, Message)]
struct AlpnConfig {
    #[prost(message, repeated, tag = "1")]
    overrides: Vec<AlpnOverride>,
}

#[derive(Clone, PartialEq, Message)]
struct AlpnOverride {
    /// 0 is HTTP/1.0, 1 HTTP/1.1, 2 HTTP/2.
    #[prost(int32, tag = "1")]
    protocol: i32,
    #[prost(string, repeated, tag = "2")]
    alpn: Vec<String>,
}

impl AlpnConfig {
    fn istio() -> AlpnConfig {
        let lists = [
            ["istio-http/1.0", "istio", "http/1.0"],
            ["istio-http/1.1", "istio", "http/1.1"],
            ["istio-h2", "istio", "h2"],
        ];
        let overrides =
            (0..).zip(lists).map(|(protocol, list)| AlpnOverride { protocol, alpn: list.map(str::to_owned).to_vec() });
        AlpnConfig { overrides: overrides.collect() }
    }
}

/// A TCP proxy to one cluster.
pub(super) fn tcp(mesh: &MeshSettings, cluster: &str) -> Filter {
    let proxy = TcpProxy {
        stat_prefix: cluster.to_owned(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        access_log: access_log(mesh),
        ..TcpProxy::default()
    };
    filter("tcp_proxy", any(&proxy))
}

fn filter(name: &str, config: Any) -> Filter {
    Filter { name: format!("envoy.filters.network.{name}"), config_type: Some(ConfigType::TypedConfig(config)) }
}

fn access_log(mesh: &MeshSettings) -> Vec<WireLog> {
    let Some(log) = &mesh.access_log else { return Vec::new() };
    let config = FileAccessLog { path: log.path.to_string(), log_format: Some(log_format(log)) };
    vec![WireLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(LogConfig::TypedConfig(any_named(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            &config,
        ))),
        filter: None,
    }]
}

fn log_format(log: &AccessLog) -> LogFormat {
    if log.json {
        let written = log.format.as_deref().and_then(|format| serde_json::from_str(format).ok());
        let fields = match written {
            Some(serde_json::Value::Object(fields)) => {
                Struct { fields: fields.into_iter().map(|(name, value)| (name, json_value(value))).collect() }
            }
            _ => Struct::of(JSON_FORMAT.map(|(name, value)| (name, Value::from(value)))),
        };
        return LogFormat { json: Some(fields), text: None };
    }
    let text = log.format.as_deref().unwrap_or(TEXT_FORMAT);
    // A line of the user's own format ends like any other.
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let source =
        DataSource { specifier: Some(Specifier::InlineString(format!("{text}{newline}"))), ..DataSource::default() };
    LogFormat { json: None, text: Some(source) }
}

fn json_value(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::null(),
        serde_json::Value::Bool(value) => Value::bool(value),
        serde_json::Value::Number(number) => Value::number(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Value::from(&*text),
        serde_json::Value::Array(values) => Value::list(values.into_iter().map(json_value).collect()),
        serde_json::Value::Object(fields) => {
            Struct { fields: fields.into_iter().map(|(name, value)| (name, json_value(value))).collect() }.into()
        }
    }
}
