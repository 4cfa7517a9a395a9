//! Listeners, filter chains and connection managers: what is read, and what is refused where.

use std::time::Duration;

use envoy_types::pb::{
    envoy::{
        config::{
            accesslog::v3::{AccessLog, AccessLogFilter, access_log},
            core::v3::{
                CidrRange, DataSource, Http2ProtocolOptions, HttpProtocolOptions, SubstitutionFormatString,
                TransportSocket, data_source, substitution_format_string, transport_socket,
            },
            listener::v3::{
                AdditionalAddress, Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, listener_filter,
            },
        },
        extensions::{
            access_loggers::{
                file::v3::{FileAccessLog, file_access_log},
                stream::v3::StdoutAccessLog,
            },
            filters::{
                http::{cors::v3::Cors, fault::v3::HttpFault, rbac::v3::Rbac},
                listener::{
                    http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst,
                    proxy_protocol::v3::ProxyProtocol, tls_inspector::v3::TlsInspector,
                },
                network::{
                    http_connection_manager::v3::{
                        HttpConnectionManager, HttpFilter,
                        http_connection_manager::{
                            RouteSpecifier, ServerHeaderTransformation, SetCurrentClientCertDetails, UpgradeConfig,
                        },
                    },
                    tcp_proxy::v3::{TcpProxy, tcp_proxy},
                },
            },
            transport_sockets::tls::v3::{CommonTlsContext, DownstreamTlsContext, subject_alt_name_matcher::SanType},
        },
        r#type::matcher::v3::string_matcher::MatchPattern,
    },
    google::protobuf::{Any, UInt32Value, Value, value::Kind},
};
use mizzen_snapshot::{
    Handler, HttpManager,
    http_manager::{ClientCertDetails, ClientCertHeader, EscapedSlashes, RouteSource},
    listener::{AccessLogSpec, Direction, LogFormat, SanMatch, TlsVersion},
};

use crate::{
    clusters::{fields, metadata, mutual, provenance, san, seconds, text},
    given::{
        Proxy, address, any, chain, host, http_filter, listener, manager, no, refused, router, routes, tcp, to, yes,
    },
};

const MANAGER: &str = "filter_chains[0].filters[0].typed_config";

fn u32(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

fn downstream(common: CommonTlsContext) -> Option<TransportSocket> {
    let context = DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: yes(),
        ..DownstreamTlsContext::default()
    };
    Some(TransportSocket {
        name: "envoy.transport_sockets.tls".into(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any(&context))),
    })
}

