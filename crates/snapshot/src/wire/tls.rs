//! TLS contexts: names of secrets, conditions on the peer, versions.
//!
//! Keys and trust come by name from the proxy's own agent (SDS); a context that brings its own is refused. Cipher and
//! curve lists are not read: the proxy offers strong ones only, post-quantum first.

use envoy_types::pb::envoy::{
    config::core::v3::{TransportSocket, transport_socket::ConfigType},
    extensions::transport_sockets::{
        raw_buffer::v3::RawBuffer,
        tls::v3::{
            CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig,
            SubjectAltNameMatcher, TlsParameters, UpstreamTlsContext, common_tls_context::ValidationContextType,
            subject_alt_name_matcher::SanType, tls_parameters::TlsProtocol,
        },
    },
    r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
};

use super::{At, Refused, Result, decode, each, is, is_true, named, refuse, required, type_name, unsupported};
use crate::listener::{ClientTls, SanMatch, ServerTls, TlsVersion, TlsVersions};

const RAW_BUFFER: &str = "envoy.transport_sockets.raw_buffer";

/// A listener's transport socket; `None` is plaintext.
pub(crate) fn server(wire: Option<&TransportSocket>) -> Result<Option<ServerTls>> {
    let Some(config) = context::<DownstreamTlsContext>(wire)? else { return Ok(None) };
    server_tls(&config).at("typed_config").map(Some)
}

/// A cluster's transport socket; `None` is plaintext.
pub(crate) fn client(wire: Option<&TransportSocket>) -> Result<Option<ClientTls>> {
    let Some(config) = context::<UpstreamTlsContext>(wire)? else { return Ok(None) };
    client_tls(&config).at("typed_config").map(Some)
}

fn context<T: prost::Message + prost::Name + Default>(wire: Option<&TransportSocket>) -> Result<Option<T>> {
    let Some(wire) = wire else { return Ok(None) };
    match &wire.config_type {
        None if wire.name == RAW_BUFFER => Ok(None),
        None => refuse(format!("expected {}", T::full_name())).at("typed_config"),
        Some(ConfigType::TypedConfig(config)) if is::<RawBuffer>(config) => Ok(None),
        Some(ConfigType::TypedConfig(config)) if is::<T>(config) => decode(&config.value).at("typed_config").map(Some),
        Some(ConfigType::TypedConfig(config)) => {
            refuse(format!("expected {}, found `{}`", T::full_name(), type_name(config))).at("typed_config")
        }
    }
}

fn server_tls(wire: &DownstreamTlsContext) -> Result<ServerTls> {
    unsupported(&[
        ("require_sni", is_true(wire.require_sni.as_ref())),
        ("ocsp_staple_policy", wire.ocsp_staple_policy != 0),
    ])?;
    let require_client_certificate = is_true(wire.require_client_certificate.as_ref());
    let common = required("common_tls_context", wire.common_tls_context.as_ref())?;
    let common = Common::from_wire(common).at("common_tls_context")?;
    if require_client_certificate && common.trust.is_none() {
        return refuse("is required, since client certificates are").at("common_tls_context.validation_context_type");
    }
    let certificate = common.certificate.ok_or_else(|| Refused::new("is required"));
    Ok(ServerTls {
        certificate: certificate.at("common_tls_context.tls_certificate_sds_secret_configs")?,
        trust: common.trust,
        require_client_certificate,
        peers: common.peers,
        alpn: common.alpn,
        versions: common.versions,
    })
}

fn client_tls(wire: &UpstreamTlsContext) -> Result<ClientTls> {
    unsupported(&[
        ("auto_host_sni", wire.auto_host_sni),
        ("auto_sni_san_validation", wire.auto_sni_san_validation),
        ("allow_renegotiation", wire.allow_renegotiation),
    ])?;
    let common = required("common_tls_context", wire.common_tls_context.as_ref())?;
    let common = Common::from_wire(common).at("common_tls_context")?;
    let trust = common.trust.ok_or_else(|| Refused::new("is required: nobody would be verified"));
    Ok(ClientTls {
        certificate: common.certificate,
        trust: trust.at("common_tls_context.validation_context_type")?,
        sni: (!wire.sni.is_empty()).then(|| wire.sni.as_str().into()),
        peers: common.peers,
        alpn: common.alpn,
        versions: common.versions,
    })
}

/// What both sides have.
struct Common {
    certificate: Option<Box<str>>,
    trust: Option<Box<str>>,
    peers: Vec<SanMatch>,
    alpn: Vec<Box<str>>,
    versions: TlsVersions,
}

