//! Mistakes in manifests: each is told with file and line, none takes anything away that worked.

use std::net::{Ipv4Addr, TcpListener};

use mizzen_e2e::{
    Mesh, check_all, eventually,
    manifest::{client, deployment, documents, peer_authentication, service},
};

fn workloads() -> String {
    documents(&[
        &deployment("echo", "mizzen-peer echo --port 8080 --name echo").port(8080),
        &service("echo", &[("http", 80, 8080)]),
        &deployment("other", "mizzen-peer echo --port 8080 --name other").port(8080),
        &service("other", &[("http", 80, 8080)]),
        &client("client"),
        &client("plain").bare(),
    ])
}

/// A VirtualService of echo that marks its answers; further fields of the route are appended.
fn routes(mark: &str, more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: echo
spec:
  hosts: [echo]
  http:
  - route:
    - destination: {{host: echo}}
    headers:
      response:
        set: {{x-mark: {mark}}}
{more}"
    )
}

/// Which edit of the routes is in force; empty if none is.
fn mark(mesh: &Mesh) -> String {
    let (status, text) = mesh.curl("client", &["-i", "http://echo/"]);
    assert_eq!(status, 200, "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("x-mark: "));
    line.unwrap_or_default().trim().to_owned()
}

/// Writes a manifest and waits for a finding in it that contains all of `words`.
fn told(mesh: &Mesh, file: &str, text: &str, words: &[&str]) -> String {
    let before = mesh.mark();
    mesh.write(file, text);
    eventually(&format!("a finding with {words:?}; so far {:#?}", mesh.lines().split_off(before)), || {
        let lines = mesh.lines().split_off(before);
        lines.into_iter().find(|line| words.iter().all(|word| line.contains(word)))
    })
}

/// Removes the mistake, and waits until it is told that it is gone.
fn mended(mesh: &Mesh, file: &str, text: Option<&str>) {
    let before = mesh.mark();
    match text {
        Some(text) => mesh.write(file, text),
        None => mesh.remove(file),
    }
    mesh.wait_line_from(before, "resolved:");
}

fn malformed_yaml(mesh: &Mesh) {
    mesh.apply("routes.yaml", &routes("first", ""));
    assert_eq!(mark(mesh), "first");
    let broken = routes("second", "").replace("  - route:", "  - route: [");
    let line = told(mesh, "routes.yaml", &broken, &["error", "routes.yaml:"]);
    let at: u32 =
        line.rsplit("routes.yaml:").next().and_then(|rest| rest.trim_end_matches(')').parse().ok()).expect("a line");
    assert!((8..=12).contains(&at), "where it goes wrong: {line}");
    assert_eq!(mark(mesh), "first", "the last good one serves on");
    mended(mesh, "routes.yaml", Some(&routes("third", "")));
    eventually("the next good one", || (mark(mesh) == "third").then_some(()));
}

fn an_unknown_field(mesh: &Mesh) {
    mesh.apply("routes.yaml", &routes("known", ""));
    let line = told(
        mesh,
        "routes.yaml",
        &routes("unknown", "    timeuot: 3s\n"),
        &["error", "timeuot", "timeout", "VirtualService", "echo"],
    );
    assert!(line.contains("routes.yaml:13"), "the field's own line: {line}");
    assert_eq!(mark(mesh), "known");
    let listed = mesh.mizzen(&["get", "virtualservices"]).out;
    assert!(listed.contains("timeuot") && listed.contains("last good version"), "{listed}");
    mended(mesh, "routes.yaml", Some(&routes("known again", "")));
}

fn a_dangling_host(mesh: &Mesh) {
    let dangling = "  - match: [{uri: {prefix: /away}}]\n    route: [{destination: {host: nowhere}}]\n  - route:\n";
    let text = routes("dangling", "").replacen("  - route:\n", dangling, 1);
    let line = told(mesh, "routes.yaml", &text, &["nowhere", "VirtualService", "routes.yaml:"]);
    assert!(line.contains("routes.yaml:9"), "the destination's own line: {line}");
    eventually("the rest of the object in force", || (mark(mesh) == "dangling").then_some(()));
    assert_eq!(mesh.curl("client", &["http://echo/away"]).0, 503, "only its own requests have nowhere to go");
    mended(mesh, "routes.yaml", Some(&routes("found", "")));
}

fn two_objects_claim_one_host(mesh: &Mesh) {
    mesh.apply("routes.yaml", &routes("elder", ""));
    let second = routes("younger", "").replace("name: echo", "name: zzz-echo");
    let line = told(mesh, "second.yaml", &second, &["zzz-echo", "already routed", "second.yaml:"]);
    assert!(
        line.contains("VirtualService/default/echo (") && line.contains("routes.yaml:1"),
        "names the other one: {line}"
    );
    for _ in 0..10 {
        assert_eq!(mark(mesh), "elder", "of the same age: by name, whatever came first");
    }
    mended(mesh, "second.yaml", None);
    assert_eq!(mark(mesh), "elder");
}

fn what_is_not_enforced_refuses(mesh: &Mesh) {
    // A rule that asks for TLS to the other service: plain text to it would be a lie.
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: other}\nspec:\n  host: other\n  trafficPolicy:\n    tls: {mode: SIMPLE}\n";
    assert_eq!(mesh.curl("client", &["http://other/"]).0, 200);
    let line = told(mesh, "rule.yaml", rule, &["DestinationRule", "tls", "rule.yaml:7"]);
    assert!(line.contains("not enforced"), "{line}");
    eventually("its traffic refused", || (mesh.curl("client", &["http://other/"]).0 == 503).then_some(()));
    assert_eq!(mesh.curl("client", &["http://echo/"]).0, 200, "nobody else's");
    mended(mesh, "rule.yaml", None);
    eventually("its traffic taken again", || (mesh.curl("client", &["http://other/"]).0 == 200).then_some(()));

    // A port with another mode: the whole workload takes nothing.
    let policy = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: other}\nspec:\n  selector: {matchLabels: {app: other}}\n  mtls: {mode: STRICT}\n  portLevelMtls: {8080: {mode: STRICT}}\n";
    told(mesh, "policy.yaml", policy, &["PeerAuthentication", "portLevelMtls", "policy.yaml:"]);
    eventually("its traffic refused", || (mesh.curl("client", &["http://other/"]).0 != 200).then_some(()));
    let address = mesh.addresses("other").0;
    assert_ne!(mesh.curl("plain", &[&format!("http://{address}:8080/")]).0, 200);
    mended(mesh, "policy.yaml", None);
    eventually("its traffic taken again", || (mesh.curl("client", &["http://other/"]).0 == 200).then_some(()));

    // A gateway with TLS: its port is not opened.
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: shop}\nspec:\n  selector: {istio: ingressgateway}\n  servers:\n  - port: {number: 443, name: https, protocol: HTTPS}\n    tls: {mode: SIMPLE, credentialName: shop}\n    hosts: ['*']\n";
    told(mesh, "gateway.yaml", gateway, &["Gateway", "tls", "gateway.yaml:8"]);
    assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, 8443)).is_err(), "nothing listens for it");
    mended(mesh, "gateway.yaml", None);
}