fn listener_filter(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter {
        name: name.into(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        filter_disabled: None,
    }
}

/// A listener with one chain around this filter.
fn around<T: prost::Message + prost::Name + Clone>(filter: &T) -> Listener {
    listener("l", "10.0.0.1:80", &[chain("c", filter)])
}

/// What is made of a connection manager.
fn compiled(wire: &HttpConnectionManager) -> std::sync::Arc<HttpManager> {
    let mut proxy = Proxy::default();
    proxy.add("80", &routes("80", &[]));
    proxy.add("l", &around(wire));
    let listener = proxy.snapshot.listener("l").expect("the listener is there");
    let Handler::Http(manager) = &listener.filter_chains[0].handler else { panic!("no connection manager") };
    std::sync::Arc::clone(manager)
}

#[test]
fn a_listener_with_everything() {
    let mut proxy = Proxy::default();
    let trusted = vec![san(SanType::Uri, MatchPattern::Prefix("spiffe://cluster.local/".into()))];
    let meshed = FilterChain {
        filter_chain_match: Some(FilterChainMatch {
            destination_port: u32(9080),
            transport_protocol: "tls".into(),
            application_protocols: vec!["istio-h2".into()],
            prefix_ranges: vec![CidrRange { address_prefix: "10.0.0.0".into(), prefix_len: u32(8) }],
            source_ports: vec![1, 2],
            server_names: vec!["*.test".into()],
            ..FilterChainMatch::default()
        }),
        transport_socket: downstream(mutual(trusted)),
        transport_socket_connect_timeout: seconds(3),
        metadata: metadata(&[provenance()]),
        ..chain("meshed", &tcp("a"))
    };
    let wire = Listener {
        bind_to_port: None,
        use_original_dst: yes(),
        traffic_direction: 1,
        additional_addresses: vec![AdditionalAddress { address: address("[::]:15006"), ..Default::default() }],
        listener_filters: vec![
            listener_filter("x", any(&TlsInspector::default())),
            listener_filter("y", any(&HttpInspector {})),
        ],
        metadata: metadata(&[(
            "mizzen.io",
            fields(&[("connections_max", Value { kind: Some(Kind::NumberValue(7.0)) })]),
        )]),
        default_filter_chain: Some(chain("rest", &tcp("a"))),
        ..listener("virtualInbound", "0.0.0.0:15006", &[meshed])
    };
    proxy.add("virtualInbound", &wire);
    let listener = proxy.snapshot.listener("virtualInbound").expect("the listener is there");
    assert_eq!(listener.addresses.len(), 2);
    assert!(listener.bind && listener.use_original_dst && listener.inspect_tls && listener.inspect_http);
    assert_eq!((listener.direction, listener.connections_max), (Direction::Inbound, Some(7)));
    assert_eq!(listener.default_chain.as_ref().map(|chain| &*chain.name), Some("rest"));
    let chain = &listener.filter_chains[0];
    assert_eq!(chain.handshake_timeout, Duration::from_secs(3));
    assert!(chain.origin.is_some());
    let tls = chain.tls.as_ref().expect("the chain terminates TLS");
    assert_eq!((&*tls.certificate, tls.trust.as_deref()), ("default", Some("ROOTCA")));
    assert!(tls.require_client_certificate);
    assert_eq!(tls.peers, [SanMatch::Prefix("spiffe://cluster.local/".into())]);
    assert_eq!(tls.versions.min, TlsVersion::Tls13);
    assert_eq!(proxy.snapshot.bound_listeners().count(), 1);
}

#[test]
fn the_original_destination_by_filter() {
    let filtered = |traffic_direction| Listener {
        traffic_direction,
        listener_filters: vec![listener_filter("x", any(&OriginalDst {}))],
        ..around(&tcp("a"))
    };
    let mut proxy = Proxy::default();
    proxy.add("l", &filtered(1));
    assert!(proxy.snapshot.listener("l").is_some_and(|listener| listener.use_original_dst));
    let message = refused("l", &filtered(2));
    assert_eq!(message, "use_original_dst: expected true beside the listener filter original_dst");
}

#[test]
fn listeners_that_are_refused() {
    let filters = |filters: &[Filter]| {
        let chain = FilterChain { filters: filters.to_vec(), ..FilterChain::default() };
        listener("l", "10.0.0.1:80", &[chain])
    };
    let unknown = Filter { name: "envoy.filters.network.rbac".into(), config_type: None };
    let cases = [
        (Listener { address: None, ..around(&tcp("a")) }, "address.socket_address: is required"),
        (Listener { transparent: yes(), ..around(&tcp("a")) }, "transparent: is not supported in this release"),
        (
            Listener {
                listener_filters: vec![listener_filter("pp", any(&ProxyProtocol::default()))],
                ..around(&tcp("a"))
            },
            "listener_filters[0]: `pp` (envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol) \
             is not supported in this release",
        ),
        (filters(&[]), "filter_chains[0].filters: expected a connection manager or a TCP proxy"),
        (
            filters(&[unknown.clone(), unknown.clone()]),
            "filter_chains[0].filters[0]: `envoy.filters.network.rbac` is not supported in this release",
        ),
        (filters(&[unknown]), "filter_chains[0].filters[0]: expected a typed_config"),
        (
            around(&HttpInspector {}),
            "filter_chains[0].filters[0].typed_config: expected a connection manager or a TCP proxy, found \
             `envoy.extensions.filters.listener.http_inspector.v3.HttpInspector`",
        ),
        (
            listener("l", "10.0.0.1:80", &[chain("c", &tcp("a")), chain("d", &tcp("a"))]),
            "filter_chains: filter chains 0 and 1 have a condition in common: nothing tells them apart",
        ),
        (
            listener(
                "l",
                "10.0.0.1:80",
                &[FilterChain {
                    transport_socket: downstream(CommonTlsContext { validation_context_type: None, ..mutual(vec![]) }),
                    ..chain("c", &tcp("a"))
                }],
            ),
            "filter_chains[0].transport_socket.typed_config.common_tls_context.validation_context_type: \
             is required, since client certificates are",
        ),
        (
            around(&TcpProxy::default()),
            "filter_chains[0].filters[0].typed_config: expected cluster or weighted_clusters",
        ),
        (
            around(&TcpProxy { max_connect_attempts: u32(2), ..tcp("a") }),
            "filter_chains[0].filters[0].typed_config.max_connect_attempts: is not supported in this release",
        ),
    ];
    for (wire, wanted) in cases {
        assert_eq!(refused("l", &wire), wanted);
    }
}

#[test]
fn chain_conditions_that_are_refused() {
    let matched = |filter_chain_match: FilterChainMatch| {
        let chain = FilterChain { filter_chain_match: Some(filter_chain_match), ..chain("c", &tcp("a")) };
        listener("l", "10.0.0.1:80", &[chain])
    };
    let net = |prefix: &str, length| CidrRange { address_prefix: prefix.into(), prefix_len: u32(length) };
    let cases = [
        (
            matched(FilterChainMatch { destination_port: u32(70_000), ..Default::default() }),
            "destination_port: 70000 is no port",
        ),
        (
            matched(FilterChainMatch { transport_protocol: "quic".into(), ..Default::default() }),
            "transport_protocol: expected raw_buffer or tls, found `quic`",
        ),
        (
            matched(FilterChainMatch { prefix_ranges: vec![net("10.0.0.1", 33)], ..Default::default() }),
            "prefix_ranges[0].prefix_len: 33 is no prefix length of 10.0.0.1",
        ),
        (
            matched(FilterChainMatch { source_prefix_ranges: vec![net("x", 8)], ..Default::default() }),
            "source_prefix_ranges[0].address_prefix: `x` is no IP address",
        ),
        (
            matched(FilterChainMatch { source_type: 1, ..Default::default() }),
            "source_type: is not supported in this release",
        ),
    ];
    for (wire, wanted) in cases {
        assert_eq!(refused("l", &wire), format!("filter_chains[0].filter_chain_match.{wanted}"));
    }
}

#[test]
fn tcp_proxies() {
    let weight = |name: &str, weight| tcp_proxy::weighted_cluster::ClusterWeight {
        name: name.into(),
        weight,
        ..Default::default()
    };
    let weighted = tcp_proxy::WeightedCluster { clusters: vec![weight("a", 1), weight("b", 3)] };
    let wire = TcpProxy {
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::WeightedClusters(weighted)),
        idle_timeout: seconds(0),
        ..TcpProxy::default()
    };
    let mut proxy = Proxy::default();
    proxy.add("l", &around(&wire));
    let listener = proxy.snapshot.listener("l").expect("the listener is there");
    let Handler::Tcp(tcp) = &listener.filter_chains[0].handler else { panic!("no TCP proxy") };
    assert_eq!(tcp.clusters, [("a".into(), 1), ("b".into(), 3)]);
    assert!(tcp.idle_timeout.is_some_and(|idle| idle > Duration::from_hours(24)), "zero is never");
}

