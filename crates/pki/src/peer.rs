//! What a certificate says about its holder: identity, serial number, hash, names.
//!
//! In: DER from a handshake, already verified or not. Out: [`PeerCertificate`]. A certificate whose names could be
//! read in two ways (NUL, several URIs, text that is not ASCII) has no identity: it is an error.

use std::time::Duration;

use aws_lc_rs::digest;
use rustls_pki_types::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{OidRegistry, format_oid};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::authority::hex;
use crate::id::{IdError, SpiffeId};

/// A peer, as its certificate tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// `None` if the certificate has no URI.
    pub id: Option<SpiffeId>,
    pub dns_names: Vec<String>,
    /// RFC 2253, empty for workloads.
    pub subject: String,
    /// Hexadecimal, lower case.
    pub serial: String,
    /// SHA-256 of the DER, hexadecimal, lower case.
    pub hash: String,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
}

/// Why a certificate does not tell who its holder is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("the certificate cannot be read")]
    Malformed,
    #[error("a name in the certificate has characters that no name has")]
    BadName,
    #[error("the certificate has {0} URIs, and a SPIFFE certificate has one")]
    SeveralUris(usize),
    #[error("the certificate's URI is not a SPIFFE id")]
    Id(#[source] IdError),
}

impl PeerCertificate {
    pub fn from_der(der: &[u8]) -> Result<Self, PeerError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| PeerError::Malformed)?;
        if !rest.is_empty() {
            return Err(PeerError::Malformed);
        }
        let (uris, dns_names) = names(&certificate)?;
        let id = match uris.as_slice() {
            [] => None,
            [uri] => Some(uri.parse().map_err(PeerError::Id)?),
            several => return Err(PeerError::SeveralUris(several.len())),
        };
        let validity = certificate.validity();
        Ok(Self {
            id,
            dns_names,
            subject: rfc2253(certificate.subject()),
            serial: hex(certificate.raw_serial()),
            hash: hex(digest::digest(&digest::SHA256, der).as_ref()),
            not_before: unix(validity.not_before.timestamp()),
            not_after: unix(validity.not_after.timestamp()),
        })
    }
}

/// URIs and DNS names among the alternative names.
fn names(certificate: &X509Certificate<'_>) -> Result<(Vec<String>, Vec<String>), PeerError> {
    let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
    let san = certificate.subject_alternative_name().map_err(|_| PeerError::Malformed)?;
    for name in san.iter().flat_map(|san| &san.value.general_names) {
        let (list, text) = match name {
            GeneralName::URI(text) => (&mut uris, text),
            GeneralName::DNSName(text) => (&mut dns_names, text),
            GeneralName::Invalid(..) => return Err(PeerError::BadName),
            _ => continue,
        };
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(PeerError::BadName);
        }
        list.push((*text).to_owned());
    }
    Ok((uris, dns_names))
}

fn unix(timestamp: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(timestamp).unwrap_or(0)))
}

/// The subject as Envoy writes it into `x-forwarded-client-cert` (RFC 2253: last attribute first).
fn rfc2253(name: &X509Name<'_>) -> String {
    let registry = OidRegistry::default().with_x509();
    let attributes = name.iter_attributes().map(|attribute| {
        let oid = attribute.attr_type();
        let key = registry.get(oid).map_or_else(|| format_oid(oid, &registry), |entry| abbreviation(entry.sn()));
        let value = attribute.as_str().map_or_else(|_| format!("#{}", hex(attribute.as_slice())), escape);
        format!("{key}={value}")
    });
    let mut attributes: Vec<String> = attributes.collect();
    attributes.reverse();
    attributes.join(",")
}

/// RFC 2253 §2.3's short names.
fn abbreviation(name: &str) -> String {
    let short = match name {
        "commonName" => "CN",
        "organizationName" => "O",
        "organizationalUnit" | "organizationalUnitName" => "OU",
        "countryName" => "C",
        "localityName" => "L",
        "stateOrProvinceName" => "ST",
        other => other,
    };
    short.to_owned()
}

/// RFC 2253 §2.4; characters that end a header or its element become a question mark.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
