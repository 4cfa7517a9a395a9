//! Handshakes between peers of the mesh, in memory: who gets through, and with which key exchange.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Dir, NOW, at, authority, id, svid};
use mizzen_pki::{Authority, PeerCertificate, SanRule, SpiffeId, Svid, Verifier, tls};
use rcgen::{CertificateParams, DistinguishedName, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConnection, Connection, NamedGroup, ServerConnection};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

#[derive(Debug)]
struct At(u64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(at(self.0))
    }
}

struct Side<'a> {
    key: Option<Arc<CertifiedKey>>,
    trusts: &'a Authority,
    rules: Vec<SanRule>,
}

fn side<'a>(svid: &Svid, trusts: &'a Authority, rules: &[SanRule]) -> Side<'a> {
    Side { key: Some(svid.certified_key.clone()), trusts, rules: rules.to_vec() }
}

/// Shakes hands at a time; the client's id as the server sees it.
fn shake(client: Side<'_>, server: &Side<'_>, now: u64) -> Result<(SpiffeId, NamedGroup), rustls::Error> {
    let verifier = |side: &Side<'_>| Arc::new(Verifier::new(side.trusts.roots(), side.rules.clone()).expect("roots"));
    let mut config = tls::client_config(verifier(&client), client.key, tls::TLS13_ONLY, &[])?;
    config.time_provider = Arc::new(At(now));
    let name = "outbound_.80_._.reviews.default.svc.cluster.local".try_into().expect("a name");
    let mut client = Connection::from(ClientConnection::new(Arc::new(config), name)?);
    let own = Arc::new(SingleCertAndKey::from(server.key.clone().expect("servers have a key")));
    let mut config = tls::server_config(verifier(server), own, tls::TLS12_UP, &[])?;
    config.time_provider = Arc::new(At(now));
    let mut server = Connection::from(ServerConnection::new(Arc::new(config))?);
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server)?;
        carry(&mut server, &mut client)?;
    }
    let leaf = &server.peer_certificates().expect("the server insists")[0];
    let peer = PeerCertificate::from_der(leaf).expect("verified");
    let group = server.negotiated_key_exchange_group().expect("after the handshake").name();
    Ok((peer.id.expect("verified"), group))
}

fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), rustls::Error> {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).expect("memory");
    }
    let mut wire = wire.as_slice();
    while !wire.is_empty() {
        to.read_tls(&mut wire).expect("memory");
        to.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn who_gets_through() {
    let (dir, other_dir) = (Dir::new("hands"), Dir::new("hands-other"));
    let (mesh, other) = (authority(&dir), authority(&other_dir));
    let (a, b) = (svid(&mesh, "a", 60), svid(&mesh, "b", 60));
    let foreign = svid(&other, "a", 60);
    let all = [SanRule::trust_domain("td")];
    let only = |account: &str| [SanRule::Exact(id(account).as_str().into())];
    let ok = shake(side(&a, &mesh, &only("b")), &side(&b, &mesh, &all), NOW).expect("both are expected");
    assert_eq!(ok, (id("a"), NamedGroup::X25519MLKEM768));

    let unexpected = |rules: &[SanRule]| shake(side(&a, &mesh, rules), &side(&b, &mesh, &all), NOW);
    assert!(unexpected(&only("c")).is_err());
    assert!(unexpected(&[]).is_err());
    assert!(unexpected(&[SanRule::trust_domain("t")]).is_err());
    assert!(unexpected(&[SanRule::Exact("spiffe://td/ns/ns/sa/*".into())]).is_err());
    assert!(shake(side(&a, &mesh, &all), &side(&b, &mesh, &only("b")), NOW).is_err());
    // Another authority with the same names.
    assert!(shake(side(&foreign, &mesh, &all), &side(&b, &mesh, &all), NOW).is_err());
    assert!(shake(side(&a, &mesh, &all), &side(&foreign, &mesh, &all), NOW).is_err());
    // Expired, and not valid yet.
    assert!(shake(side(&a, &mesh, &all), &side(&b, &mesh, &all), NOW + 61).is_err());
    assert!(shake(side(&a, &mesh, &all), &side(&b, &mesh, &all), NOW - 300).is_err());
    // Nobody gets in without a certificate.
    let anonymous = Side { key: None, trusts: &mesh, rules: all.to_vec() };
    assert!(shake(anonymous, &side(&b, &mesh, &all), NOW).is_err());
}

/// Certificates whose names could be read in two ways, signed by the mesh's own authority.
#[test]
fn ambiguous_names_are_nobody() {
    let dir = Dir::new("names");
    let mesh = authority(&dir);
    let issuer = {
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("there");
        let key = KeyPair::from_pem(&read("ca-key.pem")).expect("a key");
        Issuer::from_ca_cert_pem(&read("ca-cert.pem"), key).expect("an issuer")
    };
    let uri = |text: &str| SanType::URI(text.try_into().expect("ASCII"));
    let dns = |text: &str| SanType::DnsName(text.try_into().expect("ASCII"));
    let server = svid(&mesh, "b", 60);
    let all = [SanRule::trust_domain("td")];
    let cases = [
        (vec![uri("spiffe://td/ns/ns/sa/a")], true),
        (vec![uri("spiffe://td/ns/ns/sa/a"), dns("a.example")], true),
        (vec![uri("spiffe://td/ns/ns/sa/a"), uri("spiffe://td/ns/ns/sa/b")], false),
        (vec![uri("spiffe://td/ns/ns/sa/a\0.evil")], false),
        (vec![uri("spiffe://td/ns/ns/sa/a"), dns("a\0b")], false),
        (vec![uri("spiffe://td/ns/ns/sa/a\r\nx: y")], false),
        (vec![uri("https://td/ns/ns/sa/a")], false),
        (vec![dns("a.example")], false),
    ];
    for (names, accepted) in cases {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names.clone();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW - 10);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW + 10);
        let chain = vec![params.signed_by(&key, &issuer).expect("signed").der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::from_der(chain, key, tls::provider()).expect("fits");
        let client = Side { key: Some(Arc::new(key)), trusts: &mesh, rules: all.to_vec() };
        let result = shake(client, &side(&server, &mesh, &all), NOW);
        assert_eq!(result.is_ok(), accepted, "{names:?}: {result:?}");
    }
}

#[test]
fn server_certificate_of_the_control_plane() {
    let dir = Dir::new("server");
    let mesh = authority(&dir);
    let id = SpiffeId::workload("td", "istio-system", "istiod").expect("valid");
    let names = ["istiod.istio-system.svc", "localhost"];
    let own = mesh.issue_server(&names, &id, Duration::from_mins(1), at(NOW)).expect("signed");
    let peer = PeerCertificate::from_der(&own.chain[0]).expect("readable");
    assert_eq!((peer.dns_names, peer.id), (names.map(str::to_owned).to_vec(), Some(id)));
}