fn a_container_with_only_an_image(mesh: &Mesh) {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: pictured}\nspec:\n  selector: {matchLabels: {app: pictured}}\n  template:\n    metadata: {labels: {app: pictured}}\n    spec:\n      containers:\n      - name: web\n        image: example.com/web:1\n";
    let line = told(mesh, "image.yaml", text, &["pictured", "image", "image.yaml:10"]);
    let shown = mesh.mizzen(&["status"]).out + &line + &mesh.lines().join("\n");
    assert!(shown.contains("mizzen.io/local-command.web:"), "a line to paste: {shown}");
    assert_eq!(mesh.curl("client", &["http://echo/"]).0, 200);
    mended(mesh, "image.yaml", None);
}

/// A hundred rules in one object.
fn hundred() -> String {
    let rules = (0..100).map(|at| {
        format!("  - match: [{{uri: {{prefix: /r{at}/}}}}]\n    route: [{{destination: {{host: other}}}}]\n")
    });
    let head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: hundred}\nspec:\n  hosts: [other]\n  http:\n";
    head.to_owned() + &rules.collect::<String>() + "  - route: [{destination: {host: other}}]\n"
}

fn a_comment_sends_nothing(mesh: &Mesh) {
    mesh.apply("hundred.yaml", &hundred());
    let fetch = |path: &str| mesh.curl("client", &[&format!("http://127.0.0.1:15000{path}")]).1;
    let before = fetch("/config_dump");
    assert!(before.contains("80/other.default.svc.cluster.local:80"), "the dump names the host");
    let line_of = || {
        let listed = mesh.mizzen(&["get", "virtualservices"]).out;
        listed.lines().find(|line| line.contains("hundred")).map(str::to_owned).unwrap_or_default()
    };
    assert!(line_of().contains("hundred.yaml:1"), "{}", line_of());
    mesh.write("hundred.yaml", &format!("# a comment\n# and another one\n{}", hundred()));
    eventually("the object's new line", || line_of().contains("hundred.yaml:3").then_some(()));
    // It was seen, and no proxy got anything: neither a resource nor a new generation.
    assert_eq!(fetch("/config_dump"), before);
    mesh.apply("routes.yaml", &routes("another object", ""));
    assert_ne!(fetch("/config_dump"), before, "an edit of another one is sent");
}

