//! TLS as a foreign peer sees it: the probe tells what a server's handshake showed, the echo what a client's did.
//!
//! Nothing is verified here on purpose: the tests are about what the *mesh* accepts, and they compare what is told.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use rustls::{
    ClientConfig, CommonState, ServerConfig,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

use crate::{connect::millis, escape, output, raw};

mod anyone;

/// Options of a server that may speak TLS.
#[derive(clap::Args)]
pub(crate) struct ServerOptions {
    /// Certificate chain, PEM; makes the server speak TLS.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// Protocols to choose from, best first; repeatable.
    #[arg(long)]
    alpn: Vec<String>,
}

/// Options of `tls-probe`.
#[derive(clap::Args)]
pub(crate) struct ProbeOptions {
    /// `HOST:PORT`
    #[arg(long)]
    connect: String,
    /// Our certificate chain, PEM; none is shown without it.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// The name asked for; the host unless given.
    #[arg(long)]
    sni: Option<String>,
    /// Protocols to offer, best first; repeatable.
    #[arg(long)]
    alpn: Vec<String>,
    /// Key exchange groups to offer by IANA name, best first; all unless given.
    #[arg(long)]
    group: Vec<String>,
    /// Offer TLS 1.2 only.
    #[arg(long)]
    tls12: bool,
    /// What to send after the handshake, with escapes.
    #[arg(long, default_value = "")]
    send: String,
    /// Stop reading once this, with escapes, was received.
    #[arg(long)]
    until: Option<String>,
    /// How long the handshake, and then reading, may take.
    #[arg(long = "timeout-ms", default_value = "5000", value_parser = millis)]
    timeout: Duration,
}

impl ServerOptions {
    /// The acceptor, if there is a certificate. It asks clients for theirs and takes any, or none.
    pub(crate) fn acceptor(&self) -> anyhow::Result<Option<TlsAcceptor>> {
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else { return Ok(None) };
        let (chain, key) = identity(cert, key)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(anyone::Anyone(provider)))
            .with_single_cert(chain, key)?;
        config.alpn_protocols = protocols(&self.alpn);
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }
}

/// Connects, shakes hands, tells; good if the handshake was, and nothing broke while reading.
pub(crate) async fn probe(options: ProbeOptions) -> anyhow::Result<bool> {
    let connector = TlsConnector::from(Arc::new(client_config(&options)?));
    let host = options.connect.rsplit_once(':').map_or(&*options.connect, |(host, _)| host);
    let name = ServerName::try_from(options.sni.clone().unwrap_or_else(|| host.to_owned()))?;
    let socket = TcpStream::connect(&options.connect).await.context("cannot connect")?;
    let stream = match timeout(options.timeout, connector.connect(name, socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Ok(refused(&error.to_string())),
        Err(_) => return Ok(refused("took too long")),
    };
    let mut told = describe(stream.get_ref().1);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut received = Vec::new();
    let until = options.until.as_deref().map(escape::parse).transpose()?;
    // A server that refuses our certificate says so after its handshake is done (TLS 1.3): what is read tells.
    let sent = writer.write_all(&escape::parse(&options.send)?).await.is_ok();
    let end = tokio::select! {
        end = raw::read(&mut reader, &mut received, until.as_deref()) => end,
        () = sleep(options.timeout) => "timeout",
    };
    told["handshake"] = true.into();
    told["sent"] = sent.into();
    told["received"] = escape::show(&received).into();
    told["end"] = end.into();
    output::line(&told);
    Ok(end != "reset")
}

fn refused(why: &str) -> bool {
    output::line(&json!({"handshake": false, "error": why}));
    false
}

fn client_config(options: &ProbeOptions) -> anyhow::Result<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    if !options.group.is_empty() {
        provider.kx_groups = options.group.iter().map(|name| group(&provider, name)).collect::<Result<_, _>>()?;
    }
    let provider = Arc::new(provider);
    let versions = if options.tls12 { &[&rustls::version::TLS12][..] } else { rustls::DEFAULT_VERSIONS };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(anyone::Anyone(provider)));
    let mut config = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => {
            let (chain, key) = identity(cert, key)?;
            builder.with_client_auth_cert(chain, key)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols(&options.alpn);
    Ok(config)
}

fn group(provider: &CryptoProvider, name: &str) -> anyhow::Result<&'static dyn SupportedKxGroup> {
    let known = || provider.kx_groups.iter().chain(aws_lc_rs::ALL_KX_GROUPS);
    match known().find(|group| group_name(**group).eq_ignore_ascii_case(name)) {
        Some(group) => Ok(*group),
        None => bail!("unknown group {name}"),
    }
}

fn group_name(group: &dyn SupportedKxGroup) -> String {
    format!("{:?}", group.name())
}

fn identity(cert: &PathBuf, key: &PathBuf) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect).with_context(|| cert.display().to_string())?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| key.display().to_string())?;
    Ok((chain, key))
}

fn protocols(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// What a finished handshake showed.
pub(crate) fn describe(connection: &CommonState) -> Value {
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    json!({
        "version": shown(connection.protocol_version()),
        "cipher": connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())),
        "group": connection.negotiated_key_exchange_group().map(group_name),
        "alpn": connection.alpn_protocol().map(escape::show),
        "peer": leaf.map(certificate),
    })
}

fn shown(value: Option<impl fmt::Debug>) -> Option<String> {
    value.map(|value| format!("{value:?}"))
}

/// Serial, names and dates of a certificate.
fn certificate(der: &CertificateDer<'_>) -> Value {
    let Ok((_, certificate)) = x509_parser::certificate::X509Certificate::from_der(der) else {
        return json!({"error": "not a certificate"});
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let uris: Vec<_> =
        names.filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect();
    json!({
        "serial": escape::hex(certificate.raw_serial()),
        "subject": certificate.subject().to_string(),
        "issuer": certificate.issuer().to_string(),
        "uris": uris,
        "not_before_unix": certificate.validity().not_before.timestamp(),
        "not_after_unix": certificate.validity().not_after.timestamp(),
    })
}
