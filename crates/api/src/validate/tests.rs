//! The rules of validation: `tests/fixtures/invalid` holds an object for each that breaks it alone.

use crate::{Finding, Severity, load};

const MISTAKES: [&str; 7] = [
    include_str!("../../tests/fixtures/invalid/virtual-service.txt"),
    include_str!("../../tests/fixtures/invalid/destination-rule.txt"),
    include_str!("../../tests/fixtures/invalid/gateway.txt"),
    include_str!("../../tests/fixtures/invalid/service-entry.txt"),
    include_str!("../../tests/fixtures/invalid/peer-authentication.txt"),
    include_str!("../../tests/fixtures/invalid/mesh-config.txt"),
    include_str!("../../tests/fixtures/invalid/kubernetes.txt"),
];

const ROUTE: &str = "route: [{destination: {host: a}}]";
const PORTS: &str = "ports: [{number: 80, name: http, protocol: HTTP}]";

/// What there is to say about one object with `rest` below its metadata.
fn findings(kind: &str, rest: &str) -> Vec<Finding> {
    let version = match kind {
        "Deployment" => "apps/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        "PeerAuthentication" => "security.istio.io/v1",
        "VirtualService" | "DestinationRule" | "Gateway" | "ServiceEntry" => "networking.istio.io/v1",
        _ => "v1",
    };
    let name = if kind == "ConfigMap" { "istio" } else { "a" };
    let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\n{rest}\n");
    let result = load("a.yaml", &text);
    assert!(result.unparsable.is_none() && result.not_used.is_empty(), "{text}: {:?}", result.unparsable);
    let rejected = result.rejected.into_iter().flat_map(|rejection| rejection.findings);
    let accepted = result.objects.iter().flat_map(|object| object.findings.iter().cloned());
    rejected.chain(accepted).collect()
}

fn expand(text: &str) -> String {
    text.replace("ROUTE", ROUTE).replace("PORTS", PORTS).replace('⏎', "\n")
}

#[test]
fn each_mistake_is_named_alone_and_by_its_field() {
    let mut checked = 0;
    for line in MISTAKES.into_iter().flat_map(group_lines) {
        let Mistake { kind, rest, path, words } = line;
        let found = findings(kind, &rest);
        let errors: Vec<&Finding> = found.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{kind} {rest}: {errors:#?}");
        assert_eq!(errors[0].path, path, "{kind} {rest}: {}", errors[0]);
        assert!(errors[0].message.contains(&words), "{kind} {rest}: {}", errors[0]);
        checked += 1;
    }
    assert!(checked > 200, "only {checked} mistakes were read");
}

struct Mistake<'a> {
    kind: &'a str,
    rest: String,
    path: String,
    words: String,
}

fn group_lines(text: &str) -> Vec<Mistake<'_>> {
    let mut group = ("", "");
    let mut mistakes = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix("@ ") {
            group = head.split_once(' ').expect("a kind and a text");
            continue;
        }
        let mut parts = line.split(" | ").map(str::trim);
        let [Some(wrong), Some(path), Some(words)] = [parts.next(), parts.next(), parts.next()] else {
            panic!("three parts: {line}");
        };
        let rest = expand(&group.1.replacen('…', wrong, 1));
        mistakes.push(Mistake { kind: group.0, rest, path: path.to_owned(), words: words.to_owned() });
    }
    mistakes
}

#[test]
fn what_is_likely_not_meant_is_a_warning() {
    let cases = [
        ("http: [{ROUTE}, {match: [{uri: {exact: /a}}], ROUTE}]", "spec.http[1]: never reached"),
        ("http: [{match: [{uri: {prefix: /}}], ROUTE}, {ROUTE}]", "spec.http[1]: never reached"),
        ("http: [{match: [{uri: {regex: .*}, name: x}], ROUTE}, {ROUTE}]", "spec.http[1]: never reached"),
        (
            "http: [{redirect: {uri: /}, timeout: 1s}]",
            "spec.http[0].timeout: `timeout` has no effect beside `redirect`",
        ),
        ("http: [{ROUTE, fault: {abort: {httpStatus: 500}}}]", "spec.http[0].fault.abort: without `percentage`"),
        (
            "http: [{ROUTE, headers: {request: {set: {':path': /}}}}]",
            "spec.http[0].headers.request.set[\":path\"]: :path cannot",
        ),
    ];
    for (rest, expected) in cases {
        let found = findings("VirtualService", &expand(&format!("spec: {{hosts: [a], {rest}}}")));
        assert!(found.iter().all(|finding| finding.severity != Severity::Error), "{rest}: {found:#?}");
        let said = |finding: &Finding| format!("{}: {}", finding.path, finding.message).starts_with(expected);
        assert!(found.iter().any(said), "{rest}: {found:#?}");
    }
}

#[test]
fn what_is_right_is_passed_over_in_silence() {
    let cases = [
        ("VirtualService", "spec: {hosts: [a], http: [{match: [{headers: {a: {}}}], ROUTE}, {ROUTE}]}"),
        ("VirtualService", "spec: {hosts: ['*'], gateways: [public], http: [{ROUTE}]}"),
        ("VirtualService", "spec: {hosts: ['*.a-b.example', 10.0.0.1, '::1', a], http: [{ROUTE, timeout: 0s}]}"),
        ("VirtualService", "spec: {hosts: [a], http: [{ROUTE, retries: {attempts: 0, retryOn: '5xx, reset,503'}}]}"),
        ("VirtualService", "spec: {hosts: [a], http: [{route: [{destination: {host: a}, weight: 0}]}]}"),
        ("PeerAuthentication", ""),
        ("PeerAuthentication", "spec: {}"),
        ("Service", "spec: {clusterIP: None}"),
        ("Service", "spec: {type: ExternalName, externalName: a.example}"),
        ("Service", "spec: {ports: [{name: a, port: 53}, {name: b, port: 53, protocol: UDP, targetPort: dns}]}"),
        ("Pod", "status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: '::1'}], phase: Running}"),
        ("ServiceEntry", "spec: {hosts: ['*.example'], PORTS, resolution: NONE}"),
        (
            "ServiceEntry",
            "spec: {hosts: [a.example], ports: [{number: 1, name: a}], resolution: STATIC, endpoints: [{address: unix:///a}]}",
        ),
        ("ConfigMap", "data: {mesh: ''}"),
    ];
    for (kind, rest) in cases {
        let found = findings(kind, &expand(rest));
        assert!(found.is_empty(), "{kind} {rest}: {found:#?}");
    }
}
