//! Who may talk to whom, by which certificate, and what others see of it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mizzen_e2e::{
    Load, Mesh, Output, Sniffer, check_all, eventually, header,
    manifest::{client, deployment, documents, peer_authentication, service, without_retries},
    within,
};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};
use rustix::process::Signal;
use serde_json::Value;

/// In place of the one the mesh would choose: what other issuers may say.
const ECHO: &str = "spiffe://cluster.local/ns/default/sa/echo";
const IMPOSTOR: &str = "spiffe://cluster.local/ns/default/sa/impostor";

fn manifests() -> String {
    documents(&[
        &deployment("echo", "mizzen-peer echo --port 8080 --name echo").port(8080),
        &service("echo", &[("http", 80, 8080)]),
        &deployment("open", "mizzen-peer echo --port 8080 --name open").port(8080),
        &service("open", &[("http", 80, 8080)]),
        &peer_authentication(Some("open"), "PERMISSIVE"),
        // Says that it speaks mTLS, and runs what the test starts.
        &client("impostor").bare().label("security.istio.io/tlsMode", "istio"),
        &service("impostor", &[("http", 80, 8443)]),
        &without_retries("impostor"),
        &deployment("naked", "mizzen-peer echo --port 8080 --name naked").bare().port(8080),
        &service("naked", &[("http", 80, 8080)]),
        &client("client"),
        &client("plain").bare(),
    ])
}

/// Issues certificates as the mesh's authority would, or as a stranger does.
struct Forger {
    directory: PathBuf,
    key: String,
    certificate: String,
}

impl Forger {
    /// With the key of the mesh's authority, which only who runs the mesh can read.
    fn insider(mesh: &Mesh) -> Self {
        let find = |name: &str| {
            find(&mesh.state(), name).unwrap_or_else(|| panic!("no {name} below {}", mesh.state().display()))
        };
        let read = |name: &str| fs::read_to_string(find(name)).expect("readable for whoever runs the mesh");
        Self { directory: directory(mesh, "insider"), key: read("ca-key.pem"), certificate: read("ca-cert.pem") }
    }

    fn stranger(mesh: &Mesh) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::OrganizationName, "cluster.local");
        let certificate = params.self_signed(&key).expect("a root");
        Self { directory: directory(mesh, "stranger"), key: key.serialize_pem(), certificate: certificate.pem() }
    }

    /// A certificate for `id`: arguments that name its files.
    fn issue(&self, name: &str, id: &str) -> Vec<String> {
        let key = KeyPair::from_pem(&self.key).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, key).expect("an authority");
        let own = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().expect("a URI"))];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&own, &issuer).expect("signed");
        let path = |suffix: &str| self.directory.join(format!("{name}.{suffix}"));
        fs::write(path("pem"), certificate.pem() + &self.certificate).expect("written");
        fs::write(path("key"), own.serialize_pem()).expect("written");
        ["--cert".into(), path("pem").to_string_lossy().into(), "--key".into(), path("key").to_string_lossy().into()]
            .into()
    }
}

fn directory(mesh: &Mesh, name: &str) -> PathBuf {
    let directory = mesh.directory().with_file_name(name);
    fs::create_dir_all(&directory).expect("a directory");
    directory
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let paths: Vec<PathBuf> = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).collect();
    let own = paths.iter().find(|path| path.file_name().is_some_and(|found| found == name)).cloned();
    own.or_else(|| paths.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}

/// Asks a server for a page over TLS, as somebody who is not of the mesh.
fn probe(mesh: &Mesh, address: &str, arguments: &[String]) -> Output {
    let request = "GET / HTTP/1.1\\r\\nhost: echo\\r\\nconnection: close\\r\\n\\r\\n";
    let fixed = [
        "mizzen-peer",
        "tls-probe",
        "--connect",
        address,
        "--sni",
        "echo",
        "--alpn",
        "istio-http/1.1",
        "--alpn",
        "istio",
    ];
    let fixed = fixed.into_iter().chain(["--send", request, "--timeout-ms", "5000"]);
    let command: Vec<&str> = fixed.chain(arguments.iter().map(String::as_str)).collect();
    mesh.exec("plain", &command)
}

fn was_served(output: &Output) -> bool {
    output.json()["received"].as_str().is_some_and(|text| text.starts_with("HTTP/1.1 200"))
}

fn plain_text_is_refused_under_strict(mesh: &Mesh) {
    let (v4, v6) = mesh.addresses("echo");
    for url in [format!("http://{v4}:8080/"), format!("http://[{v6}]:8080/")] {
        let (status, body) = mesh.curl("plain", &[&url]);
        assert_eq!(status, 0, "{url}: the connection is closed: {body}");
    }
    let answer = mesh.ask("client", &["http://echo/"]);
    assert!(header(&answer, "x-forwarded-client-cert").contains("sa/client"), "{answer}");
    assert_eq!(mesh.ask("echo", &["http://localhost:8080/count"])["paths"]["/"], 1, "nothing else came through");
}