#[test]
fn a_connection_manager_with_everything() {
    let upgrade =
        |name: &str, enabled| UpgradeConfig { upgrade_type: name.into(), enabled, ..UpgradeConfig::default() };
    let wire = HttpConnectionManager {
        stat_prefix: "inbound_0.0.0.0_9080".into(),
        http_filters: vec![http_filter("istio.alpn", &Any::default()), router()],
        server_name: "istio-envoy".into(),
        use_remote_address: yes(),
        xff_num_trusted_hops: 2,
        forward_client_cert_details: 2,
        set_current_client_cert_details: Some(SetCurrentClientCertDetails {
            subject: yes(),
            uri: true,
            dns: true,
            ..SetCurrentClientCertDetails::default()
        }),
        generate_request_id: no(),
        upgrade_configs: vec![upgrade("WebSocket", None), upgrade("h2c", None), upgrade("H2C", no())],
        normalize_path: yes(),
        merge_slashes: true,
        path_with_escaped_slashes_action: 4,
        stream_idle_timeout: seconds(0),
        request_headers_timeout: seconds(5),
        max_request_headers_kb: u32(8),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: seconds(9),
            max_headers_count: u32(50),
            ..HttpProtocolOptions::default()
        }),
        http2_protocol_options: Some(Http2ProtocolOptions { max_concurrent_streams: u32(7), ..Default::default() }),
        ..manager("80")
    };
    let manager = compiled(&wire);
    assert_eq!(&*manager.stat_prefix, "inbound_0.0.0.0_9080");
    assert!(matches!(&manager.routes, RouteSource::Named(name) if &**name == "80"));
    assert_eq!(manager.server_name.as_ref().and_then(|name| name.to_str().ok()), Some("istio-envoy"));
    assert!(manager.use_remote_address && manager.alpn_by_downstream && !manager.generate_request_id);
    assert_eq!((manager.trusted_hops, manager.client_cert), (2, ClientCertHeader::AppendForward));
    let details = ClientCertDetails { subject: true, uri: true, dns: true, ..ClientCertDetails::default() };
    assert_eq!(manager.client_cert_details, details);
    assert_eq!(manager.upgrades, ["websocket".into()]);
    assert!(manager.path.normalize && manager.path.merge_slashes);
    assert_eq!(manager.path.escaped_slashes, EscapedSlashes::Unescape);
    assert_eq!((manager.stream_idle_timeout, manager.idle_timeout), (None, Duration::from_secs(9)));
    assert_eq!((manager.request_headers_timeout, manager.streams_max), (Duration::from_secs(5), 7));
    assert_eq!((manager.header_bytes_max, manager.header_count_max), (8 * 1024, 50));
}

