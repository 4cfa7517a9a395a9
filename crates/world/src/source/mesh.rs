//! `MeshConfig` → [`MeshSettings`].

use mizzen_api::Duration;
use mizzen_api::istio::{
    AccessLogEncoding, InboundTrafficMode, MeshConfig, OutboundTrafficMode, PathNormalizationMode, TlsVersion,
};

use super::{retries, text};
use crate::mesh::{AccessLog, InboundPolicy, MeshSettings, OutboundPolicy, PathNormalization, TlsMinimum};
use crate::visibility::Visibility;

/// The settings that `config` asks for; defaults where it is silent, or where there is none.
pub(crate) fn mesh_settings(config: Option<&MeshConfig>) -> MeshSettings {
    let defaults = MeshSettings::default();
    let Some(config) = config else { return defaults };
    let outbound = config.outbound_traffic_policy.as_ref().and_then(|policy| policy.mode).unwrap_or_default();
    let normalization = config.path_normalization.as_ref().map(|path| path.normalization).unwrap_or_default();
    let inbound = config.inbound_traffic_policy.as_ref().map(|policy| policy.mode).unwrap_or_default();
    let tls = config.mesh_mtls.as_ref().map(|tls| tls.min_protocol_version).unwrap_or_default();
    MeshSettings {
        trust_domain: text(config.trust_domain.as_ref()).unwrap_or(defaults.trust_domain),
        trust_domain_aliases: config.trust_domain_aliases.iter().map(|alias| alias.as_str().into()).collect(),
        root_namespace: text(config.root_namespace.as_ref()).unwrap_or(defaults.root_namespace),
        access_log: text(config.access_log_file.as_ref()).map(|path| AccessLog {
            path,
            format: text(config.access_log_format.as_ref()),
            json: config.access_log_encoding == AccessLogEncoding::Json,
        }),
        outbound_policy: match outbound {
            OutboundTrafficMode::RegistryOnly => OutboundPolicy::RegistryOnly,
            OutboundTrafficMode::AllowAny | OutboundTrafficMode::AllowAnyDynamicDns => OutboundPolicy::AllowAny,
        },
        inbound_policy: match inbound {
            InboundTrafficMode::Passthrough => InboundPolicy::Passthrough,
            InboundTrafficMode::Localhost => InboundPolicy::Localhost,
        },
        auto_mtls: config.enable_auto_mtls.unwrap_or(true),
        connect_timeout: config.connect_timeout.map_or(defaults.connect_timeout, Duration::get),
        retries: config.default_http_retry_policy.as_ref().map(retries),
        path_normalization: match normalization {
            PathNormalizationMode::None => PathNormalization::None,
            PathNormalizationMode::Default | PathNormalizationMode::Base => PathNormalization::Base,
            PathNormalizationMode::MergeSlashes => PathNormalization::MergeSlashes,
            PathNormalizationMode::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
        },
        tls_minimum: if tls == TlsVersion::V1_3 { TlsMinimum::V1_3 } else { TlsMinimum::V1_2 },
        service_visibility: default_visibility(&config.default_service_export_to),
        route_visibility: default_visibility(&config.default_virtual_service_export_to),
        rule_visibility: default_visibility(&config.default_destination_rule_export_to),
        ..defaults
    }
}

/// A mesh-wide default keeps `.` as a namespace of that name; each object puts its own in its place.
fn default_visibility(entries: &[String]) -> Visibility {
    Visibility::from_entries(entries.iter().map(String::as_str), &".".into(), &Visibility::Public)
}