fn plain_text_is_accepted_under_permissive(mesh: &Mesh) {
    let (v4, v6) = mesh.addresses("open");
    for url in [format!("http://{v4}:8080/"), format!("http://[{v6}]:8080/")] {
        let answer = mesh
            .ask("plain", &["-H", "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/default/sa/client", &url]);
        assert_eq!(header(&answer, "x-forwarded-client-cert"), "", "what a stranger claims is stripped: {answer}");
    }
    let answer = mesh.ask("client", &["http://open/"]);
    assert!(header(&answer, "x-forwarded-client-cert").contains("sa/client"), "meshed peers still use mTLS: {answer}");
    let answer = mesh.ask("client", &["http://naked/"]);
    assert_eq!(answer["peer"], "naked", "a peer without a proxy is spoken to in plain text: {answer}");
}

fn strangers_are_refused(mesh: &Mesh) {
    let address = format!("{}:8080", mesh.addresses("echo").0);
    let (insider, stranger) = (Forger::insider(mesh), Forger::stranger(mesh));
    let good = insider.issue("good", "spiffe://cluster.local/ns/default/sa/anybody");
    let output = probe(mesh, &address, &good);
    assert!(
        was_served(&output),
        "a certificate of the mesh's authority is taken, so that the rest means something: {output:?}"
    );
    let cases = [
        ("none at all", Vec::new()),
        ("of another authority", stranger.issue("stranger", "spiffe://cluster.local/ns/default/sa/client")),
        ("of another trust domain", insider.issue("foreign", "spiffe://evil.local/ns/default/sa/client")),
        ("of a longer trust domain", insider.issue("longer", "spiffe://cluster.local.evil/ns/default/sa/client")),
    ];
    for (name, arguments) in cases {
        let output = probe(mesh, &address, &arguments);
        assert!(!was_served(&output), "certificate {name}: {output:?}");
    }
}

fn groups_are_negotiated(mesh: &Mesh) {
    let address = format!("{}:8080", mesh.addresses("echo").0);
    let good = Forger::insider(mesh).issue("groups", "spiffe://cluster.local/ns/default/sa/anybody");
    let classical = [good.clone(), vec!["--group".into(), "X25519".into()]].concat();
    for (arguments, group) in [(&good, "X25519MLKEM768"), (&classical, "X25519")] {
        let output = probe(mesh, &address, arguments);
        assert!(was_served(&output), "{output:?}");
        let told = output.json();
        assert_eq!((told["group"].as_str(), told["version"].as_str()), (Some(group), Some("TLSv1_3")), "{told}");
    }
}

/// A server that says it is of the mesh is believed only with the right name.
fn a_server_with_a_wrong_name_is_refused(mesh: &Mesh) {
    let (insider, stranger) = (Forger::insider(mesh), Forger::stranger(mesh));
    let cases = [
        ("right", insider.issue("right", IMPOSTOR), 200),
        ("of another account", insider.issue("other", ECHO), 503),
        ("of another authority", stranger.issue("right", IMPOSTOR), 503),
        ("right again", insider.issue("again", IMPOSTOR), 200),
    ];
    for (name, certificate, wanted) in cases {
        let words =
            ["mizzen-peer", "echo", "--port", "8443", "--name", "impostor", "--alpn", "h2", "--alpn", "http/1.1"];
        let command: Vec<&str> = words.into_iter().chain(certificate.iter().map(String::as_str)).collect();
        let server = mesh.spawn("impostor", &command);
        server.wait_line("listening");
        let (status, body) = mesh.curl("client", &["http://impostor/"]);
        assert_eq!(status, wanted, "{name}: {body}");
        server.stop();
    }
}

fn nothing_is_readable_on_the_wire(mesh: &Mesh) {
    let network = mesh.control_plane();
    // Through both sidecars, then to the workload that has none: the same capture finds only the second.
    let runs =
        [("http://echo/?echo=1", "marker-7c1e90-hidden", true), ("http://naked/?echo=1", "marker-7c1e90-shown", false)];
    for (url, word, hidden) in runs {
        let sniffer = Sniffer::start(&network, word);
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let (status, body) = mesh.curl("client", &[version, "-d", word, url]);
            assert_eq!((status, body.as_str()), (200, word), "{url}");
        }
        let (packets, found) = sniffer.stop();
        assert!(packets >= 10, "the capture saw the exchange: {packets}");
        assert_eq!(found == 0, hidden, "{url}: {found} of {packets} packets");
    }
}

