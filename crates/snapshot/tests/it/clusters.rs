//! Clusters and endpoints: what is read, and what is refused where.

use std::time::Duration;

use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::{
                CircuitBreakers, Cluster, LoadBalancingPolicy, OutlierDetection, UpstreamConnectionOptions,
                circuit_breakers::Thresholds,
                cluster::{ClusterDiscoveryType, CustomClusterType, DiscoveryType, TransportSocketMatch},
                load_balancing_policy::Policy,
            },
            core::v3::{
                BindConfig, ExtraSourceAddress, HealthStatus, Http2ProtocolOptions, HttpProtocolOptions as Common,
                Metadata, SocketAddress, TransportSocket, TypedExtensionConfig, socket_address, transport_socket,
            },
            endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints},
        },
        extensions::{
            load_balancing_policies::{maglev::v3::Maglev, round_robin::v3::RoundRobin},
            transport_sockets::tls::v3::{
                CertificateValidationContext, CommonTlsContext, SdsSecretConfig, SubjectAltNameMatcher, TlsCertificate,
                TlsParameters, UpstreamTlsContext,
                common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
                subject_alt_name_matcher::SanType,
                tls_parameters::TlsProtocol,
            },
            upstreams::http::v3::{
                HttpProtocolOptions,
                http_protocol_options::{
                    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
                    explicit_http_config::ProtocolConfig,
                },
            },
        },
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::{Duration as WireDuration, ListValue, Struct, UInt32Value, Value, value::Kind},
};
use mizzen_rules::Origin;
use mizzen_snapshot::{
    ClusterKind,
    cluster::{Address, LbPolicy, Limits, ServiceName, UpstreamProtocol},
    listener::{ClientTls, SanMatch, TlsVersion, TlsVersions},
};

use crate::given::{Proxy, any, cluster, discovery, endpoint, fixed, load, named_address, refused};

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(crate) fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

pub(crate) fn fields(fields: &[(&str, Value)]) -> Struct {
    Struct { fields: fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect() }
}

pub(crate) fn metadata(sections: &[(&str, Struct)]) -> Option<Metadata> {
    let filter_metadata = sections.iter().map(|(name, fields)| ((*name).into(), fields.clone())).collect();
    Some(Metadata { filter_metadata, ..Metadata::default() })
}

pub(crate) fn provenance() -> (&'static str, Struct) {
    let rule = "spec.trafficPolicy";
    ("mizzen.io", fields(&[("object", text("DestinationRule/default/reviews")), ("rule", text(rule))]))
}

pub(crate) fn seconds(seconds: i64) -> Option<WireDuration> {
    Some(WireDuration { seconds, nanos: 0 })
}

fn http(options: &HttpProtocolOptions) -> std::collections::HashMap<String, envoy_types::pb::google::protobuf::Any> {
    [(HTTP_OPTIONS.to_owned(), any(options))].into()
}

fn http2() -> UpstreamProtocolOptions {
    let config = ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default());
    UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) })
}

fn source(ip: &str) -> SocketAddress {
    let port_specifier = Some(socket_address::PortSpecifier::PortValue(0));
    SocketAddress { address: ip.into(), port_specifier, ..SocketAddress::default() }
}

fn secret(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.into(), sds_config: Some(crate::given::ads()) }
}

pub(crate) fn san(kind: SanType, pattern: MatchPattern) -> SubjectAltNameMatcher {
    let matcher = StringMatcher { match_pattern: Some(pattern), ignore_case: false };
    SubjectAltNameMatcher { san_type: kind as i32, matcher: Some(matcher), oid: String::new() }
}

/// Mutual TLS as `compile` writes it.
pub(crate) fn mutual(sans: Vec<SubjectAltNameMatcher>) -> CommonTlsContext {
    let context = CertificateValidationContext { match_typed_subject_alt_names: sans, ..Default::default() };
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(secret("ROOTCA")),
        ..Default::default()
    };
    CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv13 as i32,
            tls_maximum_protocol_version: TlsProtocol::TlSv13 as i32,
            ecdh_curves: vec!["X25519MLKEM768".into()],
            ..TlsParameters::default()
        }),
        tls_certificate_sds_secret_configs: vec![secret("default")],
        alpn_protocols: vec!["istio".into()],
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..CommonTlsContext::default()
    }
}

