//! Outbound listeners: shapes by protocol and address, policy for the unknown, access log.

use envoy_types::pb::envoy::config::listener::v3::FilterChain;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use prost::Message;

use super::{compile, listener, names, service, sidecar, virtual_host};
use crate::Kind;

/// The handler of a chain: `http ROUTES` or `tcp CLUSTER`.
pub(crate) fn handler(chain: &FilterChain) -> String {
    let Some(ConfigType::TypedConfig(any)) = &chain.filters[0].config_type else { panic!("a typed config") };
    if any.type_url.ends_with("TcpProxy") {
        let proxy = TcpProxy::decode(&*any.value).expect("a TCP proxy");
        let text = format!("{:?}", proxy.cluster_specifier);
        return format!("tcp {}", text.split('"').nth(1).unwrap_or_default());
    }
    format!("http {}", manager(chain).stat_prefix)
}

pub(crate) fn manager(chain: &FilterChain) -> HttpConnectionManager {
    let Some(ConfigType::TypedConfig(any)) = &chain.filters[0].config_type else { panic!("a typed config") };
    HttpConnectionManager::decode(&*any.value).expect("a connection manager")
}

#[test]
fn http_services_of_a_port_share_a_listener() {
    let text =
        [service("a", "{name: http, port: 80}", "10.244.0.1"), service("b", "{name: grpc, port: 80}", "10.244.0.2")]
            .concat();
    let set = compile(&text, &sidecar("default", ""));
    assert_eq!(names(&set, Kind::Listener), "0.0.0.0_80 virtualInbound virtualOutbound");
    let shared = listener(&set, "0.0.0.0_80");
    assert_eq!(shared.bind_to_port.map(|bind| bind.value), Some(false));
    assert_eq!(shared.additional_addresses.len(), 1, "both families");
    let [chain] = &shared.filter_chains[..] else { panic!("{shared:#?}") };
    let matched = chain.filter_chain_match.as_ref().expect("a match");
    assert_eq!(
        (&*matched.transport_protocol, &matched.application_protocols[..]),
        ("raw_buffer", &["http/1.1".to_owned(), "h2c".to_owned()][..])
    );
    let manager = manager(chain);
    assert!(format!("{:?}", manager.route_specifier).contains("route_config_name: \"80\""));
    let filters: Vec<_> = manager.http_filters.iter().map(|filter| filter.name.as_str()).collect();
    assert_eq!(filters, ["istio.alpn", "envoy.filters.http.router"]);
    assert_eq!(manager.upgrade_configs[0].upgrade_type, "websocket");
    assert!(manager.access_log.is_empty(), "off by default");
    assert_eq!(handler(shared.default_filter_chain.as_ref().expect("a default")), "tcp PassthroughCluster");
    assert!(shared.listener_filters_timeout.is_none());
}

#[test]
fn other_services_have_listeners_of_their_own() {
    let text = [
        service("db", "{name: tcp, port: 5432}", "10.244.0.1"),
        service("any", "{port: 7000}", "10.244.0.2"),
        service("pods", "{name: tcp, port: 6000}", "10.244.0.3"),
    ]
    .concat()
    .replace("name: db}\nspec: {", "name: db}\nspec: {clusterIP: 10.96.1.1, ")
    .replace("name: any}\nspec: {", "name: any}\nspec: {clusterIP: 10.96.1.2, ")
    .replace("name: pods}\nspec: {", "name: pods}\nspec: {clusterIP: None, ");
    let set = compile(&text, &sidecar("default", ""));
    assert_eq!(
        names(&set, Kind::Listener),
        "10.244.0.3_6000 10.96.1.1_5432 10.96.1.2_7000 virtualInbound virtualOutbound"
    );
    let db = listener(&set, "10.96.1.1_5432");
    assert_eq!(handler(&db.filter_chains[0]), "tcp outbound|5432||db.default.svc.cluster.local");
    assert!(db.filter_chains[0].filter_chain_match.is_none() && db.default_filter_chain.is_none());
    let any = listener(&set, "10.96.1.2_7000");
    assert_eq!(handler(&any.filter_chains[0]), "http outbound_10.96.1.2_7000");
    assert_eq!(
        handler(any.default_filter_chain.as_ref().expect("a default")),
        "tcp outbound|7000||any.default.svc.cluster.local"
    );
    assert_eq!(
        virtual_host(&set, "any.default.svc.cluster.local:7000/any.default.svc.cluster.local:7000").domains,
        ["*"]
    );
    assert_eq!(
        handler(&listener(&set, "10.244.0.3_6000").filter_chains[0]),
        "tcp outbound|6000||pods.default.svc.cluster.local"
    );
}

