//! Updates: what changed is rebuilt, what did not keeps its identity, and the way to a world does not matter.

use std::sync::Arc;

use super::{objects, parse};
use crate::update::Objects;
use crate::world::World;

/// A small generator (xorshift); the seed is the test's.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.next(of.len())]
    }
}

const NAMESPACES: &[&str] = &["a", "b", "istio-system"];
const NAMES: &[&str] = &["web", "api", "db", "x"];

/// One random object in YAML.
fn object(random: &mut Random) -> String {
    let (namespace, name) = (random.pick(NAMESPACES), random.pick(NAMES));
    let other = random.pick(NAMES);
    let export = random.pick(&["", "exportTo: ['.'], ", "exportTo: ['*'], ", "exportTo: [a], "]);
    let n = random.next(5);
    let (kind, rest) = match random.next(9) {
        0 | 1 => (
            "v1 Service",
            format!(
                "spec: {{selector: {{app: {other}}}, ports: [{{name: {}, port: 8{n}}}]}}",
                random.pick(&["http", "tcp", "x"])
            ),
        ),
        2 => (
            "v1 Service",
            format!(
                "spec: {{clusterIP: {}, selector: {{app: {other}}}, ports: [{{port: 80}}]}}",
                random.pick(&["None", "10.96.1.1"])
            ),
        ),
        3 | 4 => (
            "v1 Pod",
            format!(
                "spec: {{containers: [{{name: c}}]}}\nstatus: {{podIP: 10.244.0.{n}, conditions: [{{type: Ready, status: '{}'}}]}}",
                random.pick(&["True", "False"])
            ),
        ),
        5 => (
            "networking.istio.io/v1 VirtualService",
            format!(
                "spec: {{{export}hosts: ['{}'], http: [{{match: [{{sourceLabels: {{l{n}: v}}}}], route: [{{destination: {{host: {other}, subset: s{n}}}}}]}}]}}",
                random.pick(&["web", "*.svc.cluster.local", "api.a.svc.cluster.local", "out.com"])
            ),
        ),
        6 => (
            "networking.istio.io/v1 DestinationRule",
            format!(
                "spec: {{{export}host: '{}', subsets: [{{name: s{n}, labels: {{app: web}}}}]}}",
                random.pick(&["web", "*.svc.cluster.local", "api"])
            ),
        ),
        7 => (
            "security.istio.io/v1 PeerAuthentication",
            format!(
                "spec: {{{}mtls: {{mode: {}}}}}",
                random.pick(&["", "selector: {matchLabels: {app: web}}, "]),
                random.pick(&["STRICT", "DISABLE", "UNSET"])
            ),
        ),
        _ => (
            "networking.istio.io/v1 ServiceEntry",
            format!(
                "spec: {{{export}hosts: [out.com, in{n}.com], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: {}}}",
                random.pick(&["NONE", "DNS", "STATIC, workloadSelector: {labels: {app: web}}"])
            ),
        ),
    };
    let (version, kind) = kind.split_once(' ').expect("two words");
    let labels =
        format!("labels: {{app: {other}, kubernetes.io/service-name: {other}, security.istio.io/tlsMode: istio}}");
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}, {labels}}}\n{rest}\n"
    )
}

fn slice(random: &mut Random) -> String {
    let (namespace, service, n) = (random.pick(&["a", "b"]), random.pick(NAMES), random.next(5));
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{n}, namespace: {namespace}, labels: {{kubernetes.io/service-name: {service}}}}}\n\
         addressType: IPv4\nports: [{{name: http, port: 80}}, {{name: '', port: 8080}}]\nendpoints: [{{addresses: [10.244.0.{n}], targetRef: {{kind: Pod, name: {service}}}}}]\n"
    )
}

fn edit(random: &mut Random, objects: &mut Objects) {
    for _ in 0..=random.next(3) {
        if random.next(3) == 0 && !objects.is_empty() {
            let index = random.next(objects.len());
            let gone = objects.keys().nth(index).cloned();
            gone.map(|id| objects.remove(&id));
        } else {
            let text = if random.next(8) == 0 { slice(random) } else { object(random) };
            for object in parse("random.yaml", &text) {
                objects.insert(object.id.clone(), object);
            }
        }
    }
}

/// Everything of a world that is derived, in one comparable text.
fn derived(world: &World) -> String {
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        world.services,
        world.endpoints,
        world.served,
        world.pods,
        world.pods_by_ip,
        world.hosts,
        world.merged_rules,
        world.virtual_services,
        world.source_keys,
        world.given
    )
}

#[test]
fn any_way_to_a_set_of_objects_gives_the_same_world() {
    for seed in 1..=25 {
        let mut random = Random(seed * 0x9e37_79b9);
        let mut objects = Objects::new();
        let mut world = World::default();
        for step in 0..25 {
            edit(&mut random, &mut objects);
            let (next, findings) = world.update(step, &objects);
            let (fresh, wanted) = World::new(step, &objects);
            assert_eq!(derived(&next), derived(&fresh), "seed {seed}, step {step}");
            assert_eq!(findings, wanted, "seed {seed}, step {step}");
            world = next;
        }
    }
}

const MESH: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {selector: {app: other}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {containers: [{name: c}]}
status: {podIP: 10.244.0.1}
";

#[test]
fn a_changed_pod_leaves_services_alone() {
    let before = World::new(1, &objects(MESH)).0;
    let mut changed = before.objects().clone();
    for pod in parse("mesh.yaml", &MESH.replace("podIP: 10.244.0.1", "podIP: 10.244.0.2")).split_off(2) {
        changed.insert(pod.id.clone(), pod);
    }
    let (after, _) = before.update(2, &changed);
    assert!(before.services().ptr_eq(after.services()), "the very same map");
    let different: Vec<_> = before
        .endpoints()
        .keys()
        .filter(|key| !Arc::ptr_eq(&before.endpoints()[*key], &after.endpoints()[*key]))
        .collect();
    assert_eq!(different.len(), 1, "{different:?}");
    let peers = |world: &World| world.endpoints()[different[0]].peers.clone();
    assert!(Arc::ptr_eq(&peers(&before), &peers(&after)), "nothing that a client's TLS depends on");
}

#[test]
fn a_comment_changes_nothing() {
    let before = World::new(1, &objects(MESH)).0;
    let commented = MESH.replace("kind: Service", "# a comment\nkind: Service");
    let (after, _) = before.update(2, &objects(&commented));
    assert!(before.services().ptr_eq(after.services()));
    assert!(before.endpoints().ptr_eq(after.endpoints()));
    assert!(before.pods().ptr_eq(after.pods()));
    assert_eq!(after.generation(), 2);
}

#[test]
fn mesh_settings_reach_everything() {
    let before = World::new(1, &objects(MESH)).0;
    let config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'trustDomain: td'}\n";
    let (after, _) = before.update(2, &objects(&format!("{MESH}{config}")));
    let identity = |world: &World| world.pods().values().next().and_then(|pod| pod.workload.identity.clone());
    assert_eq!(identity(&before).as_deref(), Some("spiffe://cluster.local/ns/default/sa/default"));
    assert_eq!(identity(&after).as_deref(), Some("spiffe://td/ns/default/sa/default"));
}