fn socket(common: CommonTlsContext) -> TransportSocket {
    let context = UpstreamTlsContext { common_tls_context: Some(common), sni: "sni".into(), ..Default::default() };
    TransportSocket {
        name: "envoy.transport_sockets.tls".into(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any(&context))),
    }
}

fn raw() -> TransportSocket {
    TransportSocket { name: "envoy.transport_sockets.raw_buffer".into(), config_type: None }
}

fn exact_uri() -> SubjectAltNameMatcher {
    san(SanType::Uri, MatchPattern::Exact("spiffe://td/ns/default/sa/reviews".into()))
}

fn outbound() -> Cluster {
    let service = fields(&[("host", text("h")), ("name", text("n")), ("namespace", text("ns"))]);
    let services = Value {
        kind: Some(Kind::ListValue(ListValue { values: vec![Value { kind: Some(Kind::StructValue(service)) }] })),
    };
    let wanted = |mode| fields(&[("tlsMode", text(mode))]);
    let choice = |fields, socket| TransportSocketMatch {
        name: String::new(),
        r#match: Some(fields),
        transport_socket: Some(socket),
    };
    Cluster {
        connect_timeout: seconds(10),
        lb_policy: 1,
        metadata: metadata(&[("istio", fields(&[("services", services), ("subset", text("v1"))])), provenance()]),
        typed_extension_protocol_options: http(&HttpProtocolOptions {
            common_http_protocol_options: Some(Common {
                idle_timeout: seconds(7),
                max_requests_per_connection: Some(UInt32Value { value: 9 }),
                ..Common::default()
            }),
            upstream_protocol_options: Some(http2()),
            ..HttpProtocolOptions::default()
        }),
        transport_socket_matches: vec![
            choice(wanted("istio"), socket(mutual(vec![exact_uri()]))),
            choice(fields(&[]), raw()),
        ],
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds { max_connections: Some(UInt32Value { value: 5 }), ..Thresholds::default() }],
            ..CircuitBreakers::default()
        }),
        ..cluster("outbound|80|v1|h")
    }
}

#[test]
fn a_cluster_with_everything() {
    let mut proxy = Proxy::default();
    proxy.add("outbound|80|v1|h", &outbound());
    proxy.add("outbound|80|v1|h", &load("outbound|80|v1|h", &[]));
    let cluster = proxy.cluster("outbound|80|v1|h").expect("the cluster is there");
    let spec = &cluster.spec;
    assert_eq!(spec.kind, ClusterKind::Eds("outbound|80|v1|h".into()));
    assert_eq!(spec.service, Some(ServiceName { host: "h".into(), name: "n".into(), namespace: "ns".into() }));
    assert_eq!(spec.subset.as_deref(), Some("v1"));
    assert_eq!((spec.connect_timeout, spec.idle_timeout), (Duration::from_secs(10), Duration::from_secs(7)));
    assert_eq!((spec.policy, spec.protocol), (LbPolicy::LeastRequest, UpstreamProtocol::Http2));
    assert_eq!(spec.requests_per_connection_max, 9);
    assert_eq!(spec.limits, Limits { connections: 5, pending: 1024, requests: 1024, retries: 3 });
    let origin = Origin { object: "DestinationRule/default/reviews".into(), rule: "spec.trafficPolicy".into() };
    assert_eq!(spec.origin, Some(origin));
    let modes: Vec<_> = spec.tls.iter().map(|choice| (choice.mode.as_deref(), choice.tls.is_some())).collect();
    assert_eq!(modes, [(Some("istio"), true), (None, false)]);
    let wanted = ClientTls {
        certificate: Some("default".into()),
        trust: "ROOTCA".into(),
        sni: Some("sni".into()),
        peers: vec![SanMatch::Exact("spiffe://td/ns/default/sa/reviews".into())],
        alpn: vec!["istio".into()],
        versions: TlsVersions { min: TlsVersion::Tls13, max: TlsVersion::Tls13 },
    };
    assert_eq!(spec.tls[0].tls.as_deref(), Some(&wanted));
}

