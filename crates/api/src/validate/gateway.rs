//! `Gateway`.

use std::net::IpAddr;

use super::{at_most_one, duplicate, hosts, is_dns_label, labels, port};
use crate::{
    istio::{Gateway, Server, ServerTls, ServerTlsMode, TlsVersion},
    node::nearest,
    problem::At,
};

/// Protocols of a gateway's port.
const PROTOCOLS: &[&str] = &["HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS"];
/// Most certificates of a server: one RSA, one ECDSA.
const CERTIFICATES_MAX: usize = 2;

pub(super) fn check(at: &At<'_>, gateway: &Gateway) {
    labels(&at.field("selector"), &gateway.selector);
    if gateway.selector.is_empty() {
        at.field("selector").warn("without a selector the gateway is for every workload", "{istio: ingressgateway}");
    }
    let servers = at.field("servers");
    if gateway.servers.is_empty() {
        servers.error(
            "at least one server is required",
            "[{port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}]",
        );
    }
    for (index, entry) in gateway.servers.iter().enumerate() {
        server(&servers.index(index), entry);
    }
    if let Some((index, name)) = duplicate(gateway.servers.iter().map(|server| &server.port.name)) {
        servers.index(index).field("port").field("name").error(format!("the port name {name:?} stands here twice"), "");
    }
}

fn server(at: &At<'_>, server: &Server) {
    let field = at.field("port");
    port(&field.field("number"), server.port.number);
    if server.port.name.is_empty() {
        field.field("name").error("a port of a gateway needs a name", "http");
    }
    let protocol = server.port.protocol.to_ascii_uppercase();
    if !PROTOCOLS.contains(&protocol.as_str()) {
        let hint = nearest(&protocol, PROTOCOLS).unwrap_or("HTTP");
        field
            .field("protocol")
            .error(format!("expected one of {}, found {:?}", PROTOCOLS.join(", "), server.port.protocol), hint);
    }
    if server.port.target_port.is_some() {
        field.field("targetPort").warn("is deprecated and has no effect", "");
    }
    if let Some(bind) = server.bind.as_deref().filter(|bind| !bind.is_empty())
        && !bind.starts_with("unix://")
        && bind.parse::<IpAddr>().is_err()
    {
        at.field("bind").error(format!("expected an IP address or `unix://` and a path, found {bind:?}"), "0.0.0.0");
    }
    server_hosts(&at.field("hosts"), &server.hosts);
    match (&server.tls, protocol.as_str()) {
        (None, "HTTPS" | "TLS") => {
            at.field("tls").error(format!("{protocol} needs `tls`"), "{mode: SIMPLE, credentialName: public-cert}");
        }
        (None, _) => {}
        (Some(settings), "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" | "TCP" | "MONGO") => {
            let redirect_only = ServerTls { https_redirect: true, ..ServerTls::default() };
            if *settings != redirect_only && *settings != ServerTls::default() && protocol.starts_with("HTTP") {
                at.field("tls").error(
                    format!("a port with protocol {protocol} ends no TLS: only `httpsRedirect`"),
                    "protocol: HTTPS",
                );
            }
        }
        (Some(settings), _) => tls(&at.field("tls"), settings),
    }
}

/// `[NS/]DNS`, the namespace `.` or `*` too.
fn server_hosts(at: &At<'_>, names: &[String]) {
    if names.is_empty() {
        at.error("at least one host is required", "[\"*\"]");
    }
    for (index, name) in names.iter().enumerate() {
        let at = at.index(index);
        let host = match name.split_once('/') {
            Some((namespace, host)) => {
                if !matches!(namespace, "." | "*") && !is_dns_label(namespace) {
                    at.error(
                        format!("expected NAMESPACE/HOST, `./HOST` or `*/HOST`, found {name:?}"),
                        "./shop.example.com",
                    );
                }
                host
            }
            None => name,
        };
        hosts::host(&at, host);
    }
}

fn tls(at: &At<'_>, settings: &ServerTls) {
    let files = settings.server_certificate.is_some() || settings.private_key.is_some();
    let sources = [
        ("credentialName", settings.credential_name.is_some()),
        ("credentialNames", !settings.credential_names.is_empty()),
        ("tlsCertificates", !settings.tls_certificates.is_empty()),
        ("serverCertificate", files),
    ];
    at_most_one(at, &sources);
    for (name, count) in
        [("credentialNames", settings.credential_names.len()), ("tlsCertificates", settings.tls_certificates.len())]
    {
        if count > CERTIFICATES_MAX {
            at.field(name).error(format!("at most {CERTIFICATES_MAX}: one RSA, one ECDSA"), "");
        }
    }
    let certified = sources.iter().any(|(_, set)| *set);
    match settings.mode {
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual if !certified => {
            at.error(
                "a certificate is required: `credentialName`, or `serverCertificate` and `privateKey`",
                "credentialName: public-cert",
            );
        }
        ServerTlsMode::IstioMutual if certified => {
            at.error("ISTIO_MUTUAL uses the mesh's own certificates", "mode: ISTIO_MUTUAL");
        }
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
            if files && settings.ca_certificates.is_none() && settings.ca_cert_credential_name.is_none() =>
        {
            at.field("caCertificates").error("is required to verify clients", "/etc/certs/ca.pem");
        }
        _ => {}
    }
    if files && (settings.server_certificate.is_none() || settings.private_key.is_none()) {
        at.error("`serverCertificate` and `privateKey` go together", "");
    }
    let (min, max) = (settings.min_protocol_version, settings.max_protocol_version);
    if min != TlsVersion::Auto && max != TlsVersion::Auto && min > max {
        at.field("minProtocolVersion").error("is above `maxProtocolVersion`", "TLSV1_2");
    }
}
