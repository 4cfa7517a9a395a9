//! Composition of `PeerAuthentication`.

use super::world;
use crate::labels::Labels;
use crate::peer_auth::MtlsMode;

fn policy(namespace: &str, name: &str, created: u32, rest: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}, \
         creationTimestamp: '{created}-01-01T00:00:00Z'}}\nspec: {{{rest}}}\n---\n"
    )
}

#[test]
fn the_narrowest_policy_decides_and_of_one_level_the_oldest() {
    let mesh = policy("istio-system", "mesh", 2020, "mtls: {mode: STRICT}");
    let selecting = "selector: {matchLabels: {app: web}}";
    let cases: [(&str, Vec<String>, MtlsMode); 9] = [
        ("nothing", vec![], MtlsMode::Permissive),
        ("mesh", vec![mesh.clone()], MtlsMode::Strict),
        ("namespace over mesh", vec![mesh.clone(), policy("a", "n", 2020, "mtls: {mode: DISABLE}")], MtlsMode::Disable),
        ("unset inherits", vec![mesh.clone(), policy("a", "n", 2020, "mtls: {mode: UNSET}")], MtlsMode::Strict),
        ("no mtls inherits", vec![mesh.clone(), policy("a", "n", 2020, "")], MtlsMode::Strict),
        (
            "workload over namespace",
            vec![
                policy("a", "n", 2020, "mtls: {mode: DISABLE}"),
                policy("a", "w", 2020, &format!("{selecting}, mtls: {{mode: STRICT}}")),
            ],
            MtlsMode::Strict,
        ),
        (
            "the oldest of a level",
            vec![policy("a", "new", 2022, "mtls: {mode: DISABLE}"), policy("a", "old", 2021, "mtls: {mode: STRICT}")],
            MtlsMode::Strict,
        ),
        ("another namespace", vec![policy("b", "n", 2020, "mtls: {mode: STRICT}")], MtlsMode::Permissive),
        (
            "a selector in the root namespace is ignored",
            vec![policy("istio-system", "s", 2020, &format!("{selecting}, mtls: {{mode: STRICT}}"))],
            MtlsMode::Permissive,
        ),
    ];
    let labels: Labels = [("app", "web")].into_iter().collect();
    for (name, policies, wanted) in cases {
        let mtls = world(&policies.concat()).mtls_for("a", &labels);
        assert_eq!(mtls.mode, wanted, "{name}");
        assert!(mtls.refused_by.is_none(), "{name}");
    }
}

#[test]
fn what_is_not_enforced_refuses_the_workloads_it_selects() {
    let ports = "selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {'8080': {mode: STRICT}}";
    let world = world(&policy("a", "ports", 2020, ports));
    let refused = |app: &str| world.mtls_for("a", &[("app", app)].into_iter().collect()).refused_by;
    assert_eq!(refused("web").as_deref(), Some("PeerAuthentication/a/ports"));
    assert_eq!(refused("other"), None);
}