#[test]
fn defaults_are_envoys() {
    let mut proxy = Proxy::default();
    let bind = BindConfig {
        source_address: Some(source("127.0.0.6")),
        extra_source_addresses: vec![ExtraSourceAddress { address: Some(source("::6")), socket_options: None }],
        ..BindConfig::default()
    };
    let inbound = Cluster {
        cluster_discovery_type: discovery(DiscoveryType::OriginalDst),
        lb_policy: 6,
        upstream_bind_config: Some(bind),
        ..fixed("inbound|80||")
    };
    let passthrough = Cluster { upstream_bind_config: None, name: "PassthroughCluster".into(), ..inbound.clone() };
    proxy.add_all(&[("inbound|80||", &inbound), ("PassthroughCluster", &passthrough)]);
    let spec = &proxy.cluster("inbound|80||").expect("the cluster is there").spec;
    assert_eq!((spec.kind.clone(), spec.policy), (ClusterKind::OriginalDst, LbPolicy::Given));
    assert_eq!(spec.bind, Some("127.0.0.6".parse().expect("an address")));
    assert_eq!(spec.bind_v6, Some("::6".parse().expect("an address")));
    assert_eq!((spec.connect_timeout, spec.idle_timeout), (Duration::from_secs(5), Duration::from_hours(1)));
    assert_eq!(spec.limits, Limits { connections: 1024, pending: 1024, requests: 1024, retries: 3 });
    assert_eq!(spec.protocol, UpstreamProtocol::Http1);
    assert_eq!(spec.tls.len(), 1, "the choices end with one for every endpoint");
    let passthrough = &proxy.cluster("PassthroughCluster").expect("the cluster is there").spec;
    assert_eq!((passthrough.idle_timeout, passthrough.bind), (Duration::from_mins(5), None));
}

#[test]
fn protocols_and_policies() {
    let policies = |config| LoadBalancingPolicy {
        policies: vec![Policy {
            typed_extension_config: Some(TypedExtensionConfig { name: String::new(), typed_config: Some(config) }),
        }],
    };
    let downstream = UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig::default());
    let options = |protocol| HttpProtocolOptions { upstream_protocol_options: Some(protocol), ..Default::default() };
    let cases = [
        (fixed("a"), UpstreamProtocol::Http1, LbPolicy::RoundRobin),
        (Cluster { lb_policy: 3, ..fixed("a") }, UpstreamProtocol::Http1, LbPolicy::Random),
        (
            Cluster { lb_policy: 5, load_balancing_policy: Some(policies(any(&RoundRobin::default()))), ..fixed("a") },
            UpstreamProtocol::Http1,
            LbPolicy::RoundRobin,
        ),
        (
            Cluster { http2_protocol_options: Some(Http2ProtocolOptions::default()), ..fixed("a") },
            UpstreamProtocol::Http2,
            LbPolicy::RoundRobin,
        ),
        (
            Cluster { typed_extension_protocol_options: http(&options(downstream)), ..fixed("a") },
            UpstreamProtocol::Downstream,
            LbPolicy::RoundRobin,
        ),
        (
            Cluster { upstream_connection_options: Some(UpstreamConnectionOptions::default()), ..fixed("a") },
            UpstreamProtocol::Http1,
            LbPolicy::RoundRobin,
        ),
    ];
    for (wire, protocol, policy) in cases {
        let mut proxy = Proxy::default();
        proxy.add("a", &wire);
        let spec = &proxy.cluster("a").expect("the cluster is there").spec;
        assert_eq!((spec.protocol, spec.policy), (protocol, policy), "{wire:?}");
    }
    let ring = Cluster { load_balancing_policy: Some(policies(any(&Maglev::default()))), ..fixed("a") };
    assert!(refused("a", &ring).starts_with("load_balancing_policy: expected round_robin"));
}

