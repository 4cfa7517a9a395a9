//! What the authority signs, what it refuses, and where it keeps its key.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use common::{Dir, NOW, at, authority, id, svid};
use mizzen_pki::store::{self, StoreError};
use mizzen_pki::{IssueError, KeyAndCsr, PeerCertificate, Svid};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

fn csr(names: &[SanType]) -> String {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names.to_vec();
    params.serialize_request(&key).and_then(|request| request.pem()).expect("a request")
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

#[test]
fn shape_of_a_certificate() {
    let dir = Dir::new("shape");
    let authority = authority(&dir);
    let svid = svid(&authority, "a", 3600);
    let peer = PeerCertificate::from_der(&svid.chain[0]).expect("readable");
    assert_eq!(peer.id, Some(id("a")));
    assert_eq!((peer.subject.as_str(), peer.dns_names.len()), ("", 0));
    assert_eq!((peer.not_before, peer.not_after), (at(NOW - 120), at(NOW + 3600)));
    assert_eq!((peer.serial.len(), peer.hash.len()), (32, 64));
    assert_eq!(svid.renew_at(0.0), at(NOW + 1800));
    let (_, leaf) = X509Certificate::from_der(&svid.chain[0]).expect("readable");
    let san = leaf.subject_alternative_name().expect("one").expect("present");
    assert!(san.critical && !leaf.is_ca());
    let usage = leaf.key_usage().expect("one").expect("present").value;
    assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
    let purposes = leaf.extended_key_usage().expect("one").expect("present").value;
    assert!(purposes.server_auth && purposes.client_auth && !purposes.any);
}

#[test]
fn serial_numbers_differ_and_life_ends_with_the_authority() {
    let dir = Dir::new("serials");
    let authority = authority(&dir);
    assert_ne!(svid(&authority, "a", 60).serial, svid(&authority, "a", 60).serial);
    let late = at(authority.not_after().as_secs() - 100);
    let issued = authority.issue(&csr(&[]), &id("a"), None, late).expect("signed");
    assert_eq!(issued.not_after, authority.not_after());
    let error = authority.issue(&csr(&[]), &id("a"), None, authority.not_after());
    assert!(matches!(error, Err(IssueError::AuthorityExpired)), "{error:?}");
}

#[test]
fn requests_for_others_are_refused() {
    let dir = Dir::new("others");
    let authority = authority(&dir);
    let own = || uri("spiffe://td/ns/ns/sa/a");
    let dns = || SanType::DnsName("a.example".try_into().expect("ASCII"));
    let accepted = [vec![], vec![own()], vec![own(), own()]];
    for names in accepted {
        let issued = authority.issue(&csr(&names), &id("a"), None, at(NOW)).expect("signed");
        let leaf = mizzen_pki::svid::read_pem(&issued.chain[0]).expect("PEM");
        assert_eq!(PeerCertificate::from_der(&leaf[0]).expect("readable").id, Some(id("a")));
    }
    let refused = [
        vec![uri("spiffe://td/ns/ns/sa/b")],
        vec![own(), uri("spiffe://td/ns/ns/sa/b")],
        vec![uri("spiffe://td/ns/ns/sa/a/")],
        vec![uri("SPIFFE://td/ns/ns/sa/a")],
        vec![dns()],
        vec![own(), dns()],
        vec![SanType::IpAddress([127, 0, 0, 1].into())],
    ];
    for names in refused {
        let error = authority.issue(&csr(&names), &id("a"), None, at(NOW));
        assert!(matches!(error, Err(IssueError::OtherIdentity { .. })), "{names:?}: {error:?}");
    }
}

#[test]
fn broken_requests_are_refused() {
    let dir = Dir::new("broken");
    let authority = authority(&dir);
    let issue = |csr: &str, ttl| authority.issue(csr, &id("a"), ttl, at(NOW));
    assert!(matches!(issue("", None), Err(IssueError::NotPem)));
    assert!(matches!(issue(&"x".repeat(20_000), None), Err(IssueError::TooLarge)));
    let year = Some(Duration::from_hours(365 * 24));
    assert!(matches!(issue(&csr(&[]), year), Err(IssueError::TtlTooLong { .. })));
    let request = KeyAndCsr::generate(&id("a")).expect("a request").csr;
    let body: Vec<&str> = request.lines().collect();
    // Every single-character change of the base64 text breaks the signature or the structure.
    for line in 1..body.len() - 1 {
        let mut lines: Vec<String> = body.iter().map(|line| (*line).to_owned()).collect();
        let first = if lines[line].starts_with('A') { "B" } else { "A" };
        lines[line].replace_range(0..1, first);
        assert!(issue(&lines.join("\n"), None).is_err(), "line {line}");
    }
}

#[test]
fn answers_for_others_are_refused() {
    let dir = Dir::new("answers");
    let authority = authority(&dir);
    let request = KeyAndCsr::generate(&id("a")).expect("a request");
    let other = KeyAndCsr::generate(&id("a")).expect("a request");
    let issued = authority.issue(&request.csr, &id("a"), None, at(NOW)).expect("signed").into_wire();
    assert!(Svid::assemble_for(&id("b"), request.key.clone_key(), &issued, at(NOW)).is_err());
    assert!(Svid::assemble(other.key, &issued, at(NOW)).is_err());
    assert!(Svid::assemble(request.key.clone_key(), &issued[..1], at(NOW)).is_err());
    assert!(Svid::assemble(request.key.clone_key(), &issued, at(NOW + 90_000)).is_err());
    assert!(Svid::assemble(request.key, &issued, at(NOW)).is_ok());
}

#[test]
fn key_is_private_and_survives() {
    let dir = Dir::new("private");
    let first = authority(&dir);
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("ca-key.pem"), mode("ca-cert.pem")), (0o600, 0o600));
    assert_eq!(authority(&dir).roots(), first.roots());
    let token = store::load_or_create_token_key(dir.path()).expect("a key");
    let signed = token.sign("a", "b", "p", (at(NOW), Duration::from_secs(9))).expect("valid");
    assert_eq!(mode("token.key"), 0o600);
    assert!(store::load_or_create_token_key(dir.path()).expect("the key").verify(&signed, at(NOW)).is_ok());
    let exposed = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(dir.path().join("ca-key.pem"), exposed).expect("own file");
    assert!(matches!(store::load_or_create(dir.path(), "td", at(NOW)), Err(StoreError::Exposed { mode: 0o644, .. })));
}

