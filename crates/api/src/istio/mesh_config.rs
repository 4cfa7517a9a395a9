//! `MeshConfig`: settings of the whole mesh, from the key `mesh` of the `ConfigMap` `istio`.
//!
//! What Mizzen reads is typed. The other fields of Istio's schema are known by name: they are accepted, and reported as not enforced.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{
    common::TlsVersion,
    destination_rule::{H2UpgradePolicy, TcpKeepalive},
    virtual_service::Retries,
};
use crate::Duration;

/// `ConfigMap`s whose name is this, or begins with it and `-`, carry a mesh configuration.
pub const MESH_CONFIG_NAME: &str = "istio";
/// The key of that `ConfigMap`.
pub const MESH_CONFIG_KEY: &str = "mesh";

/// The mesh's settings; an absent field has the default given with it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Default `cluster.local`.
    pub trust_domain: Option<String>,
    pub trust_domain_aliases: Vec<String>,
    /// Default `istio-system`.
    pub root_namespace: Option<String>,
    /// A path, or empty (default) for no access log.
    pub access_log_file: Option<String>,
    pub access_log_format: Option<String>,
    pub access_log_encoding: AccessLogEncoding,
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    pub inbound_traffic_policy: Option<InboundTrafficPolicy>,
    /// Default true.
    pub enable_auto_mtls: Option<bool>,
    /// Default 10 s.
    pub connect_timeout: Option<Duration>,
    /// Default: two attempts.
    pub default_http_retry_policy: Option<Retries>,
    #[serde(rename = "meshMTLS")]
    pub mesh_mtls: Option<MeshTls>,
    pub tls_defaults: Option<MeshTls>,
    pub path_normalization: Option<PathNormalization>,
    pub default_config: Option<ProxyConfig>,
    /// Default 15001.
    pub proxy_listen_port: Option<u16>,
    /// Default 15006.
    pub proxy_inbound_listen_port: Option<u16>,
    /// Default `["*"]`, as the next two.
    pub default_service_export_to: Vec<String>,
    pub default_virtual_service_export_to: Vec<String>,
    pub default_destination_rule_export_to: Vec<String>,
    pub tcp_keepalive: Option<TcpKeepalive>,
    pub protocol_detection_timeout: Option<Duration>,
    pub dns_refresh_rate: Option<Duration>,
    pub h2_upgrade_policy: Option<H2UpgradePolicy>,

    // Known, not read.
    pub hbone_idle_timeout: Option<Duration>,
    pub ingress_class: Option<String>,
    pub ingress_service: Option<String>,
    pub ingress_selector: Option<String>,
    pub ingress_controller_mode: Option<String>,
    pub enable_tracing: Option<bool>,
    pub disable_envoy_listener_log: Option<bool>,
    pub ca_certificates: Option<Value>,
    pub locality_lb_setting: Option<Value>,
    pub zone_aware_lb_setting: Option<Value>,
    pub proxy_http_port: Option<u16>,
    pub enable_envoy_access_log_service: Option<bool>,
    pub inbound_cluster_stat_name: Option<String>,
    pub outbound_cluster_stat_name: Option<String>,
    pub enable_prometheus_merge: Option<bool>,
    pub extension_providers: Option<Value>,
    pub default_providers: Option<Value>,
    pub discovery_selectors: Option<Value>,
    pub default_inbound_http_retry_policy: Option<Value>,
    pub default_traffic_policy: Option<Value>,
    pub service_settings: Option<Value>,
    pub service_scope_configs: Option<Value>,
    pub service_entry_visibility: Option<Value>,
    pub ca: Option<Value>,
    pub config_sources: Option<Value>,
    pub verify_certificate_at_client: Option<bool>,
}

/// How an access-log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccessLogEncoding {
    #[default]
    Text,
    Json,
}

/// What becomes of traffic to an unknown destination.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    pub mode: Option<OutboundTrafficMode>,
    pub tls: Option<Value>,
}

/// See [`OutboundTrafficPolicy`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundTrafficMode {
    RegistryOnly,
    #[default]
    AllowAny,
    AllowAnyDynamicDns,
}

/// Where inbound traffic is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InboundTrafficPolicy {
    pub mode: InboundTrafficMode,
}

/// See [`InboundTrafficPolicy`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InboundTrafficMode {
    /// To the address at which it arrived.
    #[default]
    Passthrough,
    /// To the loopback address.
    Localhost,
}

/// Bounds on TLS: of mTLS in the mesh (`meshMTLS`), of all else (`tlsDefaults`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTls {
    /// Default TLS 1.2.
    pub min_protocol_version: TlsVersion,
    pub cipher_suites: Vec<String>,
    pub ecdh_curves: Vec<String>,
}

/// How paths are made comparable before policy and routing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathNormalization {
    pub normalization: PathNormalizationMode,
}

/// See [`PathNormalization`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PathNormalizationMode {
    /// Means `BASE`.
    #[default]
    Default,
    None,
    /// RFC 3986 dot segments and case of escapes.
    Base,
    MergeSlashes,
    DecodeAndMergeSlashes,
}

/// Settings of the proxies (`defaultConfig`, and the annotation `proxy.istio.io/config`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// Workers; absent: from the CPU limit, 0: all cores.
    pub concurrency: Option<u32>,
    /// Default 45 s.
    pub drain_duration: Option<Duration>,
    /// Default 5 s.
    pub termination_drain_duration: Option<Duration>,
    pub proxy_admin_port: Option<u16>,
    pub status_port: Option<u16>,
    pub discovery_address: Option<String>,
    pub proxy_metadata: BTreeMap<String, String>,
    pub hold_application_until_proxy_starts: Option<bool>,

    // Known, not read.
    pub control_plane_auth_policy: Option<String>,
    pub service_cluster: Option<String>,
    pub config_path: Option<String>,
    pub binary_path: Option<String>,
    pub custom_config_file: Option<String>,
    pub stat_name_length: Option<u32>,
    pub interception_mode: Option<String>,
    pub tracing: Option<Value>,
    pub gateway_topology: Option<Value>,
    pub proxy_stats_matcher: Option<Value>,
    pub readiness_probe: Option<Value>,
    pub ca_certificates_pem: Vec<String>,
    pub image: Option<Value>,
    pub mesh_id: Option<String>,
    pub runtime_values: Option<Value>,
    pub environment_variables: Option<Value>,
    pub private_key_provider: Option<Value>,
    pub proxy_headers: Option<Value>,
    pub file_flush_interval: Option<Duration>,
    pub file_flush_min_size_kb: Option<u32>,
    pub stats_compression: Option<bool>,
    pub connection_settings: Option<Value>,
    pub envoy_access_log_service: Option<Value>,
    pub envoy_metrics_service: Option<Value>,
    pub extra_stat_tags: Vec<String>,
    pub proxy_bootstrap_template_path: Option<String>,
    pub statsd_udp_address: Option<String>,
    pub zipkin_address: Option<String>,
    pub availability_zone: Option<String>,
}