#[test]
fn clusters_that_are_refused() {
    let tunnel = TransportSocketMatch {
        r#match: Some(fields(&[("tunnel", text("http"))])),
        transport_socket: Some(raw()),
        ..TransportSocketMatch::default()
    };
    let custom = CustomClusterType { name: "envoy.clusters.aggregate".into(), typed_config: None };
    let cases = [
        (Cluster { lb_policy: 2, ..fixed("a") }, "lb_policy: RING_HASH is not supported in this release"),
        (Cluster { lb_policy: 99, ..fixed("a") }, "lb_policy: 99 is no policy"),
        (
            Cluster { lb_policy: 6, ..fixed("a") },
            "lb_policy: expected CLUSTER_PROVIDED for ORIGINAL_DST, and for nothing else",
        ),
        (fixed("b"), "name: expected `a`, the name of the resource, found `b`"),
        (
            Cluster { cluster_discovery_type: Some(ClusterDiscoveryType::ClusterType(custom)), ..fixed("a") },
            "cluster_type: `envoy.clusters.aggregate` is not supported in this release",
        ),
        (Cluster { eds_cluster_config: None, ..cluster("a") }, "eds_cluster_config: is required"),
        (
            Cluster { outlier_detection: Some(OutlierDetection::default()), ..fixed("a") },
            "outlier_detection: is not supported in this release",
        ),
        (
            Cluster { connect_timeout: Some(WireDuration { seconds: -1, nanos: 0 }), ..fixed("a") },
            "connect_timeout: -1.000000000 s is no duration",
        ),
        (
            Cluster { transport_socket_matches: vec![tunnel], ..fixed("a") },
            "transport_socket_matches[0].match: expected {} or {tlsMode: TEXT}",
        ),
        (
            Cluster {
                transport_socket: Some(TransportSocket {
                    name: String::new(),
                    config_type: Some(transport_socket::ConfigType::TypedConfig(any(&RoundRobin::default()))),
                }),
                ..fixed("a")
            },
            "transport_socket.typed_config: expected envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
             found `envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin`",
        ),
    ];
    for (wire, wanted) in cases {
        assert_eq!(refused("a", &wire), wanted);
    }
}

#[test]
fn tls_contexts_that_are_refused() {
    let tls = |change: fn(&mut CommonTlsContext)| {
        let mut common = mutual(vec![exact_uri()]);
        change(&mut common);
        Cluster { transport_socket: Some(socket(common)), ..fixed("a") }
    };
    let cases = [
        (
            tls(|common| common.validation_context_type = None),
            ".validation_context_type: is required: nobody would be verified",
        ),
        (
            tls(|common| common.tls_certificates = vec![TlsCertificate::default()]),
            ".tls_certificates: is not supported in this release",
        ),
        (
            tls(|common| {
                let context = CertificateValidationContext::default();
                common.validation_context_type = Some(ValidationContextType::ValidationContext(context));
            }),
            ": expected a secret by name: \
             validation_context_sds_secret_config or combined_validation_context",
        ),
        (
            tls(|common| *common = mutual(vec![san(SanType::Dns, MatchPattern::Exact("a".into()))])),
            ".combined_validation_context.default_validation_context.\
             match_typed_subject_alt_names[0].san_type: expected URI",
        ),
        (
            tls(|common| *common = mutual(vec![san(SanType::Uri, MatchPattern::Suffix("a".into()))])),
            ".combined_validation_context.default_validation_context.\
             match_typed_subject_alt_names[0].matcher: expected exact or prefix, with regard to case",
        ),
        (
            tls(|common| {
                common.tls_params = Some(TlsParameters { tls_minimum_protocol_version: 2, ..Default::default() });
            }),
            ".tls_params.tls_minimum_protocol_version: \
             expected TLSv1_2 or TLSv1_3",
        ),
        (
            tls(|common| {
                let (min, max) = (TlsProtocol::TlSv13 as i32, TlsProtocol::TlSv12 as i32);
                common.tls_params = Some(TlsParameters {
                    tls_minimum_protocol_version: min,
                    tls_maximum_protocol_version: max,
                    ..TlsParameters::default()
                });
            }),
            ".tls_params.tls_maximum_protocol_version: \
             is less than the minimum",
        ),
    ];
    for (wire, wanted) in cases {
        let message = refused("a", &wire);
        assert_eq!(message.strip_prefix("transport_socket.typed_config.common_tls_context"), Some(wanted));
    }
}

