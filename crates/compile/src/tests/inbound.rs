//! The inbound listener: chains by policy and protocol, refusal, own clusters.

use super::listeners::{handler, manager};
use super::{ENVOY, cluster, compile, listener, names, service, sidecar};
use crate::{Kind, Scope};

fn with_policy(port: &str, mode: &str) -> String {
    format!(
        "{}apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p}}\nspec: {{mtls: {{mode: {mode}}}}}\n",
        service("web", port, "10.244.0.1")
    )
}

/// The chains of port 80: transport, ALPN, whether TLS is terminated, handler.
fn chains(port: &str, mode: &str) -> Vec<String> {
    let set = compile(&with_policy(port, mode), &sidecar("default", "10.244.0.1"));
    let inbound = listener(&set, "virtualInbound");
    let own = inbound.filter_chains.iter().filter(|chain| chain.name == "0.0.0.0_80").map(|chain| {
        let matched = chain.filter_chain_match.clone().unwrap_or_default();
        assert_eq!(matched.destination_port.map(|port| port.value), Some(80));
        let tls = if chain.transport_socket.is_some() { "mtls" } else { "plain" };
        let kind = handler(chain);
        let kind = kind.split(' ').next().unwrap_or_default();
        format!("{} {} {tls} {kind}", matched.transport_protocol, matched.application_protocols.join(","))
    });
    own.collect()
}

#[test]
fn chains_follow_policy_and_protocol() {
    let (http, tcp, auto) = ("{name: http, port: 80}", "{name: tcp, port: 80}", "{port: 80}");
    let mesh = "istio-peer-exchange,istio,istio-http/1.0,istio-http/1.1,istio-h2";
    let mesh_http = "istio-http/1.0,istio-http/1.1,istio-h2";
    let cases: [(&str, &str, Vec<String>); 9] = [
        (http, "PERMISSIVE", vec![format!("tls {mesh} mtls http"), "raw_buffer  plain http".into()]),
        (
            tcp,
            "PERMISSIVE",
            vec![format!("tls {mesh} mtls tcp"), "tls  plain tcp".into(), "raw_buffer  plain tcp".into()],
        ),
        (
            auto,
            "PERMISSIVE",
            vec![
                format!("tls {mesh_http} mtls http"),
                "raw_buffer http/1.1,h2c plain http".into(),
                "tls istio-peer-exchange,istio mtls tcp".into(),
                "raw_buffer  plain tcp".into(),
                "tls  plain tcp".into(),
            ],
        ),
        (http, "STRICT", vec!["tls  mtls http".into()]),
        (tcp, "STRICT", vec!["tls  mtls tcp".into()]),
        (auto, "STRICT", vec![format!("tls {mesh_http} mtls http"), "tls  mtls tcp".into()]),
        (http, "DISABLE", vec!["raw_buffer  plain http".into()]),
        (tcp, "DISABLE", vec!["raw_buffer  plain tcp".into(), "tls  plain tcp".into()]),
        (
            auto,
            "DISABLE",
            vec!["raw_buffer http/1.1,h2c plain http".into(), "raw_buffer  plain tcp".into(), "tls  plain tcp".into()],
        ),
    ];
    for (port, mode, wanted) in cases {
        assert_eq!(chains(port, mode), wanted, "{mode} {port}");
    }
}

#[test]
fn strict_leaves_no_way_in_for_plain_text() {
    let set = compile(&with_policy("{name: http, port: 80}", "STRICT"), &sidecar("default", "10.244.0.1"));
    for chain in listener(&set, "virtualInbound").filter_chains {
        if handler(&chain) == "tcp BlackHoleCluster" {
            continue;
        }
        assert!(chain.transport_socket.is_some(), "{}", chain.name);
        assert_eq!(chain.filter_chain_match.expect("a match").transport_protocol, "tls", "{}", chain.name);
        assert!(format!("{:?}", chain.metadata).contains("PeerAuthentication/default/p"));
    }
}

#[test]
fn the_tls_context_asks_for_a_certificate_of_the_mesh() {
    use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;
    use prost::Message;

    let set = compile(&with_policy("{name: http, port: 80}", "STRICT"), &sidecar("default", "10.244.0.1"));
    let inbound = listener(&set, "virtualInbound");
    let chain = inbound.filter_chains.iter().find(|chain| chain.name == "0.0.0.0_80").expect("a chain");
    let Some(ConfigType::TypedConfig(any)) =
        chain.transport_socket.as_ref().and_then(|socket| socket.config_type.clone())
    else {
        panic!("a typed config")
    };
    let context = DownstreamTlsContext::decode(&*any.value).expect("a context");
    assert_eq!(context.require_client_certificate.map(|flag| flag.value), Some(true));
    let text = format!("{context:?}");
    for part in [
        "Prefix(\"spiffe://cluster.local/\")",
        "name: \"ROOTCA\"",
        "name: \"default\"",
        "\"h2\", \"http/1.1\", \"istio\"",
        "tls_minimum_protocol_version: TlSv12",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_workload_has_clusters_and_routes_of_its_own() {
    let text = service("web", "{name: http, port: 80, targetPort: 8080}", "10.244.0.1");
    let set = compile(&text, &sidecar("default", "10.244.0.1"));
    assert!(names(&set, Kind::Cluster).contains("inbound|8080||"));
    let own = cluster(&set, "inbound|8080||");
    assert_eq!(
        own.upstream_bind_config.and_then(|bind| bind.source_address).map(|source| source.address).as_deref(),
        Some("127.0.0.6")
    );
    let inbound = listener(&set, "virtualInbound");
    let chain = inbound.filter_chains.iter().find(|chain| chain.name == "0.0.0.0_8080").expect("a chain");
    let text = format!("{:?}", manager(chain).route_specifier);
    for part in [
        "inbound|http|8080",
        "Cluster(\"inbound|8080||\")",
        "operation: \"web.default.svc.cluster.local:80/*\"",
        "name: \"default\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let elsewhere = compile(&text, &sidecar("default", "10.244.0.9"));
    assert!(!names(&elsewhere, Kind::Cluster).contains("inbound|"), "no service is served there");
}

#[test]
fn replicas_share_a_set_and_clients_learn_the_destination_their_way() {
    let text = service("web", "{name: http, port: 80}", "10.244.0.1");
    let stock = compile(&text, &Scope { capabilities: ENVOY, ..sidecar("default", "10.244.0.1") });
    let inbound = listener(&stock, "virtualInbound");
    assert!(inbound.use_original_dst.is_none());
    assert_eq!(inbound.listener_filters[0].name, "envoy.filters.listener.original_dst");
    let ours = listener(&compile(&text, &sidecar("default", "10.244.0.1")), "virtualInbound");
    assert_eq!(ours.use_original_dst.map(|flag| flag.value), Some(true));
    assert_eq!(ours.listener_filters.len(), 2);
}