#[test]
fn entries_without_an_address_stand_in_the_wildcard_listener() {
    let entry = |name: &str, protocol: &str, rest: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec: {{hosts: [{name}.com], {rest} \
             ports: [{{number: 443, name: p, protocol: {protocol}}}], resolution: NONE}}\n---\n"
        )
    };
    let text =
        [entry("sni", "TLS", ""), entry("net", "TCP", "addresses: [10.5.0.0/16],"), entry("rest", "TCP", "")].concat();
    let set = compile(&text, &sidecar("default", ""));
    let shared = listener(&set, "0.0.0.0_443");
    let chains: Vec<_> = shared.filter_chains.iter().map(handler).collect();
    assert_eq!(chains, ["tcp outbound|443||net.com", "tcp outbound|443||sni.com"]);
    let text = format!("{:?}", shared.filter_chains);
    assert!(text.contains("address_prefix: \"10.5.0.0\"") && text.contains("server_names: [\"sni.com\"]"), "{text}");
    assert_eq!(handler(shared.default_filter_chain.as_ref().expect("a default")), "tcp outbound|443||rest.com");
}

fn mesh(config: &str) -> String {
    format!(
        "{}apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    {config}\n",
        service("a", "{name: http, port: 80}", "10.244.0.1")
    )
}

#[test]
fn unknown_destinations_pass_or_not() {
    let set = compile(&mesh("outboundTrafficPolicy: {mode: REGISTRY_ONLY}"), &sidecar("default", ""));
    assert_eq!(names(&set, Kind::VirtualHost), "80/a.default.svc.cluster.local:80 80/block_all");
    assert!(format!("{:?}", virtual_host(&set, "80/block_all").routes).contains("status: 502"));
    let captured = listener(&set, "virtualOutbound");
    let chains: Vec<_> = captured.filter_chains.iter().map(|chain| (chain.name.as_str(), handler(chain))).collect();
    assert_eq!(
        chains,
        [
            ("virtualOutbound-blackhole", "tcp BlackHoleCluster".to_owned()),
            ("virtualOutbound-catchall-tcp", "tcp BlackHoleCluster".to_owned()),
        ]
    );
    assert_eq!(captured.use_original_dst.map(|flag| flag.value), Some(true));
    let any = listener(&compile(&mesh("{}"), &sidecar("default", "")), "virtualOutbound");
    assert_eq!(handler(&any.filter_chains[1]), "tcp PassthroughCluster");
}

#[test]
fn the_access_log_has_istios_format() {
    let cases = [
        (
            "accessLogFile: /dev/stdout",
            "[%START_TIME%] \\\"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\\\" %RESPONSE_CODE%",
        ),
        ("{accessLogFile: /dev/stdout, accessLogFormat: 'X %ROUTE_NAME%'}", "X %ROUTE_NAME%\\n"),
        ("{accessLogFile: /dev/stdout, accessLogEncoding: JSON}", "upstream_transport_failure_reason"),
    ];
    for (config, part) in cases {
        let set = compile(&mesh(config), &sidecar("default", ""));
        let log = manager(&listener(&set, "0.0.0.0_80").filter_chains[0]).access_log;
        let Some(envoy_types::pb::envoy::config::accesslog::v3::access_log::ConfigType::TypedConfig(any)) =
            &log[0].config_type
        else {
            panic!("a typed config")
        };
        let log = envoy_types::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog::decode(&*any.value);
        let text = format!("{:?}", log.expect("a file log"));
        assert!(text.contains("/dev/stdout") && text.contains(part), "{config}: {text}");
    }
}
