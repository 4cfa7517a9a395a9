//! Rules to routes: matches, actions, headers, retries, what depends on the client.

use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteAction, VirtualHost};
use mizzen_world::Labels;

use super::{compile, names, service, sidecar, virtual_host};
use crate::{Kind, Scope};

/// The virtual host of `web` on port 80 with these rules for it, as a list of YAML flow values.
fn host(rules: &str) -> VirtualHost {
    host_for(rules, &sidecar("default", ""))
}

fn host_for(rules: &str, scope: &Scope) -> VirtualHost {
    let text = format!(
        "{}{}apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec:\n  hosts: [web]\n  gateways: [mesh, gw]\n  http:\n{rules}\n",
        service("web", "{name: http, port: 80}", "10.244.0.1"),
        service("api", "{name: http, port: 8080}", "10.244.0.2"),
    );
    virtual_host(&compile(&text, scope), "80/web.default.svc.cluster.local:80")
}

fn forward(route: &Route) -> &RouteAction {
    match &route.action {
        Some(Action::Route(action)) => action,
        other => panic!("{other:?}"),
    }
}

const TO: &str = "route: [{destination: {host: api}}]";

#[test]
fn every_condition_reaches_the_wire() {
    let cases = [
        ("uri: {exact: /a}", "Path(\"/a\")"),
        ("uri: {prefix: /a}", "Prefix(\"/a\")"),
        ("uri: {regex: /a.*}", "SafeRegex(RegexMatcher { regex: \"/a.*\""),
        ("uri: {prefix: /a}, ignoreUriCase: true", "case_sensitive: Some(BoolValue { value: false })"),
        ("method: {exact: GET}", "name: \":method\""),
        ("scheme: {exact: https}", "name: \":scheme\""),
        ("authority: {prefix: web}", "name: \":authority\""),
        ("headers: {X-A: {exact: b}}", "name: \"x-a\", invert_match: false"),
        ("headers: {x-a: {}}", "PresentMatch(true)"),
        ("headers: {x-a: {prefix: b}}", "Prefix(\"b\")"),
        ("headers: {x-a: {regex: b+}}", "regex: \"b+\""),
        ("withoutHeaders: {x-a: {exact: b}}", "invert_match: true, treat_missing_header_as_empty: true"),
        (
            "withoutHeaders: {x-a: {}}",
            "invert_match: true, treat_missing_header_as_empty: false, header_match_specifier: Some(PresentMatch(true))",
        ),
        ("queryParams: {q: {exact: b}}", "QueryParameterMatcher { name: \"q\""),
    ];
    for (condition, part) in cases {
        let host = host(&format!("  - {{match: [{{{condition}}}], {TO}}}"));
        let text = format!("{:?}", host.routes[0].r#match);
        assert!(text.contains(part), "{condition}: {text}");
    }
}

#[test]
fn what_only_the_control_plane_knows_is_decided_here() {
    let client = Scope { labels: [("app", "shop")].into_iter().collect::<Labels>(), ..sidecar("default", "") };
    let cases = [
        ("port: 80", true),
        ("port: 81", false),
        ("sourceLabels: {app: shop}", true),
        ("sourceLabels: {app: other}", false),
        ("sourceNamespace: default", true),
        ("sourceNamespace: other", false),
        ("gateways: [mesh]", true),
        ("gateways: [gw]", false),
        ("gateways: [mesh], sourceNamespace: other", true),
    ];
    for (condition, applies) in cases {
        let host = host_for(&format!("  - {{match: [{{{condition}}}], {TO}}}"), &client);
        assert_eq!(!host.routes.is_empty(), applies, "{condition}");
        let text = format!("{host:?}");
        assert!(!text.contains("shop") && !text.contains("sourceLabels"), "{condition}: {text}");
    }
}

#[test]
fn rules_keep_their_order_until_one_takes_everything() {
    let host = host(&format!(
        "  - {{name: first, match: [{{uri: {{prefix: /a}}}}, {{name: two, uri: {{exact: /b}}}}], {TO}}}\n  - {{name: all, {TO}}}\n  - {{name: never, {TO}}}"
    ));
    let found: Vec<_> = host.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(found, ["first", "first.two", "all"]);
    let text = format!("{:?}", host.routes[1].metadata);
    assert!(text.contains("spec.http[0].match[1]"), "{text}");
}

#[test]
fn destinations_name_clusters() {
    let cases = [
        ("{host: api}", "outbound|8080||api.default.svc.cluster.local"),
        ("{host: api, port: {number: 9}}", "BlackHoleCluster"),
        ("{host: api, subset: v1}", "outbound|8080|v1|api.default.svc.cluster.local"),
        ("{host: gone.com}", "BlackHoleCluster"),
    ];
    for (destination, cluster) in cases {
        let host = host(&format!("  - {{route: [{{destination: {destination}}}]}}"));
        let text = format!("{:?}", forward(&host.routes[0]).cluster_specifier);
        assert!(text.contains(&format!("Cluster(\"{cluster}\")")), "{destination}: {text}");
    }
}

#[test]
fn weights_drop_zero_and_headers_keep_their_levels() {
    let host = host(
        "  - headers: {request: {set: {x-r: '1', Host: route.com}, remove: [x-gone]}, response: {add: {x-s: '2'}}}\n    route:\n    \
         - {destination: {host: api}, weight: 3, headers: {request: {add: {x-d: '3', host: dest.com}}}}\n    \
         - {destination: {host: web}, weight: 1}\n    - {destination: {host: web, subset: no}, weight: 0}",
    );
    let route = &host.routes[0];
    assert_eq!(route.request_headers_to_remove, ["x-gone"]);
    let text = format!("{:?}", route.request_headers_to_add);
    assert!(
        text.contains("x-r") && text.contains("append_action: OverwriteIfExistsOrAdd") && !text.contains("route.com"),
        "{text}"
    );
    assert!(format!("{:?}", route.response_headers_to_add).contains("append_action: AppendIfExistsOrAdd"));
    let action = forward(route);
    assert!(format!("{:?}", action.host_rewrite_specifier).contains("route.com"), "the rule's authority wins");
    let text = format!("{:?}", action.cluster_specifier);
    assert!(text.contains("x-d") && !text.contains("dest.com") && !text.contains("|no|"), "{text}");
}

#[test]
fn the_only_destination_comes_after_its_rule() {
    let host = host(
        "  - {headers: {request: {set: {x: rule}}}, route: [{destination: {host: api}, headers: {request: {set: {x: dest}}}}]}",
    );
    let values: Vec<_> = host.routes[0]
        .request_headers_to_add
        .iter()
        .filter_map(|option| option.header.as_ref())
        .map(|header| header.value.as_str())
        .collect();
    assert_eq!(values, ["rule", "dest"], "the last one set wins");
}

/// What is written; attempts, conditions, status codes and number of host predicates.
type Retries<'a> = (&'a str, Option<(u32, &'a str, &'a [u32], usize)>);

