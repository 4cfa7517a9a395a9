//! The authority's files: a root made at the first start, or one that was put there.
//!
//! In the state directory, created 0600: `ca-cert.pem`, `ca-key.pem`, `token.key`. A directory with a plugged-in
//! authority has Istio's four files (`cacerts`): `ca-cert.pem`, `ca-key.pem`, `cert-chain.pem`, `root-cert.pem`; an
//! incomplete set is an error, never a reason to make an own root.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::authority::{Authority, IssueError, NewRoot, Parts};
use crate::svid::read_pem;
use crate::token::{KEY_BYTES, TokenKey};

const CERTIFICATE: &str = "ca-cert.pem";
const KEY: &str = "ca-key.pem";
const CHAIN: &str = "cert-chain.pem";
const ROOT: &str = "root-cert.pem";
const TOKEN_KEY: &str = "token.key";

/// Why an authority cannot be had from a directory.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: no certificate or key can be read", path.display())]
    NotPem { path: PathBuf },
    #[error("{} can be read by others: mode {mode:o}, expected 600", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{}: is not an authority's certificate", path.display())]
    NotAuthority { path: PathBuf },
    #[error("{}: the key does not fit the certificate", path.display())]
    OtherKey { path: PathBuf },
    #[error("{}: has expired, or is not valid yet", path.display())]
    Expired { path: PathBuf },
    #[error("{}: a root cannot be used", path.display())]
    Root { path: PathBuf, source: rustls::Error },
    #[error("{}: expected {KEY_BYTES} bytes", path.display())]
    TokenKey { path: PathBuf },
    #[error("no randomness for a key")]
    Randomness,
    #[error("could not make a root")]
    Make(#[from] IssueError),
}

/// The self-signed authority of a state directory, made if there is none.
pub fn load_or_create(state: &Path, trust_domain: &str, now: UnixTime) -> Result<Authority, StoreError> {
    let (certificate, key) = (state.join(CERTIFICATE), state.join(KEY));
    if !certificate.exists() {
        let root = NewRoot::generate(trust_domain, now)?;
        // The key first: a certificate without its key would stop every later start.
        write_secret(&key, root.key_pem.as_bytes())?;
        write_secret(&certificate, root.certificate_pem.as_bytes())?;
    }
    check_mode(&key)?;
    let own = read_certificates(&certificate)?;
    let root = own.first().cloned().ok_or_else(|| StoreError::NotPem { path: certificate.clone() })?;
    let parts = Parts { certificate: root, key: read_key(&key)?, intermediates: Vec::new(), roots: own };
    assemble(parts, &certificate, now)
}

/// The authority that somebody put into a directory.
pub fn load_plugged(dir: &Path, now: UnixTime) -> Result<Authority, StoreError> {
    let certificate = dir.join(CERTIFICATE);
    let own = read_certificates(&certificate)?;
    let own = own.into_iter().next().ok_or_else(|| StoreError::NotPem { path: certificate.clone() })?;
    let roots = read_certificates(&dir.join(ROOT))?;
    let mut intermediates = read_certificates(&dir.join(CHAIN))?;
    if roots.contains(&own) {
        intermediates.clear();
    } else if !intermediates.contains(&own) {
        intermediates.insert(0, own.clone());
    }
    let parts = Parts { certificate: own, key: read_key(&dir.join(KEY))?, intermediates, roots };
    assemble(parts, &certificate, now)
}

/// The key for bootstrap tokens, made if there is none.
pub fn load_or_create_token_key(state: &Path) -> Result<TokenKey, StoreError> {
    let path = state.join(TOKEN_KEY);
    if !path.exists() {
        write_secret(&path, &TokenKey::generate().ok_or(StoreError::Randomness)?)?;
    }
    check_mode(&path)?;
    let bytes = fs::read(&path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
    let key = bytes.as_slice().try_into().map_err(|_| StoreError::TokenKey { path })?;
    Ok(TokenKey::new(key))
}

fn assemble(parts: Parts, path: &Path, now: UnixTime) -> Result<Authority, StoreError> {
    let path = path.to_owned();
    let der = parts.certificate.clone();
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
        return Err(StoreError::NotPem { path });
    };
    let may_sign = certificate.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    if !certificate.is_ca() || !may_sign {
        return Err(StoreError::NotAuthority { path });
    }
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if !(validity.not_before.timestamp()..validity.not_after.timestamp()).contains(&seconds) {
        return Err(StoreError::Expired { path });
    }
    let mut roots = RootCertStore::empty();
    for root in &parts.roots {
        roots.add(root.clone()).map_err(|source| StoreError::Root { path: path.clone(), source })?;
    }
    let authority = Authority::from_parts(parts)?;
    if certificate.public_key().subject_public_key.data.as_ref() != authority.public_key() {
        return Err(StoreError::OtherKey { path });
    }
    Ok(authority)
}

fn read(path: &Path) -> Result<String, StoreError> {
    fs::read_to_string(path).map_err(|source| StoreError::Io { path: path.to_owned(), source })
}

fn read_certificates(path: &Path) -> Result<Vec<rustls_pki_types::CertificateDer<'static>>, StoreError> {
    read_pem(&read(path)?).ok_or_else(|| StoreError::NotPem { path: path.to_owned() })
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, StoreError> {
    PrivateKeyDer::from_pem_slice(read(path)?.as_bytes()).map_err(|_| StoreError::NotPem { path: path.to_owned() })
}

/// A key of ours that others can read is one that others may have read.
fn check_mode(path: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StoreError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Writes a file that nobody else can read, whole or not at all.
fn write_secret(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| StoreError::Io { path: path.to_owned(), source })
}
