//! Clusters: kinds of discovery, TLS, protocols, timeouts.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    UpstreamTlsContext, common_tls_context::ValidationContextType,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use prost::Message;

use super::{ENVOY, cluster, compile, names, router, service, sidecar};
use crate::{Kind, Scope};

const HOST: &str = "web.default.svc.cluster.local";

fn discovery(cluster: &Cluster) -> String {
    format!("{:?}", cluster.r#type())
}

/// The TLS context of a transport socket.
fn tls(socket: Option<&envoy_types::pb::envoy::config::core::v3::TransportSocket>) -> Option<UpstreamTlsContext> {
    match &socket?.config_type {
        Some(ConfigType::TypedConfig(any)) if any.type_url.ends_with("UpstreamTlsContext") => {
            Some(UpstreamTlsContext::decode(&*any.value).expect("a context"))
        }
        _ => None,
    }
}

trait Discovery {
    fn r#type(&self) -> envoy_types::pb::envoy::config::cluster::v3::cluster::DiscoveryType;
}

impl Discovery for Cluster {
    fn r#type(&self) -> envoy_types::pb::envoy::config::cluster::v3::cluster::DiscoveryType {
        use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
        match self.cluster_discovery_type {
            Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(kind).expect("a known kind"),
            _ => panic!("no type"),
        }
    }
}

#[test]
fn meshed_endpoints_get_mutual_tls_and_others_plain_text() {
    let text = service("web", "{name: http, port: 80}", "10.244.0.1");
    let set = compile(&text, &sidecar("default", ""));
    let web = cluster(&set, &format!("outbound|80||{HOST}"));
    assert_eq!(discovery(&web), "Eds");
    let [mutual, plain] = &web.transport_socket_matches[..] else { panic!("{web:#?}") };
    assert_eq!((&*mutual.name, &*plain.name), ("tlsMode-istio", "tlsMode-disabled"));
    assert!(plain.r#match.as_ref().is_some_and(|wanted| wanted.fields.is_empty()));
    assert!(tls(plain.transport_socket.as_ref()).is_none());
    let context = tls(mutual.transport_socket.as_ref()).expect("TLS");
    assert_eq!(context.sni, format!("outbound_.80_._.{HOST}"));
    let common = context.common_tls_context.expect("a common part");
    assert!(common.alpn_protocols.is_empty(), "the filter chooses");
    let params = common.tls_params.expect("versions");
    assert_eq!((params.tls_minimum_protocol_version, params.tls_maximum_protocol_version), (4, 4), "TLS 1.3 only");
    assert_eq!(params.ecdh_curves, ["X25519MLKEM768", "X25519", "P-256"]);
    let Some(ValidationContextType::CombinedValidationContext(validation)) = common.validation_context_type else {
        panic!("a combined context")
    };
    let text = format!("{:?}", validation.default_validation_context);
    assert!(text.contains("Exact(\"spiffe://cluster.local/ns/default/sa/web\")"), "{text}");
    let limits = web.circuit_breakers.expect("limits").thresholds[0].max_connections;
    assert_eq!(limits.map(|limit| limit.value), Some(u32::MAX));
}

#[test]
fn where_nobody_is_meshed_there_is_no_tls() {
    let plain = service("web", "{name: http, port: 80}", "10.244.0.1").replace("tlsMode: istio", "tlsMode: disabled");
    let disabled = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: off}\nspec: {mtls: {mode: DISABLE}}\n";
    let off = format!("{}{disabled}", service("web", "{name: http, port: 80}", "10.244.0.1"));
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'enableAutoMtls: false'}\n";
    let auto = format!("{}{config}", service("web", "{name: http, port: 80}", "10.244.0.1"));
    for (name, text) in [("no proxy", plain), ("policy", off), ("no auto mTLS", auto)] {
        let web = cluster(&compile(&text, &sidecar("default", "")), &format!("outbound|80||{HOST}"));
        assert!(web.transport_socket_matches.is_empty() && web.transport_socket.is_none(), "{name}");
    }
}

