//! Whole files: what becomes an object, what is refused, what is left aside.

use super::{FILE_BYTES_MAX, load};
use crate::{Kind, Object, Spec};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n";

fn ids(text: &str) -> Vec<String> {
    load("a.yaml", text).objects.iter().map(|object| object.id.to_string()).collect()
}

fn errors(text: &str) -> Vec<String> {
    let result = load("a.yaml", text);
    result.rejected.iter().flat_map(|rejection| &rejection.findings).map(ToString::to_string).collect()
}

fn only(text: &str) -> Object {
    let mut result = load("a.yaml", text);
    assert_eq!((result.objects.len(), result.rejected.len()), (1, 0), "{:?}", result.rejected);
    result.objects.remove(0)
}

#[test]
fn documents_lists_and_namespaces() {
    let text = "kind: Namespace\napiVersion: v1\nmetadata: {name: shop}\n---\n---\napiVersion: v1\nkind: List\nitems:\n\
                - {apiVersion: v1, kind: ServiceAccount, metadata: {name: b, namespace: shop}}\n\
                - {apiVersion: apps/v1, kind: StatefulSet, metadata: {name: c}}\n---\n\
                apiVersion: v1\nkind: ServiceAccountList\nitems: [{metadata: {name: d}}]\n";
    assert_eq!(ids(text), ["Namespace/shop", "ServiceAccount/shop/b", "ServiceAccount/default/d"]);
    let result = load("a.yaml", text);
    let not_used: Vec<(&str, u32)> = result.not_used.iter().map(|entry| (entry.what.as_str(), entry.line)).collect();
    assert_eq!(not_used, [("apps/v1 StatefulSet", 10)]);
    assert_eq!(result.objects[1].origin.line, 9);
}

#[test]
fn what_the_server_writes_is_ignored() {
    let object = only(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  namespace: b\n  resourceVersion: \"17\"\n  uid: x\n  generation: 3\n  \
         creationTimestamp: \"2024-01-01T00:00:01Z\"\n  managedFields: [{manager: kubectl, operation: Apply, fieldsV1: {f:spec: {}}}]\n  \
         selfLink: /x\n  finalizers: [a]\n  ownerReferences: [{apiVersion: v1, kind: X, name: y, uid: z, controller: true}]\n\
         spec: {ports: [{port: 80, targetPort: 80}], clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ipFamilies: [IPv4], \
         ipFamilyPolicy: SingleStack, sessionAffinity: None}\nstatus: {loadBalancer: {}, any: [thing]}\n",
    );
    assert_eq!(object.meta.creation, Some(1_704_067_201));
    assert_eq!(object.meta.owner.as_ref().map(|owner| (owner.kind.as_str(), owner.name.as_str())), Some(("X", "y")));
    assert!(object.findings.is_empty(), "{:?}", object.findings);
}

#[test]
fn values_of_kubernetes_are_read_as_kubernetes_does() {
    let secret = only(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ntype: Opaque\ndata:\n  key: |\n    c2Vj\n    cmV0\nstringData: {other: text}\n",
    );
    let Spec::Secret(secret) = &secret.spec else { panic!("a Secret") };
    assert_eq!(secret.data["key"].0, b"secret");
    assert_eq!(secret.data["other"].0, b"text");
    assert!(!format!("{secret:?}").contains("text"), "a Secret's values are not printed");
    let deployment = only(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, creationTimestamp: null}\nspec:\n  selector: {matchLabels: {a: b}}\n  \
         template:\n    metadata: {creationTimestamp: null, labels: {a: b}}\n    spec:\n      containers:\n      - name: a\n        \
         resources: {limits: {cpu: 1, memory: 64Mi}}\n      volumes: [{name: v, secret: {secretName: a, defaultMode: 0400}}]\n",
    );
    let Spec::Deployment(spec) = &deployment.spec else { panic!("a Deployment") };
    let pod = spec.template.spec.as_ref().expect("a pod");
    let mode =
        pod.volumes.as_ref().and_then(|volumes| volumes[0].secret.as_ref()).and_then(|secret| secret.default_mode);
    assert_eq!(mode, Some(0o400));
}

#[test]
fn all_mistakes_of_an_object_are_named_at_once() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: b, lables: {x: y}}\nspec:\n  \
                hots: [a]\n  http:\n  - routes: []\n    timeout: 1s\n  - timeout: true\n";
    assert_eq!(
        errors(text),
        [
            "error: VirtualService/b/a: metadata.lables: unknown field `lables`; did you mean `labels`? (a.yaml:3)",
            "error: VirtualService/b/a: spec.hots: unknown field `hots`; did you mean `hosts`? (a.yaml:5)",
            "error: VirtualService/b/a: spec.http[0].routes: unknown field `routes`; did you mean `route`? (a.yaml:7)",
            "error: VirtualService/b/a: spec.http[1].timeout: expected a string, found `true` (a.yaml:9); for example: \"true\"",
        ]
    );
}

#[test]
fn one_bad_object_spoils_no_other() {
    let text = format!(
        "{SERVICE}---\n{}---\n{}",
        SERVICE.replace("name: a", "name: b").replace("80", "x"),
        SERVICE.replace("name: a", "name: c")
    );
    assert_eq!(ids(&text), ["Service/default/a", "Service/default/c"]);
    assert_eq!(
        load("a.yaml", &text).rejected[0].object.as_ref().map(ToString::to_string).as_deref(),
        Some("Service/default/b")
    );
}

