//! The certificate authority: a self-signed root or a given intermediate, and what it is willing to sign.
//!
//! In: signing requests from callers whose identity is known. Out: certificates that say this identity and nothing
//! that the caller wished. Limits and shape: Istio's authority (its `security/pkg/pki`), as its users expect them.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber, date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::id::{IdError, SpiffeId};
use crate::peer::PeerCertificate;
use crate::svid::{Svid, SvidError};

/// Life of a self-signed root.
pub const ROOT_TTL: Duration = Duration::from_hours(10 * 365 * 24);
/// Certificates are valid from this long before they are made, for peers whose clocks are behind.
pub const BACKDATE: Duration = Duration::from_mins(2);
/// Life of a workload's certificate when nobody says otherwise, and the longest one may ask for.
pub const DEFAULT_TTL: Duration = Duration::from_hours(24);
pub const MAX_TTL: Duration = Duration::from_hours(90 * 24);

/// Largest signing request in bytes.
const CSR_BYTES_MAX: usize = 16 << 10;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a request was not signed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the signing request is larger than {CSR_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the signing request cannot be read, or its signature is wrong")]
    Malformed(#[source] rcgen::Error),
    #[error("the signing request is not PEM")]
    NotPem,
    #[error("the key is RSA of {bits} bits, which is not in {RSA_BITS:?}")]
    KeySize { bits: usize },
    #[error("the signing request asks for {asked}, the caller is {caller}")]
    OtherIdentity { asked: String, caller: SpiffeId },
    #[error("{} s is longer than the {} s allowed", asked.as_secs(), max.as_secs())]
    TtlTooLong { asked: Duration, max: Duration },
    #[error("the authority's own certificate has expired")]
    AuthorityExpired,
    #[error("signing failed")]
    Signing(#[source] rcgen::Error),
    #[error("no randomness for a serial number")]
    Randomness,
    #[error("the certificate for the server itself is not usable")]
    Server(#[source] SvidError),
    #[error("the trust domain cannot stand in an identity")]
    BadName(#[source] IdError),
}

/// A certificate as it is handed out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// PEM, one certificate each: leaf, then intermediates.
    pub chain: Vec<String>,
    /// PEM, all roots in one text.
    pub roots: String,
    pub serial: String,
    pub not_after: UnixTime,
}

impl Issued {
    /// As `istio.v1.auth` wants it: the last element is the root bundle.
    pub fn into_wire(self) -> Vec<String> {
        self.chain.into_iter().chain([self.roots]).collect()
    }
}

/// A signing key with its certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The authority's own certificate and further intermediates, if it is not a root itself.
    intermediates: Vec<CertificateDer<'static>>,
    roots: Vec<CertificateDer<'static>>,
    not_after: UnixTime,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// A root and its key, to be stored.
pub struct NewRoot {
    pub certificate_pem: String,
    pub key_pem: String,
}

impl NewRoot {
    /// Makes a self-signed root, ECDSA P-256, valid for [`ROOT_TTL`].
    pub fn generate(trust_domain: &str, now: UnixTime) -> Result<Self, IssueError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IssueError::Signing)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, trust_domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial()?);
        params.not_before = date_time_ymd(1970, 1, 1) + since_epoch(before(now, BACKDATE));
        params.not_after = date_time_ymd(1970, 1, 1) + since_epoch(after(now, ROOT_TTL));
        let certificate = params.self_signed(&key).map_err(IssueError::Signing)?;
        Ok(Self { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

/// The parts of an authority that was made elsewhere.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) intermediates: Vec<CertificateDer<'static>>,
    pub(crate) roots: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// Puts an authority together. Whether the parts fit is for [`store`](crate::store) to check.
    pub(crate) fn from_parts(parts: Parts) -> Result<Self, IssueError> {
        let own = PeerCertificate::from_der(&parts.certificate);
        let not_after = own.map_or(UnixTime::since_unix_epoch(Duration::ZERO), |own| own.not_after);
        let key = KeyPair::try_from(&parts.key).map_err(IssueError::Malformed)?;
        let issuer = Issuer::from_ca_cert_der(&parts.certificate, key).map_err(IssueError::Malformed)?;
        Ok(Self { issuer, intermediates: parts.intermediates, roots: parts.roots, not_after })
    }

    /// The authority's public key as it stands in its certificate.
    pub(crate) fn public_key(&self) -> &[u8] {
        self.issuer.key().der_bytes()
    }

    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// All roots, PEM.
    pub fn roots_pem(&self) -> String {
        self.roots.iter().map(|root| pem(root)).collect()
    }

    /// When the authority's own certificate ends; nothing it signs lives longer.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Signs a request (PEM) of a caller who has proven to be `caller`.
    ///
    /// The certificate says `caller` whatever the request says; a request that names anyone else is refused.
    /// `ttl` `None` is [`DEFAULT_TTL`]; the life ends with the authority's own at the latest.
    pub fn issue(
        &self,
        csr: &str,
        caller: &SpiffeId,
        ttl: Option<Duration>,
        now: UnixTime,
    ) -> Result<Issued, IssueError> {
        let ttl = ttl.unwrap_or(DEFAULT_TTL);
        if ttl > MAX_TTL {
            return Err(IssueError::TtlTooLong { asked: ttl, max: MAX_TTL });
        }
        if csr.len() > CSR_BYTES_MAX {
            return Err(IssueError::TooLarge);
        }
        let der = CertificateSigningRequestDer::from_pem_slice(csr.as_bytes()).map_err(|_| IssueError::NotPem)?;
        check_key(&der)?;
        let request = CertificateSigningRequestParams::from_der(&der).map_err(IssueError::Malformed)?;
        check_names(&request.params.subject_alt_names, caller)?;
        let uri = Ia5String::try_from(caller.as_str()).map_err(IssueError::Signing)?;
        self.sign(vec![SanType::URI(uri)], &request.public_key, ttl, now)
    }

    /// A key and certificate for the control plane itself, with these DNS names and this identity.
    pub fn issue_server(
        &self,
        dns_names: &[&str],
        id: &SpiffeId,
        ttl: Duration,
        now: UnixTime,
    ) -> Result<Svid, IssueError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IssueError::Signing)?;
        let ia5 = |text: &str| Ia5String::try_from(text).map_err(IssueError::Signing);
        let mut names = vec![SanType::URI(ia5(id.as_str())?)];
        for name in dns_names {
            names.push(SanType::DnsName(ia5(name)?));
        }
        let issued = self.sign(names, &key, ttl, now)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Svid::assemble(key, &issued.into_wire(), now).map_err(IssueError::Server)
    }

    fn sign(
        &self,
        names: Vec<SanType>,
        key: &impl PublicKeyData,
        ttl: Duration,
        now: UnixTime,
    ) -> Result<Issued, IssueError> {
        if now >= self.not_after {
            return Err(IssueError::AuthorityExpired);
        }
        let not_after = after(now, ttl).min(self.not_after);
        let serial = serial()?;
        let mut params = CertificateParams::default();
        // An empty subject makes the alternative name critical (RFC 5280 §4.1.2.6), as SPIFFE has it.
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial.clone());
        params.not_before = date_time_ymd(1970, 1, 1) + since_epoch(before(now, BACKDATE));
        params.not_after = date_time_ymd(1970, 1, 1) + since_epoch(not_after);
        let leaf = params.signed_by(key, &self.issuer).map_err(IssueError::Signing)?;
        let chain = std::iter::once(leaf.pem()).chain(self.intermediates.iter().map(|der| pem(der)));
        Ok(Issued { chain: chain.collect(), roots: self.roots_pem(), serial: hex(&serial.to_bytes()), not_after })
    }
}

