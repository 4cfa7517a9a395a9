//! From YAML to what runs.

use std::path::PathBuf;

use super::*;

/// Programs that exist: everything under these names.
const PROGRAMS: &[&str] = &["/mesh/bin/web", "/usr/bin/python3", "/opt/mizzen/productpage"];

fn objects(text: &str) -> Objects {
    let loaded = mizzen_api::load("app.yaml", text);
    let rejected: Vec<String> =
        loaded.rejected.iter().flat_map(|rejection| &rejection.findings).map(ToString::to_string).collect();
    assert!(rejected.is_empty() && loaded.unparsable.is_none(), "{rejected:?} {:?}", loaded.unparsable);
    loaded.objects.into_iter().map(|object| (object.id.clone(), Arc::new(object))).collect()
}

fn plan_of(text: &str, publish: &[&str]) -> Plan {
    let directories = [PathBuf::from("/usr/bin"), PathBuf::from("/opt/mizzen")];
    let programs = Programs {
        directories: &directories,
        is_program: &|path| PROGRAMS.iter().any(|program| path == Path::new(program)),
        is_directory: &|path| path == Path::new("/mesh/www"),
    };
    let publish: Vec<Publish> = publish.iter().map(|text| text.parse().expect("well-formed")).collect();
    let inherited = BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]);
    let context =
        Context { directory: Path::new("/mesh"), programs: &programs, publish: &publish, inherited: &inherited };
    plan(&objects(text), &context)
}

/// A Deployment `default/web` whose pod template has these annotations and this container.
fn deployment(annotations: &str, container: &str) -> String {
    let indented = format!("          {}\n", container.replace('\n', "\n          "));
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  \
         template:\n    metadata:\n      labels: {{app: web, version: v1}}\n      annotations: {{{annotations}}}\n    \
         spec:\n      serviceAccountName: shop\n      containers:\n        - name: web\n{indented}"
    )
}

fn only_container(plan: &Plan) -> &Container {
    assert!(plan.broken.is_empty(), "{:?}", plan.broken);
    let workload = plan.workloads.values().next().expect("one workload");
    &workload.template.containers[0]
}

fn facts() -> PodFacts {
    let ipv4 = Ipv4Addr::new(10, 244, 1, 2);
    PodFacts { name: "web-1".into(), ipv4, ipv6: ipv6_of(ipv4), host_ip: Ipv4Addr::new(10, 244, 0, 1) }
}

#[test]
fn which_program_runs() {
    let cases = [
        // A bare name beside the YAML is not found in a subdirectory; a path is relative to the YAML.
        ("", "command: [bin/web, --port, '80']", Ok("/mesh/bin/web --port 80")),
        ("", "command: [python3]\nargs: [-m, http.server]", Ok("/usr/bin/python3 -m http.server")),
        ("", "command: [productpage]", Ok("/opt/mizzen/productpage")),
        ("mizzen.io/local-command: \"python3 -c 'a b'\"", "command: [/app]\nargs: [x]", Ok("/usr/bin/python3 -c a b")),
        ("mizzen.io/local-command.web: bin/web, mizzen.io/local-command: no", "image: x", Ok("/mesh/bin/web")),
        ("", "image: nginx:1.27", Err("has only an image (nginx:1.27)")),
        ("", "image: nginx:1.27\nargs: [-v]", Err("has only an image")),
        ("", "command: [/app/server]", Err("no program `/app/server`")),
        ("mizzen.io/local-command: \"'\"", "image: x", Err("missing closing quote")),
        ("mizzen.io/local-command: ''", "image: x", Err("empty command")),
    ];
    for (annotations, container, wanted) in cases {
        let plan = plan_of(&deployment(annotations, container), &[]);
        match wanted {
            Ok(line) => {
                let run = only_container(&plan).invocation(&facts());
                let words: Vec<String> =
                    std::iter::once(run.program.display().to_string()).chain(run.arguments).collect();
                assert_eq!(words.join(" "), line);
            }
            Err(words) => {
                let finding = plan.broken.values().next().expect("broken").to_string();
                assert!(finding.contains(words) && finding.contains("app.yaml:"), "{finding}");
            }
        }
    }
}

#[test]
fn an_image_alone_shows_the_line_to_paste() {
    let plan = plan_of(&deployment("", "image: nginx"), &[]);
    let hint = plan.broken.values().next().and_then(|finding| finding.hint.clone()).expect("a hint");
    assert!(hint.starts_with("mizzen.io/local-command.web: "), "{hint}");
}

const DATA: &str = "
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {mode: fast, port: '8080'}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: s3cret}
";

