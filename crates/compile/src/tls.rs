//! TLS contexts: mutual TLS with the workload's own certificate, versions and curves always said.
//!
//! Between workloads it is TLS 1.3, post-quantum first (design §4.21). Envoy's own defaults would cap a client at 1.2.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{TransportSocket, transport_socket::ConfigType};
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::downstream_tls_context::SessionTicketKeysType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
    TlsParameters, UpstreamTlsContext,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use mizzen_world::mesh::{MeshSettings, TlsMinimum};
use prost::Name;

use crate::wire::build::{ads, any, bool_value, exact, prefix, u32_value};

/// Key exchanges, the preferred first.
const CURVES: [&str; 3] = ["X25519MLKEM768", "X25519", "P-256"];

/// The cipher suites of TLS 1.2 that Istio's servers accept.
const CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// What a client expects of the server's certificate.
#[derive(Clone, Debug)]
pub(crate) enum Peer<'a> {
    /// One of these, exactly.
    OneOf(Vec<&'a Arc<str>>),
    /// Anybody of these trust domains.
    Domains(Vec<&'a Arc<str>>),
}

/// Mutual TLS towards a workload of the mesh.
pub(crate) fn upstream(sni: String, peer: &Peer<'_>, alpn: &[&str]) -> TransportSocket {
    let versions = (TlsProtocol::TlSv13, TlsProtocol::TlSv13);
    let context = UpstreamTlsContext {
        common_tls_context: Some(common(peer, alpn, versions, Vec::new())),
        sni,
        max_session_keys: Some(u32_value(0)),
        ..UpstreamTlsContext::default()
    };
    socket("envoy.transport_sockets.tls", &context)
}

/// Mutual TLS from whoever has a certificate of the mesh.
pub(crate) fn downstream(mesh: &MeshSettings, alpn: &[&str]) -> TransportSocket {
    let (minimum, ciphers) = match mesh.tls_minimum {
        TlsMinimum::V1_2 => (TlsProtocol::TlSv12, CIPHERS.map(str::to_owned).to_vec()),
        TlsMinimum::V1_3 => (TlsProtocol::TlSv13, Vec::new()),
    };
    let peer = Peer::Domains(mesh.trust_domains().collect());
    let context = DownstreamTlsContext {
        common_tls_context: Some(common(&peer, alpn, (minimum, TlsProtocol::TlSv13), ciphers)),
        require_client_certificate: Some(bool_value(true)),
        // A resumed session would skip the check of a certificate that has expired or was revoked since.
        disable_stateful_session_resumption: true,
        session_ticket_keys_type: Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)),
        ..DownstreamTlsContext::default()
    };
    socket("envoy.transport_sockets.tls", &context)
}

/// No TLS, said explicitly.
pub(crate) fn plain() -> TransportSocket {
    socket("envoy.transport_sockets.raw_buffer", &RawBuffer {})
}

fn socket(name: &str, context: &impl Name) -> TransportSocket {
    TransportSocket { name: name.to_owned(), config_type: Some(ConfigType::TypedConfig(any(context))) }
}

fn common(
    peer: &Peer<'_>,
    alpn: &[&str],
    (minimum, maximum): (TlsProtocol, TlsProtocol),
    cipher_suites: Vec<String>,
) -> CommonTlsContext {
    let secret = |name: &str| SdsSecretConfig { name: name.to_owned(), sds_config: Some(ads()) };
    let matchers = match peer {
        Peer::OneOf(names) => names.iter().map(|name| uri(exact(name))).collect(),
        Peer::Domains(domains) => domains.iter().map(|domain| uri(prefix(&format!("spiffe://{domain}/")))).collect(),
    };
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: matchers,
            ..CertificateValidationContext::default()
        }),
        validation_context_sds_secret_config: Some(secret("ROOTCA")),
        ..CombinedCertificateValidationContext::default()
    };
    CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: minimum as i32,
            tls_maximum_protocol_version: maximum as i32,
            cipher_suites,
            ecdh_curves: CURVES.map(str::to_owned).to_vec(),
            ..TlsParameters::default()
        }),
        tls_certificate_sds_secret_configs: vec![secret("default")],
        alpn_protocols: alpn.iter().map(|&protocol| protocol.to_owned()).collect(),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..CommonTlsContext::default()
    }
}

fn uri(matcher: StringMatcher) -> SubjectAltNameMatcher {
    SubjectAltNameMatcher { san_type: SanType::Uri as i32, matcher: Some(matcher), oid: String::new() }
}