#[test]
fn plugged_authority() {
    let (root_dir, dir) = (Dir::new("root"), Dir::new("plugged"));
    let root = authority(&root_dir);
    let load = || store::load_plugged(dir.path(), at(NOW));
    assert!(matches!(load(), Err(StoreError::Io { .. })));
    for (from, to) in [("ca-cert.pem", "ca-cert.pem"), ("ca-cert.pem", "root-cert.pem"), ("ca-key.pem", "ca-key.pem")] {
        std::fs::copy(root_dir.path().join(from), dir.path().join(to)).expect("copied");
    }
    // Incomplete: no own root is made instead.
    assert!(matches!(load(), Err(StoreError::Io { .. })));
    std::fs::write(dir.path().join("cert-chain.pem"), root.roots_pem()).expect("written");
    assert_eq!(load().expect("complete").roots(), root.roots());
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key").serialize_pem();
    std::fs::write(dir.path().join("ca-key.pem"), other).expect("written");
    assert!(matches!(load(), Err(StoreError::OtherKey { .. })));
    let late = at(root.not_after().as_secs() + 1);
    assert!(matches!(store::load_plugged(dir.path(), late), Err(StoreError::Expired { .. })));
    // A workload's certificate is no authority.
    let leaf = root.issue(&csr(&[]), &id("a"), None, at(NOW)).expect("signed").chain[0].clone();
    std::fs::write(dir.path().join("ca-cert.pem"), leaf).expect("written");
    assert!(matches!(load(), Err(StoreError::NotAuthority { .. })));
}
