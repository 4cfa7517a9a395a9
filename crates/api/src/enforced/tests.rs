//! The table against the schemas, and its rows one by one.

use std::collections::BTreeSet;

use super::{Step, Unenforced, matches, needs_allow_unenforced};
use crate::{Object, load, node::seen};

/// Every field of every schema of the mesh, see the comment in the first.
const WHOLE: [(&str, &str); 6] = [
    ("virtual-service.yaml", include_str!("../../tests/fixtures/whole/virtual-service.yaml")),
    ("destination-rule.yaml", include_str!("../../tests/fixtures/whole/destination-rule.yaml")),
    ("gateway.yaml", include_str!("../../tests/fixtures/whole/gateway.yaml")),
    ("service-entry.yaml", include_str!("../../tests/fixtures/whole/service-entry.yaml")),
    ("peer-authentication.yaml", include_str!("../../tests/fixtures/whole/peer-authentication.yaml")),
    ("mesh-config.yaml", include_str!("../../tests/fixtures/whole/mesh-config.yaml")),
];

/// Fields that are known in order to be refused: no valid object has them.
const REFUSED: [&str; 2] = ["FaultDelay.exponentialDelay", "FaultAbort.http2Error"];

#[test]
fn whole_schemas_parse_and_every_field_has_a_row() {
    seen::start();
    for (file, text) in WHOLE {
        let result = load(file, text);
        assert!(result.unparsable.is_none(), "{file}: {:?}", result.unparsable);
        assert!(result.rejected.is_empty(), "{file}: {:#?}", result.rejected);
        assert!(result.not_used.is_empty(), "{file}: {:?}", result.not_used);
        for object in &result.objects {
            let rowless: Vec<_> =
                object.unenforced.iter().filter(|field| field.issue == "unknown to this release").collect();
            assert!(rowless.is_empty(), "{file}: without a row: {rowless:#?}");
        }
    }
    let missing: BTreeSet<String> =
        seen::missing().into_iter().filter(|field| !REFUSED.contains(&field.as_str())).collect();
    assert!(missing.is_empty(), "fields of the schemas that the fixtures leave out: {missing:#?}");
}

fn only(text: &str) -> Object {
    let mut result = load("a.yaml", text);
    assert!(result.rejected.is_empty(), "{:#?}", result.rejected);
    assert_eq!(result.objects.len(), 1);
    result.objects.remove(0)
}

fn mesh_object(kind: &str, spec: &str) -> Object {
    let group = if kind == "PeerAuthentication" { "security" } else { "networking" };
    only(&format!("apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n"))
}

#[test]
fn what_is_enforced_is_not_reported() {
    let cases = [
        (
            "VirtualService",
            "{hosts: [a], gateways: [mesh], exportTo: ['*'], http: [{name: n, match: [{uri: {prefix: /a}, statPrefix: x}], \
             route: [{destination: {host: a, subset: v1, port: {number: 80}}, weight: 1, headers: {request: {remove: [x]}}}], \
             headers: {response: {set: {a: b}}}, rewrite: {uri: /}, timeout: 1s, retries: {attempts: 1, perTryTimeout: 1s, retryOn: 5xx}}]}",
        ),
        (
            "DestinationRule",
            "{host: a, exportTo: ['.'], trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, connectionPool: {tcp: {connectTimeout: 1s}}}, \
             subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {simple: RANDOM}, \
             connectionPool: {tcp: {connectTimeout: 1s}}}}]}",
        ),
        (
            "Gateway",
            "{selector: {a: b}, servers: [{name: n, port: {number: 80, name: http, protocol: HTTP2}, hosts: ['*']}]}",
        ),
        (
            "ServiceEntry",
            "{hosts: [a.example], addresses: [10.1.1.1], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 81}], \
             location: MESH_INTERNAL, resolution: DNS, endpoints: [{address: b.example, ports: {http: 82}, labels: {a: b}, weight: 1, \
             locality: a/b, serviceAccount: c}], exportTo: ['~']}",
        ),
        ("PeerAuthentication", "{selector: {matchLabels: {a: b}}, mtls: {mode: STRICT}}"),
    ];
    for (kind, spec) in cases {
        let object = mesh_object(kind, spec);
        assert!(object.unenforced.is_empty(), "{kind}: {:#?}", object.unenforced);
        assert!(object.findings.is_empty() && !object.refuses_traffic, "{kind}: {:#?}", object.findings);
    }
}

#[test]
fn what_is_not_enforced_is_named_by_its_field() {
    let cases = include_str!("../../tests/fixtures/unenforced.txt");
    for case in cases.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (written, expected) = case.split_once(" |").expect("a separator");
        let (kind, spec) = written.split_once(' ').expect("a kind");
        let spec = spec
            .replace("ROUTE", "route: [{destination: {host: a}}]")
            .replace("SERVER", "{port: {number: 80, name: p, protocol: HTTP}, hosts: ['*']}");
        let object = mesh_object(kind, &spec);
        let mark = |field: &Unenforced| format!("{}{}", field.path, if field.restricts { "!" } else { "" });
        let found: Vec<String> = object.unenforced.iter().map(mark).collect();
        assert_eq!(found, expected.split_whitespace().collect::<Vec<_>>(), "{case}");
        assert_eq!(object.refuses_traffic, expected.contains('!'), "{case}");
        assert_eq!(object.findings.len(), found.len(), "{case}: {:#?}", object.findings);
    }
}

#[test]
fn a_part_of_an_object_can_be_refused_alone() {
    let gateway = mesh_object(
        "Gateway",
        "{selector: {a: b}, servers: [{port: {number: 80, name: p, protocol: HTTP}, hosts: ['*']}, \
         {port: {number: 443, name: q, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: c}}]}",
    );
    assert!(!gateway.refuses_under("spec.servers[0]"));
    assert!(gateway.refuses_under("spec.servers[1]"));
    assert!(!gateway.refuses_under("spec.servers[1"));
}

#[test]
fn policies_that_deny_are_said_to_deny_nothing() {
    for kind in ["AuthorizationPolicy", "RequestAuthentication"] {
        let object = only(&format!("apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: a}}\n"));
        assert!(needs_allow_unenforced(object.id.kind) && !object.refuses_traffic);
        assert!(object.findings[0].message.contains("not enforced yet"), "{:?}", object.findings);
    }
}

#[test]
fn mesh_settings_are_reported_with_their_line() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |\n    trustDomain: a\n    enableTracing: true\n";
    let object = only(text);
    let found: Vec<String> = object.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "warning: ConfigMap/default/istio: data.mesh: enableTracing: not enforced yet (tracing and telemetry): it has no effect (a.yaml:7)"
        ]
    );
}

#[test]
fn patterns() {
    let steps = [Step::Field("spec"), Step::Field("http"), Step::Index, Step::Field("mirrorPercent")];
    let cases = [
        ("spec.http[].mirrorPercent", true),
        ("spec.http[].mirror*", true),
        ("spec.http[].**", true),
        ("spec.**", true),
        ("spec.http.mirrorPercent", false),
        ("spec.http[].mirror", false),
        ("spec.http[]", false),
        ("spec.http[].mirrorPercent.value", false),
        ("spec.http[].mirrorPercent.**", true),
    ];
    for (pattern, expected) in cases {
        assert_eq!(matches(pattern, &steps), expected, "{pattern}");
    }
}
