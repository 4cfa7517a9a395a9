//! `MeshConfig`. Paths are those within the setting itself.

use super::{at_least_1ms, hosts, http_route, namespace, port, timeout};
use crate::{
    istio::{MeshConfig, ProxyConfig, TlsVersion},
    problem::{At, Problems},
};

pub(crate) fn mesh_config(config: &MeshConfig, problems: &Problems) {
    let root = At::root(problems);
    let domains = config.trust_domain.iter().map(|domain| (root.field("trustDomain"), domain));
    let at = root.field("trustDomainAliases");
    let aliases = config.trust_domain_aliases.iter().enumerate().map(|(index, domain)| (at.index(index), domain));
    for (at, domain) in domains.chain(aliases) {
        trust_domain(&at, domain);
    }
    if let Some(name) = &config.root_namespace {
        namespace(&root.field("rootNamespace"), name);
    }
    at_least_1ms(&root.field("connectTimeout"), config.connect_timeout);
    timeout(&root.field("protocolDetectionTimeout"), config.protocol_detection_timeout);
    at_least_1ms(&root.field("dnsRefreshRate"), config.dns_refresh_rate);
    if let Some(policy) = &config.default_http_retry_policy {
        http_route::retries(&root.field("defaultHttpRetryPolicy"), policy);
    }
    for (name, tls) in [("meshMTLS", &config.mesh_mtls), ("tlsDefaults", &config.tls_defaults)] {
        if tls.as_ref().is_some_and(|tls| matches!(tls.min_protocol_version, TlsVersion::V1_0 | TlsVersion::V1_1)) {
            root.field(name).field("minProtocolVersion").error("TLS below 1.2 is not supported", "TLSV1_2");
        }
    }
    for (name, number) in
        [("proxyListenPort", config.proxy_listen_port), ("proxyInboundListenPort", config.proxy_inbound_listen_port)]
    {
        if let Some(number) = number {
            port(&root.field(name), number);
        }
    }
    hosts::export_to(&root.field("defaultServiceExportTo"), &config.default_service_export_to, true);
    hosts::export_to(&root.field("defaultVirtualServiceExportTo"), &config.default_virtual_service_export_to, false);
    hosts::export_to(&root.field("defaultDestinationRuleExportTo"), &config.default_destination_rule_export_to, false);
    if let Some(proxy) = &config.default_config {
        proxy_config(&root.field("defaultConfig"), proxy);
    }
}

/// A SPIFFE trust domain: lower-case letters, digits, `.`, `-`, `_` (SPIFFE-ID, section 2.1).
fn trust_domain(at: &At<'_>, domain: &str) {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    if domain.is_empty() || domain.len() > 255 || !domain.bytes().all(allowed) {
        at.error(
            format!("expected a trust domain (lower-case letters, digits, `.`, `-`, `_`), found {domain:?}"),
            "cluster.local",
        );
    }
}

fn proxy_config(at: &At<'_>, config: &ProxyConfig) {
    for (name, number) in [("proxyAdminPort", config.proxy_admin_port), ("statusPort", config.status_port)] {
        if let Some(number) = number {
            port(&at.field(name), number);
        }
    }
}