fn check_key(csr: &CertificateSigningRequestDer<'_>) -> Result<(), IssueError> {
    let malformed = IssueError::Malformed(rcgen::Error::CouldNotParseCertificationRequest);
    let Ok((rest, csr)) = X509CertificationRequest::from_der(csr) else { return Err(malformed) };
    match csr.certification_request_info.subject_pki.parsed() {
        _ if !rest.is_empty() => Err(malformed),
        Ok(PublicKey::RSA(key)) if !RSA_BITS.contains(&key.key_size()) => {
            Err(IssueError::KeySize { bits: key.key_size() })
        }
        Ok(_) => Ok(()),
        Err(_) => Err(malformed),
    }
}

/// A request may name nobody, or the caller.
fn check_names(names: &[SanType], caller: &SpiffeId) -> Result<(), IssueError> {
    let other = names.iter().find(|name| !matches!(name, SanType::URI(uri) if uri.as_str() == caller.as_str()));
    match other {
        None => Ok(()),
        Some(SanType::URI(uri)) => {
            Err(IssueError::OtherIdentity { asked: uri.as_str().to_owned(), caller: caller.clone() })
        }
        Some(other) => Err(IssueError::OtherIdentity { asked: format!("{other:?}"), caller: caller.clone() }),
    }
}

/// 127 random bits, positive (RFC 5280 §4.1.2.2).
fn serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| IssueError::Randomness)?;
    // The first byte is neither zero, which DER would drop, nor has the sign bit.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn since_epoch(time: UnixTime) -> Duration {
    Duration::from_secs(time.as_secs())
}

fn before(time: UnixTime, span: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(time.as_secs().saturating_sub(span.as_secs())))
}

fn after(time: UnixTime, span: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(time.as_secs().saturating_add(span.as_secs())))
}

pub(crate) fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|&b| char::from(b)));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|&b| [b >> 4, b & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