#[test]
fn environment_comes_from_everywhere() {
    let container = "command: [bin/web, '$(mode)', '$(MISSING)', '$$(mode)']
envFrom:
  - configMapRef: {name: settings}
  - secretRef: {name: keys}
    prefix: KEY_
  - configMapRef: {name: none, optional: true}
env:
  - {name: A, value: plain}
  - {name: B, value: '$(A)-$(POD)'}
  - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  - {name: C, value: '$(POD):$(PORT)'}
  - {name: PORT, valueFrom: {configMapKeyRef: {name: settings, key: port}}}
  - {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
  - {name: GONE, valueFrom: {secretKeyRef: {name: keys, key: gone, optional: true}}}
  - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: APP, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}
  - {name: SA, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}";
    let plan = plan_of(&(deployment("", container) + DATA), &[]);
    let run = only_container(&plan).invocation(&facts());
    assert_eq!(run.arguments, ["fast", "$(MISSING)", "$(mode)"]);
    let wanted = [
        ("A", "plain"),
        ("APP", "web"),
        ("B", "plain-$(POD)"),
        ("C", "web-1:$(PORT)"),
        ("HOSTNAME", "web-1"),
        ("IP", "10.244.1.2"),
        ("KEY_token", "s3cret"),
        ("PATH", "/usr/bin"),
        ("POD", "web-1"),
        ("PORT", "8080"),
        ("SA", "shop"),
        ("TOKEN", "s3cret"),
        ("mode", "fast"),
        ("port", "8080"),
    ];
    let seen: Vec<(&str, &str)> = run.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(seen, wanted);
    assert!(!format!("{plan:?}").is_empty());
}

#[test]
fn what_a_container_lacks_is_named_by_field() {
    let cases = [
        ("env: [{name: A, valueFrom: {secretKeyRef: {name: keys, key: x}}}]", "no key `x` in Secret/default/keys"),
        ("env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.phase}}}]", "`status.phase` is no field"),
        ("env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]", "expected fieldRef"),
        ("envFrom: [{secretRef: {name: gone}}]", "no Secret/default/gone"),
        ("volumeMounts: [{name: v, mountPath: /etc/v}]", "no volume `v`"),
        ("workingDir: /nowhere", "no directory /nowhere"),
        ("readinessProbe: {httpGet: {port: http}}", "expected a port number"),
    ];
    for (field, wanted) in cases {
        let plan = plan_of(&(deployment("", &format!("command: [bin/web]\n{field}")) + DATA), &[]);
        let finding = plan.broken.values().next().map(ToString::to_string).unwrap_or_default();
        assert!(finding.contains(wanted) && finding.contains("spec.template.spec.containers[0]"), "{field}: {finding}");
    }
}

#[test]
fn files_of_config_maps_and_secrets() {
    let container = "command: [bin/web]
volumeMounts:
  - {name: settings, mountPath: /etc/settings}
  - {name: keys, mountPath: /etc/token, subPath: token}
  - {name: scratch, mountPath: /scratch}
  - {name: disk, mountPath: /disk}";
    let volumes = "      volumes:
        - {name: settings, configMap: {name: settings, items: [{key: mode, path: conf.d/mode, mode: 256}]}}
        - {name: keys, secret: {secretName: keys, defaultMode: 384}}
        - {name: scratch, emptyDir: {}}
        - {name: disk, persistentVolumeClaim: {claimName: disk}}\n";
    let plan = plan_of(&(deployment("", container) + volumes + DATA), &[]);
    let mounts: Vec<String> = only_container(&plan)
        .mounts
        .iter()
        .map(|mount| format!("{} {:?}", mount.path.display(), mount.files))
        .collect();
    let wanted = ["/etc/settings [conf.d/mode (4 bytes, 400)]", "/etc/token [ (6 bytes, 600)]", "/scratch []"];
    assert_eq!(mounts, wanted);
    assert!(plan.notes.iter().any(|note| note.path == "spec.template.spec.volumes[3]"), "{:?}", plan.notes);
}

#[test]
fn when_a_container_is_ready() {
    let check = |fields: &str| {
        let plan = plan_of(&deployment("", &format!("command: [bin/web]\n{fields}")), &[]);
        only_container(&plan).probe.clone()
    };
    let http = check(
        "ports: [{name: http, containerPort: 9080}]\nreadinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 2}",
    );
    let wanted = Check::Http { host: "127.0.0.1".into(), port: 9080, path: "/health".into(), headers: Vec::new() };
    assert_eq!((http.check, http.period), (wanted, Duration::from_secs(2)));
    let cases = [
        ("", Check::Running),
        ("ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]", Check::Listening(vec![80])),
        ("readinessProbe: {tcpSocket: {port: 80}}", Check::Tcp { host: "127.0.0.1".into(), port: 80 }),
        ("readinessProbe: {exec: {command: [test, -e, x]}}", Check::Exec(vec!["test".into(), "-e".into(), "x".into()])),
    ];
    for (fields, wanted) in cases {
        assert_eq!(check(fields).check, wanted, "{fields}");
    }
}