#[test]
fn endpoints() {
    let mut proxy = Proxy::default();
    proxy.add("a", &cluster("a"));
    let meshed = LbEndpoint {
        health_status: HealthStatus::Unhealthy as i32,
        load_balancing_weight: Some(UInt32Value { value: 3 }),
        metadata: metadata(&[
            ("envoy.transport_socket_match", fields(&[("tlsMode", text("istio"))])),
            ("istio", fields(&[("workload", text("reviews-v1;default;reviews;v1;Kubernetes"))])),
        ]),
        ..endpoint(named_address("fd77::1", 9080))
    };
    let plain = endpoint(named_address("10.0.0.1", 80));
    let locality = |priority, lb_endpoints| LocalityLbEndpoints { priority, lb_endpoints, ..Default::default() };
    proxy.add(
        "a",
        &ClusterLoadAssignment {
            endpoints: vec![locality(0, vec![plain]), locality(1, vec![meshed.clone(), meshed])],
            ..load("a", &[])
        },
    );
    let cluster = proxy.cluster("a").expect("the cluster is there");
    let [plain, meshed, twin] = cluster.endpoints.list.as_slice() else { panic!("{:?}", cluster.endpoints) };
    assert_eq!(plain.address, Address::Socket("10.0.0.1:80".parse().expect("an address")));
    assert_eq!((plain.weight, plain.healthy, plain.priority), (1, true, 0));
    assert!(plain.tls_mode.is_none() && plain.workload.is_none());
    assert_eq!((meshed.weight, meshed.healthy, meshed.priority), (3, false, 1));
    assert_eq!(meshed.tls_mode.as_deref(), Some("istio"));
    let (workload, same) = meshed.workload.as_ref().zip(twin.workload.as_ref()).expect("both have a workload");
    assert!(std::sync::Arc::ptr_eq(workload, same));
    assert_eq!(
        (&*workload.name, &*workload.namespace, &*workload.canonical_name),
        ("reviews-v1", "default", "reviews")
    );
    assert_eq!((&*workload.canonical_revision, &*workload.cluster), ("v1", "Kubernetes"));
}

#[test]
fn endpoints_that_are_refused() {
    let with = |endpoint| {
        let locality = LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() };
        ClusterLoadAssignment { endpoints: vec![locality], ..load("a", &[]) }
    };
    let weightless =
        LbEndpoint { load_balancing_weight: Some(UInt32Value { value: 0 }), ..endpoint(named_address("10.0.0.1", 80)) };
    let cases = [
        (load("b", &[]), "cluster_name: expected `a`, the name of the resource, found `b`"),
        (with(LbEndpoint::default()), "endpoints[0].lb_endpoints[0].endpoint: is required"),
        (with(weightless), "endpoints[0].lb_endpoints[0].load_balancing_weight: must be at least 1"),
        (
            with(endpoint(named_address("example.com", 80))),
            "endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: `example.com` is no IP address",
        ),
    ];
    for (wire, wanted) in cases {
        assert_eq!(refused("a", &wire), wanted);
    }
    // A name is what a DNS cluster is made for.
    let mut proxy = Proxy::default();
    let dns = Cluster {
        cluster_discovery_type: discovery(DiscoveryType::StrictDns),
        load_assignment: Some(with(endpoint(named_address("example.com", 80)))),
        ..fixed("a")
    };
    proxy.add("a", &dns);
    let cluster = proxy.cluster("a").expect("the cluster is there");
    assert_eq!((&cluster.spec.kind, cluster.endpoints.list.len()), (&ClusterKind::Dns, 1));
    assert_eq!(cluster.endpoints.list[0].address, Address::Name("example.com".into(), 80));
}