#[test]
fn defaults_of_a_connection_manager() {
    let manager = compiled(&manager("80"));
    assert_eq!(manager.server_name.as_ref().and_then(|name| name.to_str().ok()), Some("envoy"));
    assert!(manager.generate_request_id && !manager.alpn_by_downstream && manager.access_log.is_none());
    assert_eq!((manager.header_bytes_max, manager.header_count_max), (60 * 1024, 100));
    assert_eq!((manager.idle_timeout, manager.streams_max), (Duration::from_hours(1), 1000));
    assert_eq!(manager.stream_idle_timeout, Some(Duration::from_mins(5)));
    assert_eq!(manager.request_headers_timeout, Duration::from_mins(1));
    assert_eq!(manager.client_cert, ClientCertHeader::Sanitize);
    let edge = compiled(&HttpConnectionManager { use_remote_address: yes(), ..crate::given::manager("80") });
    assert_eq!(edge.streams_max, 100);
}

#[test]
fn http_filters() {
    let fault = HttpFault { max_active_faults: u32(1), ..HttpFault::default() };
    let rbac = http_filter("rbac", &any(&Rbac::default()));
    let accepted = [
        vec![http_filter("istio.stats", &Any::default()), router()],
        vec![http_filter("cors", &any(&Cors {})), http_filter("fault", &any(&HttpFault::default())), router()],
        vec![HttpFilter { is_optional: true, ..rbac.clone() }, router()],
        vec![HttpFilter { disabled: true, ..rbac.clone() }, router()],
    ];
    for http_filters in accepted {
        compiled(&HttpConnectionManager { http_filters, ..manager("80") });
    }
    let refused_ones = [
        (vec![], ".http_filters: expected envoy.filters.http.router at the end"),
        (
            vec![rbac.clone(), router()],
            ".http_filters[0]: `rbac` (envoy.extensions.filters.http.rbac.v3.RBAC) is not supported in this release",
        ),
        (
            vec![http_filter("fault", &any(&fault)), router()],
            ".http_filters[0]: `fault` (envoy.extensions.filters.http.fault.v3.HTTPFault) is not supported in this release",
        ),
        (vec![router(), rbac], ".http_filters[1]: nothing may follow the router"),
    ];
    for (http_filters, wanted) in refused_ones {
        let wire = around(&HttpConnectionManager { http_filters, ..manager("80") });
        assert_eq!(refused("l", &wire), format!("{MANAGER}{wanted}"));
    }
}

