//! Gateways: ports, hosts, merging of rules.

use super::{compile, listener, names, router, service, virtual_host};
use crate::{Kind, ResourceSet};

fn gateway(name: &str, servers: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec: {{selector: {{istio: front}}, servers: [{servers}]}}\n---\n"
    )
}

fn server(number: u16, hosts: &str) -> String {
    format!("{{port: {{number: {number}, name: p{number}, protocol: HTTP}}, hosts: [{hosts}]}}")
}

fn rule(namespace: &str, name: &str, hosts: &str, rest: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{hosts: [{hosts}], gateways: [default/g], http: [{rest}]}}\n---\n"
    )
}

fn set(parts: &[String]) -> std::sync::Arc<ResourceSet> {
    compile(&parts.concat(), &router("default", &[("istio", "front"), ("more", "labels")]))
}

const TO: &str = "route: [{destination: {host: web.default.svc.cluster.local}}]";

#[test]
fn a_port_is_open_and_answers_404_without_rules() {
    let set = set(&[gateway("g", &server(8080, "'*'"))]);
    let open = listener(&set, "0.0.0.0_8080");
    assert_eq!(open.bind_to_port.map(|bind| bind.value), Some(true));
    assert!(format!("{open:?}").contains("Gateway/default/g"));
    assert_eq!(names(&set, Kind::Routes), "http.8080");
    let black = virtual_host(&set, "http.8080/blackhole:8080");
    assert!(black.routes.is_empty());
}

#[test]
fn hosts_are_what_server_and_rule_agree_on() {
    let cases = [
        ("'*'", "a.com", "http.80/a.com:80"),
        ("'*.com'", "'*'", "http.80/*.com:80"),
        ("'*.com'", "a.com, b.org", "http.80/a.com:80"),
        ("'default/*'", "a.com", "http.80/a.com:80"),
        ("'./*'", "a.com", "http.80/a.com:80"),
        ("'other/*'", "a.com", "http.80/blackhole:80"),
    ];
    for (served, asked, wanted) in cases {
        let set = set(&[gateway("g", &server(80, served)), rule("default", "r", asked, &format!("{{{TO}}}"))]);
        assert_eq!(names(&set, Kind::VirtualHost), wanted, "{served} {asked}");
    }
}

#[test]
fn rules_for_one_host_merge_and_routes_for_everything_go_last() {
    let set = set(&[
        gateway("g", &server(80, "'*'")),
        rule(
            "default",
            "a",
            "a.com",
            &format!("{{name: a1, match: [{{uri: {{prefix: /a}}}}], {TO}}}, {{name: all, {TO}}}"),
        ),
        rule("default", "b", "a.com", &format!("{{name: b1, match: [{{uri: {{prefix: /b}}}}], {TO}}}")),
        rule(
            "default",
            "c",
            "a.com",
            &format!(
                "{{name: c1, match: [{{gateways: [mesh]}}], {TO}}}, {{name: c2, match: [{{gateways: [default/g], uri: {{exact: /c}}}}], {TO}}}"
            ),
        ),
        service("web", "{name: http, port: 8000}", "10.244.0.1"),
    ]);
    let host = virtual_host(&set, "http.80/a.com:80");
    let found: Vec<_> = host.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(found, ["a1", "b1", "c2", "all"]);
    assert!(format!("{:?}", host.routes[0]).contains("outbound|8000||web.default.svc.cluster.local"));
}

#[test]
fn servers_that_are_not_enforced_are_not_opened_and_others_are() {
    let tls = "{port: {number: 443, name: s, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: c}}";
    let redirect = "{port: {number: 81, name: r, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}";
    let set = set(&[gateway("g", &format!("{}, {tls}, {redirect}", server(80, "'*'")))]);
    assert_eq!(names(&set, Kind::Listener), "0.0.0.0_80");
}

#[test]
fn a_servers_port_is_one_of_the_gateways_service() {
    let text = format!(
        "{}{}",
        gateway("g", &server(80, "'*'")),
        service("front", "{name: http, port: 80, targetPort: 8080}", "10.244.0.1")
    );
    let scope = crate::Scope {
        addresses: "10.244.0.1".parse().into_iter().collect(),
        ..router("default", &[("istio", "front")])
    };
    assert_eq!(names(&compile(&text, &scope), Kind::Listener), "0.0.0.0_8080");
}