#[test]
fn retries_have_istios_defaults() {
    let default = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
    let cases: [Retries<'_>; 5] = [
        ("", Some((2, default, &[], 1))),
        (", retries: {attempts: 0}", None),
        (", retries: {attempts: 5}", Some((5, default, &[], 1))),
        (
            ", retries: {attempts: 1, retryOn: '5xx,503,connect-failure'}",
            Some((1, "5xx,connect-failure,retriable-status-codes", &[503], 1)),
        ),
        (", retries: {attempts: 1, retryIgnorePreviousHosts: false}", Some((1, default, &[], 0))),
    ];
    for (written, wanted) in cases {
        let host = host(&format!("  - {{{TO}{written}}}"));
        let policy = forward(&host.routes[0]).retry_policy.clone();
        let found = policy.as_ref().map(|policy| {
            let attempts = policy.num_retries.map_or(0, |number| number.value);
            (
                attempts,
                policy.retry_on.as_str(),
                policy.retriable_status_codes.as_slice(),
                policy.retry_host_predicate.len(),
            )
        });
        assert_eq!(found, wanted, "{written}");
    }
}

#[test]
fn a_mesh_wide_policy_is_the_default() {
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'defaultHttpRetryPolicy: {attempts: 7}'}\n";
    let text = format!("{}{config}", service("web", "{name: http, port: 80}", "10.244.0.1"));
    let host = virtual_host(&compile(&text, &sidecar("default", "")), "80/web.default.svc.cluster.local:80");
    assert_eq!(
        forward(&host.routes[0]).retry_policy.as_ref().and_then(|policy| policy.num_retries).map(|number| number.value),
        Some(7)
    );
}