#[test]
fn protocols_decide_http_options_and_alpn() {
    let cases: [(&str, Option<&str>, &[&str]); 5] = [
        (
            "http",
            Some("ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(HttpProtocolOptions"),
            &["istio-http/1.1", "istio", "http/1.1"],
        ),
        ("grpc", Some("Http2ProtocolOptions(Http2"), &["istio-h2", "istio", "h2"]),
        ("web", Some("UseDownstreamProtocolConfig"), &["istio-http/1.1", "istio", "http/1.1"]),
        ("tcp", None, &["istio"]),
        ("https", None, &["istio"]),
    ];
    for (name, options, alpn) in cases {
        let text = service("web", &format!("{{name: {name}, port: 80}}"), "10.244.0.1");
        let scope = Scope { capabilities: ENVOY, ..sidecar("default", "") };
        let web = cluster(&compile(&text, &scope), &format!("outbound|80||{HOST}"));
        let found = web.typed_extension_protocol_options.get("envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
        let found = found.map(|any| {
            format!("{:?}", HttpProtocolOptions::decode(&*any.value).expect("options").upstream_protocol_options)
        });
        assert_eq!(found.is_some(), options.is_some(), "{name}");
        assert!(
            options.is_none_or(|part| found.as_ref().is_some_and(|found| found.contains(part))),
            "{name}: {found:?}"
        );
        let context = tls(web.transport_socket_matches[0].transport_socket.as_ref()).expect("TLS");
        assert_eq!(context.common_tls_context.expect("common").alpn_protocols, alpn, "{name}");
    }
}

#[test]
fn headless_services_are_dialled_by_sidecars_and_balanced_by_gateways() {
    let text = service("web", "{name: http, port: 80}", "10.244.0.1")
        .replace("spec: {selector", "spec: {clusterIP: None, selector");
    let name = format!("outbound|80||{HOST}");
    let set = compile(&text, &sidecar("default", ""));
    let web = cluster(&set, &name);
    assert_eq!((&*discovery(&web), web.lb_policy), ("OriginalDst", 6));
    assert!(tls(web.transport_socket.as_ref()).is_some(), "all endpoints are meshed");
    assert_eq!(names(&set, Kind::Endpoints), "");
    let mixed = format!(
        "{text}{}",
        service("web", "{name: http, port: 80}", "10.244.0.2")
            .split_once("---\n")
            .map(|(_, pod)| pod.replace("web-1", "web-2").replace("tlsMode: istio", "tlsMode: x"))
            .unwrap_or_default()
    );
    let web = cluster(&compile(&mixed, &sidecar("default", "")), &name);
    assert!(web.transport_socket.is_none(), "not all are meshed, and they are not told apart");
    let gateway = compile(&text, &router("default", &[]));
    assert_eq!(discovery(&cluster(&gateway, &name)), "Eds");
    assert_eq!(names(&gateway, Kind::Endpoints), name);
}

#[test]
fn entries_resolve_as_they_say() {
    let entry = |name: &str, rest: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec: {{hosts: [{name}.com], \
             ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}], {rest}}}\n---\n"
        )
    };
    let text = [
        entry("none", "resolution: NONE"),
        entry("dns", "resolution: DNS"),
        entry("static", "resolution: STATIC, endpoints: [{address: 10.1.1.1, ports: {http: 9090}, weight: 3}]"),
    ]
    .concat();
    let set = compile(&text, &sidecar("default", ""));
    let of = |name: &str| cluster(&set, &format!("outbound|80||{name}.com"));
    assert_eq!(discovery(&of("none")), "OriginalDst");
    assert_eq!(discovery(&of("static")), "Eds");
    let dns = of("dns");
    assert_eq!(discovery(&dns), "StrictDns");
    let text = format!("{:?}", dns.load_assignment);
    assert!(text.contains("dns.com") && text.contains("PortValue(8080)"), "{text}");
    assert!(dns.transport_socket_matches.is_empty(), "outside of the mesh");
    assert_eq!(names(&set, Kind::Endpoints), "outbound|80||static.com");
}

#[test]
fn rules_set_timeout_and_balancer() {
    let rule = |policy: &str| {
        format!(
            "{}apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: web}}\nspec: {{host: web, trafficPolicy: {policy}}}\n",
            service("web", "{name: http, port: 80}", "10.244.0.1")
        )
    };
    let cases = [
        ("{}", 1, 10),
        ("{loadBalancer: {simple: ROUND_ROBIN}}", 0, 10),
        ("{loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {connectTimeout: 3s}}}", 3, 3),
        (
            "{loadBalancer: {simple: RANDOM}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]}",
            0,
            10,
        ),
        ("{loadBalancer: {simple: LEAST_REQUEST}}", 1, 10),
    ];
    for (policy, balancer, seconds) in cases {
        let web = cluster(&compile(&rule(policy), &sidecar("default", "")), &format!("outbound|80||{HOST}"));
        assert_eq!(web.lb_policy, balancer, "{policy}");
        assert_eq!(web.connect_timeout.map(|timeout| timeout.seconds), Some(seconds), "{policy}");
    }
}

#[test]
fn every_data_plane_has_the_fixed_clusters() {
    let set = compile("", &sidecar("default", ""));
    assert_eq!(names(&set, Kind::Cluster), "BlackHoleCluster InboundPassthroughCluster PassthroughCluster");
    let inbound = cluster(&set, "InboundPassthroughCluster");
    let bind = inbound.upstream_bind_config.expect("a source address");
    assert_eq!(bind.source_address.expect("IPv4").address, "127.0.0.6");
    assert_eq!(bind.extra_source_addresses[0].address.as_ref().expect("IPv6").address, "::6");
    assert_eq!(discovery(&cluster(&set, "BlackHoleCluster")), "Static");
    assert_eq!(names(&compile("", &router("default", &[])), Kind::Cluster), "BlackHoleCluster PassthroughCluster");
}