impl Common {
    fn from_wire(wire: &CommonTlsContext) -> Result<Self> {
        unsupported(&[
            ("tls_certificates", !wire.tls_certificates.is_empty()),
            ("tls_certificate_provider_instance", wire.tls_certificate_provider_instance.is_some()),
            ("tls_certificate_certificate_provider", wire.tls_certificate_certificate_provider.is_some()),
            (
                "tls_certificate_certificate_provider_instance",
                wire.tls_certificate_certificate_provider_instance.is_some(),
            ),
            ("custom_tls_certificate_selector", wire.custom_tls_certificate_selector.is_some()),
            ("custom_handshaker", wire.custom_handshaker.is_some()),
            ("key_log", wire.key_log.is_some()),
        ])?;
        let certificate = match wire.tls_certificate_sds_secret_configs.as_slice() {
            [] => None,
            [one] => Some(secret(one).at_index("tls_certificate_sds_secret_configs", 0)?),
            _ => return refuse("expected at most one").at("tls_certificate_sds_secret_configs"),
        };
        let (trust, peers) = validation(wire.validation_context_type.as_ref())?;
        let alpn = wire.alpn_protocols.iter().map(|protocol| protocol.as_str().into()).collect();
        let versions = versions(wire.tls_params.as_ref()).at("tls_params")?;
        Ok(Self { certificate, trust, peers, alpn, versions })
    }
}

fn secret(wire: &SdsSecretConfig) -> Result<Box<str>> {
    named("name", &wire.name).map(Into::into)
}

fn validation(wire: Option<&ValidationContextType>) -> Result<(Option<Box<str>>, Vec<SanMatch>)> {
    match wire {
        None => Ok((None, Vec::new())),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => {
            Ok((Some(secret(config).at("validation_context_sds_secret_config")?), Vec::new()))
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            let config = required(
                "combined_validation_context.validation_context_sds_secret_config",
                combined.validation_context_sds_secret_config.as_ref(),
            )?;
            let context = combined.default_validation_context.as_ref();
            let peers = context.map_or_else(|| Ok(Vec::new()), peers);
            let peers = peers.at("default_validation_context").at("combined_validation_context")?;
            Ok((Some(secret(config).at("combined_validation_context.validation_context_sds_secret_config")?), peers))
        }
        Some(_) => {
            refuse("expected a secret by name: validation_context_sds_secret_config or combined_validation_context")
        }
    }
}

fn peers(wire: &CertificateValidationContext) -> Result<Vec<SanMatch>> {
    unsupported(&[
        ("trusted_ca", wire.trusted_ca.is_some()),
        ("ca_certificate_provider_instance", wire.ca_certificate_provider_instance.is_some()),
        ("system_root_certs", wire.system_root_certs.is_some()),
        ("verify_certificate_spki", !wire.verify_certificate_spki.is_empty()),
        ("verify_certificate_hash", !wire.verify_certificate_hash.is_empty()),
        ("require_signed_certificate_timestamp", is_true(wire.require_signed_certificate_timestamp.as_ref())),
        ("crl", wire.crl.is_some()),
        ("allow_expired_certificate", wire.allow_expired_certificate),
        ("trust_chain_verification", wire.trust_chain_verification != 0),
        ("custom_validator_config", wire.custom_validator_config.is_some()),
        ("max_verify_depth", wire.max_verify_depth.is_some()),
    ])?;
    let mut peers = each("match_typed_subject_alt_names", &wire.match_typed_subject_alt_names, typed_san)?;
    peers.extend(each("match_subject_alt_names", &wire.match_subject_alt_names, san)?);
    Ok(peers)
}

fn typed_san(wire: &SubjectAltNameMatcher) -> Result<SanMatch> {
    if wire.san_type != SanType::Uri as i32 {
        return refuse("expected URI").at("san_type");
    }
    san(required("matcher", wire.matcher.as_ref())?).at("matcher")
}

/// Conditions on URIs. The untyped form may mean other kinds of names to Envoy; here it never admits more.
fn san(wire: &StringMatcher) -> Result<SanMatch> {
    match &wire.match_pattern {
        Some(MatchPattern::Exact(value)) if !wire.ignore_case => Ok(SanMatch::Exact(value.as_str().into())),
        Some(MatchPattern::Prefix(value)) if !wire.ignore_case => Ok(SanMatch::Prefix(value.as_str().into())),
        _ => refuse("expected exact or prefix, with regard to case"),
    }
}

fn versions(wire: Option<&TlsParameters>) -> Result<TlsVersions> {
    let unset = TlsParameters::default();
    let wire = wire.unwrap_or(&unset);
    unsupported(&[("compliance_policies", !wire.compliance_policies.is_empty())])?;
    let min = version(wire.tls_minimum_protocol_version, TlsVersion::Tls12).at("tls_minimum_protocol_version")?;
    let max = version(wire.tls_maximum_protocol_version, TlsVersion::Tls13).at("tls_maximum_protocol_version")?;
    if min > max {
        return refuse("is less than the minimum").at("tls_maximum_protocol_version");
    }
    Ok(TlsVersions { min, max })
}

fn version(wire: i32, unset: TlsVersion) -> Result<TlsVersion> {
    match TlsProtocol::try_from(wire) {
        Ok(TlsProtocol::TlsAuto) => Ok(unset),
        Ok(TlsProtocol::TlSv12) => Ok(TlsVersion::Tls12),
        Ok(TlsProtocol::TlSv13) => Ok(TlsVersion::Tls13),
        Ok(TlsProtocol::TlSv10 | TlsProtocol::TlSv11) | Err(_) => refuse("expected TLSv1_2 or TLSv1_3"),
    }
}
