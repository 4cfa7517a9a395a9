//! Which `VirtualService` and which `DestinationRule` a client gets.

use std::sync::Arc;

use super::{service, world};

fn virtual_service(namespace: &str, name: &str, host: &str, rest: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  hosts: ['{host}']\n  http: [{{route: [{{destination: {{host: x}}}}]}}]\n{rest}\n---\n"
    )
}

fn rule(namespace: &str, name: &str, host: &str, rest: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  host: '{host}'\n{rest}\n---\n"
    )
}

#[test]
fn the_most_specific_host_wins_then_the_group_then_age() {
    let host = "web.default.svc.cluster.local";
    let export = |to: &str| format!("  exportTo: [{to}]");
    let public = virtual_service("default", "b-public", "web", "");
    let cases: [(&str, Vec<String>, Option<&str>); 7] = [
        ("none", vec![], None),
        ("first by name", vec![public.clone(), virtual_service("default", "a", "web", "")], Some("default/a")),
        (
            "own before public",
            vec![public.clone(), virtual_service("default", "z", "web", &export("."))],
            Some("default/z"),
        ),
        (
            "named before public",
            vec![public.clone(), virtual_service("other", "z", host, &export("default, x"))],
            Some("other/z"),
        ),
        ("not visible", vec![virtual_service("other", "z", host, &export("."))], None),
        (
            "exact before wildcard",
            vec![public.clone(), virtual_service("default", "a", "*.default.svc.cluster.local", "")],
            Some("default/b-public"),
        ),
        (
            "longer before shorter wildcard",
            vec![
                virtual_service("default", "a", "*.cluster.local", ""),
                virtual_service("default", "b", "*.default.svc.cluster.local", ""),
            ],
            Some("default/b"),
        ),
    ];
    for (name, rules, wanted) in cases {
        let world = world(&rules.concat());
        let found = world.hosts().find(&"default".into(), &host.into());
        assert_eq!(found.map(|rule| rule.age.object.to_string()).as_deref(), wanted, "{name}");
    }
}

#[test]
fn rules_for_gateways_alone_do_not_count_in_the_mesh() {
    let world = world(&virtual_service("default", "edge", "web", "  gateways: [front]"));
    assert!(world.hosts().find(&"default".into(), &"web.default.svc.cluster.local".into()).is_none());
    assert_eq!(world.virtual_services().len(), 1);
}

const WEB: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{port: 80}]}\n---\n";
const HOST: &str = "web.shop.svc.cluster.local";

#[test]
fn rules_are_looked_for_at_the_client_then_the_service_then_the_root() {
    let client = rule("client", "c", HOST, "");
    let own = rule("shop", "s", "web", "");
    let root = rule("istio-system", "r", HOST, "");
    let wildcard = rule("client", "w", "*.svc.cluster.local", "");
    let cases: [(&str, Vec<&String>, Option<&str>); 5] = [
        ("client", vec![&client, &own, &root], Some("DestinationRule/client/c")),
        ("service", vec![&own, &root], Some("DestinationRule/shop/s")),
        ("root", vec![&root], Some("DestinationRule/istio-system/r")),
        ("none", vec![], None),
        ("the first step wins even by a wildcard", vec![&own, &wildcard], Some("DestinationRule/client/w")),
    ];
    for (name, rules, wanted) in cases {
        let text: String = std::iter::once(WEB).chain(rules.iter().map(|rule| rule.as_str())).collect();
        let world = world(&text);
        let key = world.service_for("client", &HOST.into()).expect("known").key.clone();
        let found = world.rule_for(&"client".into(), &world.services()[&key]);
        assert_eq!(found.map(|rule| &*rule.object), wanted, "{name}");
    }
}

#[test]
fn rules_of_one_host_merge_oldest_first() {
    let subsets = |name: &str, label: &str| {
        format!("  subsets: [{{name: {name}, labels: {{v: '{label}'}}}}, {{name: both, labels: {{v: '{label}'}}}}]")
    };
    let old = rule(
        "shop",
        "a",
        "web",
        &format!("{}\n  trafficPolicy: {{loadBalancer: {{simple: RANDOM}}}}", subsets("one", "1")),
    );
    let new = rule(
        "shop",
        "b",
        "web",
        &format!("{}\n  trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}}}", subsets("two", "2")),
    );
    let world = world(&format!("{WEB}{new}{old}"));
    let web = super::service_seen(&world, "shop", HOST).expect("known");
    let merged = world.rule_for(&"shop".into(), web).expect("a rule");
    let names: Vec<_> = merged.subsets.iter().map(|subset| &*subset.name).collect();
    assert_eq!(names, ["one", "both", "two"]);
    assert_eq!(merged.subset("both").and_then(|both| both.labels.get("v").cloned()).as_deref(), Some("1"));
    let balancer = merged.policy(None, 80).load_balancer;
    assert_eq!(balancer, Some(crate::destination_rule::LoadBalancer::Random));
}

#[test]
fn policies_go_from_subset_port_to_rule() {
    let text = rule(
        "default",
        "r",
        "web",
        "  trafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {connectTimeout: 1s}}}\n  subsets:\n  \
         - {name: plain, labels: {a: b}}\n  - {name: own, labels: {a: b}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}",
    );
    let world = world(&text);
    let rules = world.merged_rules().get(&("default".into(), "web.default.svc.cluster.local".into())).expect("merged");
    let policy = |name: Option<&str>| {
        let policy = rules[0].policy(name.and_then(|name| rules[0].subset(name)), 80);
        (
            format!("{:?}", policy.load_balancer.unwrap_or_default()),
            policy.connect_timeout.map(|timeout| timeout.as_secs()),
        )
    };
    assert_eq!(policy(None), ("Random".into(), Some(1)));
    assert_eq!(policy(Some("plain")), ("Random".into(), Some(1)));
    assert_eq!(policy(Some("own")), ("RoundRobin".into(), Some(1)));
}

#[test]
fn a_rule_that_is_not_enforced_is_marked() {
    let text = format!("{WEB}{}", rule("shop", "tls", "web", "  trafficPolicy: {tls: {mode: SIMPLE}}"));
    let world = world(&text);
    let web: Arc<str> = HOST.into();
    let key = world.service_for("shop", &web).expect("known").key.clone();
    let found = world.rule_for(&"shop".into(), &world.services()[&key]).expect("a rule");
    assert_eq!(found.refused_by.as_deref(), Some("DestinationRule/shop/tls"));
    assert!(service(&world, HOST).is_some());
}