#[test]
fn mistakes_are_told_and_harmless() {
    let strict = peer_authentication(None, "PERMISSIVE").to_string();
    let files = [
        ("mesh.yaml", &*workloads()),
        ("strict.yaml", &strict),
        ("broken.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: [\n"),
        ("chart.yaml", "apiVersion: v1\nkind: {{ .Values.kind }}\nmetadata: {{ .Values }}\n"),
    ];
    let mesh = Mesh::up(&files, &[]);
    let lines = mesh.lines();
    assert!(
        lines.iter().any(|line| line.contains("error") && line.contains("broken.yaml:")),
        "a bad file at the start: {lines:#?}"
    );
    assert!(lines.iter().any(|line| line.contains("not used: 1 ")), "a template is counted: {lines:#?}");
    check_all(
        &mesh,
        &[
            ("malformed YAML", &malformed_yaml),
            ("an unknown field", &an_unknown_field),
            ("a dangling host", &a_dangling_host),
            ("two objects claim one host", &two_objects_claim_one_host),
            ("what is not enforced refuses its traffic", &what_is_not_enforced_refuses),
            ("a container with only an image", &a_container_with_only_an_image),
            ("a comment above 100 routes sends nothing", &a_comment_sends_nothing),
        ],
    );
}

const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny}\nspec: {}\n";

#[test]
fn a_policy_that_is_not_enforced_stops_the_start() {
    let workloads = client("client").to_string();
    let files = [("mesh.yaml", &*workloads), ("policy.yaml", POLICY)];
    let mut refused = Mesh::start(&files, &[]);
    assert_ne!(refused.wait_end().code(), Some(0));
    let text = refused.text();
    for word in ["AuthorizationPolicy", "policy.yaml:1", "--allow-unenforced"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let allowed = Mesh::up(&files, &["--allow-unenforced"]);
    assert!(allowed.text().contains("policy.yaml"), "it is said all the same: {}", allowed.text());
}

#[test]
fn a_taken_port_stops_the_start() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: shop}\nspec:\n  selector: {istio: ingressgateway}\n  servers:\n  - port: {number: 80, name: http, protocol: HTTP}\n    hosts: ['*']\n";
    let workloads = client("client").to_string();
    let mut refused =
        Mesh::start(&[("mesh.yaml", &workloads), ("gateway.yaml", gateway)], &["--publish", &format!("{port}:80")]);
    assert_ne!(refused.wait_end().code(), Some(0));
    let text = refused.text();
    for word in [&port.to_string(), "--publish", "gateway.yaml:1"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(!text.contains("is ready"), "nothing was started: {text}");
}