#[test]
fn who_has_a_proxy() {
    let role = |annotations: &str, namespace: &str| {
        let plan = plan_of(&(deployment(annotations, "command: [bin/web]") + namespace), &[]);
        plan.workloads.values().next().expect("one workload").template.role.clone()
    };
    let off =
        "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {istio-injection: disabled}}\n";
    let router = Role::Router { ports: BTreeSet::new() };
    let cases = [
        ("", "", Role::Sidecar),
        ("sidecar.istio.io/inject: 'false'", "", Role::Bare),
        ("", off, Role::Bare),
        ("sidecar.istio.io/inject: 'true'", off, Role::Sidecar),
        ("inject.istio.io/templates: gateway", "", router),
    ];
    for (annotations, namespace, wanted) in cases {
        assert_eq!(role(annotations, namespace), wanted, "{annotations} {namespace}");
    }
}

fn gateway(name: &str, selector: &str, servers: &str) -> String {
    format!(
        "\n---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  \
         selector: {{{selector}}}\n  servers: [{servers}]\n"
    )
}

const HTTP: &str = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}";

#[test]
fn a_gateway_that_nobody_serves_gets_a_workload() {
    let second =
        gateway("admin", "istio: ingressgateway", "{port: {number: 8081, name: http, protocol: HTTP}, hosts: ['*']}");
    let plan = plan_of(&(gateway("web", "istio: ingressgateway", HTTP) + &second), &[]);
    let (name, workload) = plan.workloads.iter().next().expect("one workload");
    assert_eq!((name.to_string().as_str(), plan.workloads.len()), ("istio-system/istio-ingressgateway", 1));
    assert_eq!(workload.template.role, Role::Router { ports: BTreeSet::from([80, 8081]) });
    let published: Vec<String> = plan.published.iter().map(|at| format!("{} {}", at.host, at.port)).collect();
    assert_eq!(published, ["127.0.0.1:8080 80", "127.0.0.1:8081 8081"]);
}

#[test]
fn a_gateway_workload_of_the_user_is_taken() {
    let own = deployment("inject.istio.io/templates: gateway", "image: auto");
    let plan = plan_of(&(own + &gateway("web", "app: web", HTTP)), &["9080:80"]);
    assert_eq!(plan.workloads.len(), 1);
    assert_eq!(
        plan.workloads[&Name::new("default", "web")].template.role,
        Role::Router { ports: BTreeSet::from([80]) }
    );
    assert_eq!(plan.published[0].host.to_string(), "127.0.0.1:9080");
}

#[test]
fn two_gateways_cannot_share_a_port_of_this_machine() {
    let plan = plan_of(&(gateway("one", "istio: one", HTTP) + &gateway("two", "istio: two", HTTP)), &[]);
    assert_eq!((plan.workloads.len(), plan.published.len()), (2, 1));
    let note = plan.notes.iter().map(ToString::to_string).find(|note| note.contains("not published")).expect("a note");
    assert!(note.contains("--publish"), "{note}");
    let plan =
        plan_of(&(gateway("one", "istio: one", HTTP) + &gateway("two", "istio: two", HTTP)), &["8080:80", "9080:80"]);
    assert_eq!(plan.published.len(), 2);
}

#[test]
fn a_revision_is_what_a_replica_depends_on() {
    let of = |text: String| plan_of(&text, &[]).workloads[&Name::new("default", "web")].revision;
    let first = of(deployment("", "command: [bin/web]"));
    assert_eq!(first, of(format!("# moved\n\n{}", deployment("", "command: [bin/web]"))));
    assert_ne!(first, of(deployment("", "command: [bin/web, -v]")));
    assert_ne!(first, of(deployment("", "command: [bin/web]\nenv: [{name: A, value: b}]")));
}

#[test]
fn addresses_are_stable_and_never_shared() {
    let free = |_| false;
    let first = ipv4_of("default/web", 0, free).expect("there is room");
    assert_eq!(ipv4_of("default/web", 0, free), Some(first));
    assert_eq!(first.octets()[..2], [10, 244]);
    let second = ipv4_of("default/web", 0, |address| address == first).expect("there is room");
    assert_ne!(first, second);
    assert_eq!(ipv4_of("default/web", 0, |_| true), None);
    let mut seen = BTreeSet::new();
    while let Some(address) = ipv4_of("default/web", 0, |address| seen.contains(&address)) {
        seen.insert(address);
        if seen.len() == 300 {
            break;
        }
    }
    assert_eq!(seen.len(), 300);
    let lab = [[0, 0], [0, 1], [255, 254], [255, 255]].map(|[high, low]| Ipv4Addr::new(10, 244, high, low));
    let last = ipv4_of("x", 0, |address| !lab.contains(&address) && address != Ipv4Addr::new(10, 244, 0, 2));
    assert_eq!(last, Some(Ipv4Addr::new(10, 244, 0, 2)));
    assert_eq!(ipv6_of(Ipv4Addr::new(10, 244, 3, 4)).to_string(), "fd77:6d7a::3:4");
}