#[test]
fn names_are_checked() {
    let cases = [
        ("", "metadata"),
        ("metadata: {}", "metadata.name"),
        ("metadata: {name: A}", "metadata.name"),
        ("metadata: {name: 1}", "metadata.name"),
        ("metadata: {name: a, namespace: b_c}", "metadata.namespace"),
        ("metadata: {name: a, labels: {x: 1}}", "metadata.labels.x"),
        ("metadata: {name: a, labels: {x: 'a b'}}", "metadata.labels.x"),
        ("metadata: [a]", "metadata"),
        ("metadata: {name: a}\nname: b", "name"),
    ];
    for (metadata, path) in cases {
        let text = format!("apiVersion: v1\nkind: ServiceAccount\n{metadata}\n");
        let result = load("a.yaml", &text);
        let paths: Vec<&str> = result
            .rejected
            .iter()
            .flat_map(|rejection| &rejection.findings)
            .map(|finding| finding.path.as_str())
            .collect();
        assert_eq!(paths, [path], "{metadata}");
    }
}

#[test]
fn duplicate_keys_keep_an_object_out() {
    let found = errors(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nautomountServiceAccountToken: true\nautomountServiceAccountToken: false\n",
    );
    assert_eq!(
        found,
        ["error: ServiceAccount/default/a: the key `automountServiceAccountToken` stands here twice (a.yaml:5)"]
    );
}

#[test]
fn what_is_not_ours_is_counted() {
    let cases = [
        ("services:\n  web: {image: x}\n", "no Kubernetes object"),
        ("apiVersion: v2\nname: chart\n", "no Kubernetes object"),
        ("- apiVersion: v1\n", "no Kubernetes object"),
        ("just a text with apiVersion\n", "no Kubernetes object"),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\n",
            "gateway.networking.k8s.io/v1 Gateway",
        ),
        ("apiVersion: networking.istio.io/v1\nkind: Sidecar\n", "networking.istio.io/v1 Sidecar"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: '{{ .Release.Name }}'}\n", "a template"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: {{ .Release.Name }}}\n", "a template"),
    ];
    for (text, what) in cases {
        let result = load("a.yaml", text);
        assert!(
            result.unparsable.is_none() && result.rejected.is_empty() && result.objects.is_empty(),
            "{text}: {result:?}"
        );
        assert_eq!(result.not_used.iter().map(|entry| entry.what.as_str()).collect::<Vec<_>>(), [what], "{text}");
    }
    let template = load("a.yaml", "apiVersion: v1\n{{- if .Values.x }}\nkind: Service\n{{- end }}\n");
    assert!(template.unparsable.is_some() && template.foreign.is_some());
}

#[test]
fn broken_and_oversized_and_blank_texts() {
    let broken = load("dir/a.yaml", "apiVersion: v1\nkind: [Service\nmetadata: {}\n");
    let finding = broken.unparsable.expect("no YAML").to_string();
    assert!(finding.starts_with("error: the file cannot be parsed: ") && finding.contains("(dir/a.yaml:"), "{finding}");
    assert!(broken.foreign.is_none());
    assert!(load("a.yaml", &" ".repeat(FILE_BYTES_MAX + 1)).unparsable.is_some());
    for (text, blank) in
        [("", true), (" \n\n", true), ("apiVer", true), ("a: 1", false), ("# gone", false), ("# gone\nx", false)]
    {
        assert_eq!(load("a.yaml", text).blank, blank, "{text:?}");
    }
    assert!(!load("a.yaml", "# apiVersion\n").blank);
}

#[test]
fn json_with_tabs() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ServiceAccount\",\n\t\"metadata\": {\n\t\t\"name\": \"a\",\n\t\t\"annotations\": {\"x\": \"\\u003ca\\t\\/b\\u003e\"}\n\t}\n}\n";
    let result = load("a.json", text);
    assert_eq!(result.objects.len(), 1, "{result:?}");
    let object = &result.objects[0];
    assert_eq!(object.meta.annotations["x"], "<a\t/b>");
    assert_eq!(object.line_of("metadata.name"), 5);
}

#[test]
fn a_comment_changes_positions_and_nothing_else() {
    let text = format!(
        "{SERVICE}---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a}}\nspec: {{rules: [{{}}]}}\n"
    );
    let before = load("a.yaml", &text).objects;
    let mut after = load("a.yaml", &format!("# why\n{text}")).objects;
    assert_eq!(before.len(), 2);
    for (before, after) in before.iter().zip(&mut after) {
        assert!(after.same_content(before));
        assert_eq!(after.line_of("spec"), before.line_of("spec") + 1);
        after.adopt(before);
        assert!(std::sync::Arc::ptr_eq(&after.meta, &before.meta));
    }
    assert_eq!(before[1].id.kind, Kind::AuthorizationPolicy);
}

#[test]
fn kinds_are_found_by_what_people_type() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_typed(&kind.as_str().to_uppercase()), Some(kind));
        assert_eq!(Kind::from_manifest(kind.api_versions()[0], kind.as_str()), Some(kind));
    }
    assert_eq!(Kind::from_typed("vs"), Some(Kind::VirtualService));
    assert_eq!(Kind::from_typed("gateways"), Some(Kind::Gateway));
    assert_eq!(Kind::from_typed("x"), None);
    assert_eq!(Kind::from_manifest("networking.istio.io/v2", "Gateway"), None);
}