#[test]
fn timeouts_and_rewrites() {
    let none = host(&format!("  - {{{TO}}}"));
    assert_eq!(forward(&none.routes[0]).timeout.map(|timeout| timeout.seconds), Some(0), "none, said explicitly");
    let some = host(&format!(
        "  - {{timeout: 1500ms, rewrite: {{uri: /b}}, match: [{{uri: {{prefix: /a}}}}, {{uri: {{regex: /c.*}}}}], {TO}}}"
    ));
    let first = forward(&some.routes[0]);
    assert_eq!(first.timeout.map(|timeout| (timeout.seconds, timeout.nanos)), Some((1, 500_000_000)));
    assert_eq!(first.prefix_rewrite, "/b");
    let second = forward(&some.routes[1]);
    assert!(format!("{:?}", second.regex_rewrite).contains("substitution: \"/b\""));
    let operation = |route: &Route| route.decorator.as_ref().map(|decorator| decorator.operation.clone());
    assert_eq!(operation(&some.routes[0]).as_deref(), Some("api.default.svc.cluster.local:8080/a*"));
}

#[test]
fn a_host_without_a_rule_has_one_default_route() {
    let host = virtual_host(
        &compile(&service("web", "{name: http, port: 80}", "10.244.0.1"), &sidecar("other", "")),
        "80/web.default.svc.cluster.local:80",
    );
    assert!(!host.domains.contains(&"web".to_owned()), "the bare name is its own namespace's");
    assert!(host.include_request_attempt_count);
    let [route] = &host.routes[..] else { panic!("{:?}", host.routes) };
    assert_eq!(route.name, "default");
    assert_eq!(
        route.decorator.as_ref().map(|decorator| &*decorator.operation),
        Some("web.default.svc.cluster.local:80/*")
    );
    assert!(forward(route).retry_policy.is_some());
}

#[test]
fn unknown_hosts_of_rules_are_routed_on_port_80() {
    let text = format!(
        "{}apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec: {{hosts: [out.com, '*.wild.com', '*.default.svc.cluster.local'], http: [{{{TO}}}]}}\n",
        service("api", "{name: http, port: 8080}", "10.244.0.2")
    );
    let set = compile(&text, &sidecar("default", ""));
    assert_eq!(
        names(&set, Kind::VirtualHost),
        "80/*.wild.com:80 80/allow_any 80/out.com:80 8080/allow_any 8080/api.default.svc.cluster.local:8080"
    );
    assert_eq!(names(&set, Kind::Listener), "0.0.0.0_80 0.0.0.0_8080 virtualInbound virtualOutbound");
    let covered = virtual_host(&set, "8080/api.default.svc.cluster.local:8080");
    assert!(
        format!("{:?}", covered.routes[0].metadata).contains("VirtualService/default/v"),
        "the pattern decides for it"
    );
}

#[test]
fn a_domain_stands_in_one_virtual_host_only() {
    let entry = |name: &str, host: &str, ip: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec: {{hosts: ['{host}'], addresses: [{ip}], \
             ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: NONE}}\n---\n"
        )
    };
    let headless = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: None, selector: {{app: web}}, ports: [{{name: http, port: 80}}]}}\n---\n"
        )
    };
    let text = [
        service("web", "{name: http, port: 80}", "10.244.0.1"),
        entry("short", "web.default", "10.1.1.1"),
        entry("bare", "web", "10.1.1.2"),
        entry("a", "a.com", "10.1.1.3"),
        entry("b", "b.com", "10.1.1.3"),
        headless("h1"),
        headless("h2"),
    ]
    .concat();
    let set = compile(&text, &sidecar("default", ""));
    let mut seen = std::collections::BTreeSet::new();
    for name in set.of(Kind::VirtualHost).keys() {
        for domain in virtual_host(&set, name).domains {
            assert!(seen.insert(domain.clone()), "{domain} stands twice");
        }
    }
    assert!(virtual_host(&set, "80/a.com:80").domains.contains(&"10.1.1.3".to_owned()));
    assert!(virtual_host(&set, "80/h1.default.svc.cluster.local:80").domains.contains(&"10.244.0.1".to_owned()));
    assert_eq!(virtual_host(&set, "80/web:80").domains[0], "web");
}