#[test]
fn connection_managers_that_are_refused() {
    let pass = ServerHeaderTransformation::AppendIfAbsent as i32;
    let connect = UpgradeConfig { upgrade_type: "CONNECT".into(), ..UpgradeConfig::default() };
    let bad_route = routes("r", &[host("h", &["*"], &[to("")])]);
    let cases = [
        (HttpConnectionManager { route_specifier: None, ..manager("80") }, ": expected rds or route_config"),
        (manager(""), ".rds.route_config_name: must not be empty"),
        (
            HttpConnectionManager { route_specifier: Some(RouteSpecifier::RouteConfig(bad_route)), ..manager("80") },
            ".route_config.virtual_hosts[0].routes[0].route.cluster: must not be empty",
        ),
        (
            HttpConnectionManager { server_header_transformation: pass, ..manager("80") },
            ".server_header_transformation: expected OVERWRITE or PASS_THROUGH",
        ),
        (
            HttpConnectionManager { server_name: "a\nb".into(), ..manager("80") },
            ".server_name: `a\\nb` is no header value",
        ),
        (
            HttpConnectionManager { path_with_escaped_slashes_action: 3, ..manager("80") },
            ".path_with_escaped_slashes_action: expected KEEP_UNCHANGED, REJECT_REQUEST or UNESCAPE_AND_FORWARD",
        ),
        (
            HttpConnectionManager { upgrade_configs: vec![connect], ..manager("80") },
            ".upgrade_configs[0]: `connect` is not supported in this release",
        ),
        (
            HttpConnectionManager { request_timeout: seconds(1), ..manager("80") },
            ".request_timeout: is not supported in this release",
        ),
        (
            HttpConnectionManager {
                common_http_protocol_options: Some(HttpProtocolOptions {
                    headers_with_underscores_action: 1,
                    ..HttpProtocolOptions::default()
                }),
                ..manager("80")
            },
            ".common_http_protocol_options.headers_with_underscores_action: is not supported in this release",
        ),
    ];
    for (wire, wanted) in cases {
        assert_eq!(refused("l", &around(&wire)), format!("{MANAGER}{wanted}"));
    }
}

fn log(config: Any) -> AccessLog {
    AccessLog { config_type: Some(access_log::ConfigType::TypedConfig(config)), ..AccessLog::default() }
}

fn file(format: Option<file_access_log::AccessLogFormat>) -> AccessLog {
    log(any(&FileAccessLog { path: "/dev/stdout".into(), access_log_format: format }))
}

fn substitution(format: substitution_format_string::Format) -> Option<file_access_log::AccessLogFormat> {
    let format = SubstitutionFormatString { format: Some(format), ..SubstitutionFormatString::default() };
    Some(file_access_log::AccessLogFormat::LogFormat(format))
}

#[test]
fn access_logs() {
    use substitution_format_string::Format;
    let source =
        DataSource { specifier: Some(data_source::Specifier::InlineString("%A%\n".into())), ..Default::default() };
    let json = fields(&[
        ("b", text("%B%")),
        ("a", Value { kind: Some(Kind::NumberValue(1.0)) }),
        ("c", Value { kind: Some(Kind::BoolValue(true)) }),
    ]);
    let wanted_json =
        LogFormat::Json(vec![("a".into(), "1".into()), ("b".into(), "%B%".into()), ("c".into(), "true".into())]);
    let cases = [
        (file(substitution(Format::TextFormatSource(source))), LogFormat::Text("%A%\n".into())),
        (file(Some(file_access_log::AccessLogFormat::Format("x".into()))), LogFormat::Text("x".into())),
        (file(substitution(Format::JsonFormat(json))), wanted_json),
    ];
    for (wire, format) in cases {
        let manager = compiled(&HttpConnectionManager { access_log: vec![wire], ..manager("80") });
        let wanted = AccessLogSpec { path: "/dev/stdout".into(), format };
        assert_eq!(manager.access_log.as_deref(), Some(&wanted));
    }
    for wire in [file(None), log(any(&StdoutAccessLog::default()))] {
        let manager = compiled(&HttpConnectionManager { access_log: vec![wire], ..manager("80") });
        let spec = manager.access_log.as_ref().expect("there is a log");
        assert!(matches!(&spec.format, LogFormat::Text(text) if text.starts_with("[%START_TIME%]")));
    }
}

#[test]
fn access_logs_that_are_refused() {
    let filtered = AccessLog { filter: Some(AccessLogFilter::default()), ..file(None) };
    let nested = Value { kind: Some(Kind::StructValue(fields(&[]))) };
    let nested = file(substitution(substitution_format_string::Format::JsonFormat(fields(&[("k", nested)]))));
    let cases = [
        (vec![file(None), file(None)], ": more than one log is not supported in this release"),
        (vec![filtered], "[0].filter: is not supported in this release"),
        (
            vec![log(any(&Cors {}))],
            "[0].typed_config: expected a file access log, found `envoy.extensions.filters.http.cors.v3.Cors`",
        ),
        (vec![log(any(&FileAccessLog::default()))], "[0].typed_config.path: must not be empty"),
        (vec![nested], "[0].typed_config.log_format.json_format.k: expected a format string"),
    ];
    for (access_log, wanted) in cases {
        let wire = around(&HttpConnectionManager { access_log, ..manager("80") });
        assert_eq!(refused("l", &wire), format!("{MANAGER}.access_log{wanted}"));
    }
}