#[test]
fn peers_are_who_they_say() {
    let report = std::env::temp_dir().join(format!("mz-identity-{}.json", std::process::id()));
    let path = report.to_string_lossy().into_owned();
    let strict = peer_authentication(None, "STRICT").to_string();
    let mut mesh = Mesh::up(&[("mesh.yaml", &manifests()), ("strict.yaml", &strict)], &["--report", &path]);
    check_all(
        &mesh,
        &[
            ("plain text is refused under STRICT, over IPv4 and IPv6", &plain_text_is_refused_under_strict),
            ("plain text is accepted under PERMISSIVE", &plain_text_is_accepted_under_permissive),
            ("strangers' certificates are refused", &strangers_are_refused),
            ("post-quantum first, classical accepted", &groups_are_negotiated),
            ("a server with a wrong name is refused", &a_server_with_a_wrong_name_is_refused),
            ("a marker in the body is not on the wire", &nothing_is_readable_on_the_wire),
        ],
    );
    mesh.signal(Signal::INT);
    assert_eq!(mesh.wait_end().code(), Some(0));
    let text = fs::read_to_string(&report).expect("the report");
    fs::remove_file(&report).ok();
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let share = report["mtls_share"].as_f64().expect("measured");
    assert!(0.0 < share && share < 1.0, "one plain client shows in what was measured: {text}");
    let edges = report["edges"].as_array().expect("edges");
    let edge =
        |source: &str| edges.iter().find(|edge| edge["source"] == source && edge["destination"] == "default/open");
    assert_eq!(edge("default/client").expect("an edge")["mtls"], 1.0, "{text}");
    assert_eq!(edge("default/plain").or(edge("unknown")).expect("an edge")["mtls"], 0.0, "{text}");
}

/// Life of a certificate, in seconds; renewed at half of it.
const TTL: &str = "20s";
const ROTATIONS: usize = 5;

/// Serial and last second of the certificate that a handshake with the server shows.
fn certificate(mesh: &Mesh, address: &str) -> (String, u64) {
    let told = probe(mesh, address, &[]).json();
    let peer = &told["peer"];
    let serial = peer["serial"].as_str().unwrap_or_else(|| panic!("no certificate in {told}"));
    (serial.to_owned(), peer["not_after_unix"].as_u64().expect("a time"))
}

#[test]
fn certificates_rotate_under_load() {
    let workloads = documents(&[
        &deployment("echo", "mizzen-peer echo --port 8080 --name echo").port(8080),
        &service("echo", &[("http", 80, 8080)]),
        &without_retries("echo"),
        &peer_authentication(None, "STRICT"),
        &client("client"),
        &client("plain").bare(),
    ]);
    let mesh = Mesh::up(&[("mesh.yaml", &workloads)], &["--cert-ttl", TTL]);
    let address = format!("{}:8080", mesh.addresses("echo").0);
    let load = |version: &str| -> Load {
        let words =
            ["mizzen-peer", "load", "--url", "http://echo/", "--rps", "500", "--connections", "8", "--http", version];
        mesh.spawn("client", &words)
    };
    let loads = [load("1"), load("2")];
    let sockets = mesh.spawn("client", &["mizzen-peer", "ws-load", "--url", "http://echo/", "--connections", "4"]);
    let began = SystemTime::now();

    let mut seen = vec![certificate(&mesh, &address)];
    within(Duration::from_secs(100), "five rotations, and everything before the newest expired", || {
        // Each look is a handshake of a process of its own: seldom enough not to be the load itself.
        std::thread::park_timeout(Duration::from_millis(500));
        let now = certificate(&mesh, &address);
        if seen.iter().all(|(serial, _)| *serial != now.0) {
            seen.push(now);
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let expired = seen.iter().filter(|(_, not_after)| *not_after < unix).count();
        (seen.len() > ROTATIONS && expired >= ROTATIONS && began.elapsed().is_ok_and(|took| took.as_secs() >= 60))
            .then_some(())
    });
    let serials: BTreeSet<&String> = seen.iter().map(|(serial, _)| serial).collect();
    assert_eq!(serials.len(), seen.len(), "each certificate has its own serial: {seen:?}");

    for load in loads {
        let told = load.stop().json();
        for fault in ["non_2xx", "resets", "timeouts", "connect_errors", "body_mismatches"] {
            assert_eq!(told[fault], 0, "{fault}: {told}");
        }
        assert!(told["ok"].as_u64().is_some_and(|ok| ok >= 60 * 450), "{told}");
    }
    let told = sockets.stop().json();
    for fault in ["lost", "out_of_order", "dropped_connections"] {
        assert_eq!(told[fault], 0, "{fault}: {told}");
    }
    assert!(told["received"].as_u64().is_some_and(|frames| frames >= 4 * 60 * 15), "{told}");
    eventually("the proxies hold a certificate that is valid now", || {
        mesh.ask("client", &["http://echo/"])["peer"].as_str().map(drop)
    });
}
