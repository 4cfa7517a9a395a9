//! The way does not matter: a compiler that followed random edits holds what a fresh one compiles.

use mizzen_world::{Labels, Objects, World};

use super::{ENVOY, MIZZEN, parse, router, sidecar};
use crate::{Compiler, Kind, ResourceSet, Scope};

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

const NAMES: &[&str] = &["web", "api", "db"];

fn object(random: &mut Random) -> String {
    let (namespace, name, other) = (random.pick(&["a", "b"]), random.pick(NAMES), random.pick(NAMES));
    let export = random.pick(&["", "exportTo: ['.'], ", "exportTo: [a], "]);
    let host = random.pick(&["web", "api.a.svc.cluster.local", "*.svc.cluster.local", "out.com", "*.out.com", "web.b"]);
    let n = random.next(4);
    let (version, kind, spec) = match random.next(11) {
        0 | 1 => (
            "v1",
            "Service",
            format!(
                "selector: {{app: {other}}}, ports: [{{name: {}, port: 8{n}}}, {{name: p, port: 90, appProtocol: {}}}]",
                random.pick(&["http", "tcp", "x"]),
                random.pick(&["http", "tcp", "grpc"])
            ),
        ),
        2 => (
            "v1",
            "Service",
            format!(
                "clusterIP: {}, selector: {{app: {other}}}, ports: [{{name: http, port: 80}}]",
                random.pick(&["None", "None", "10.96.1.1"])
            ),
        ),
        3 | 4 => (
            "v1",
            "Pod",
            format!(
                "serviceAccountName: {other}, containers: [{{name: c}}]}}\nstatus: {{podIP: 10.244.0.{n}, conditions: [{{type: Ready, status: '{}'}}]",
                random.pick(&["True", "False"])
            ),
        ),
        5 | 6 => (
            "networking.istio.io/v1",
            "VirtualService",
            format!(
                "{export}hosts: ['{host}'], gateways: [{}], http: [{{match: [{{{}uri: {{prefix: /{n}}}}}], route: [{{destination: {{host: {other}{}}}}}]}}]",
                random.pick(&["mesh", "a/front", "mesh, a/front"]),
                random.pick(&["", "sourceLabels: {app: web}, ", "sourceNamespace: a, "]),
                random.pick(&["", ", subset: s1", ", port: {number: 90}"])
            ),
        ),
        7 => (
            "networking.istio.io/v1",
            "DestinationRule",
            format!(
                "{export}host: '{}', trafficPolicy: {{{}}}, subsets: [{{name: s{n}, labels: {{version: v{n}}}}}]",
                random.pick(&["web", "*.svc.cluster.local", "out.com"]),
                random.pick(&["", "tls: {mode: SIMPLE}", "loadBalancer: {simple: RANDOM}"])
            ),
        ),
        8 => (
            "security.istio.io/v1",
            "PeerAuthentication",
            format!(
                "{}mtls: {{mode: {}}}",
                random.pick(&["", "selector: {matchLabels: {app: web}}, "]),
                random.pick(&["STRICT", "DISABLE"])
            ),
        ),
        9 => (
            "networking.istio.io/v1",
            "Gateway",
            format!(
                "selector: {{istio: front}}, servers: [{{port: {{number: 8{n}, name: h, protocol: HTTP}}, hosts: ['{}']}}]",
                random.pick(&["*", "*.com", "b/*"])
            ),
        ),
        _ => (
            "networking.istio.io/v1",
            "ServiceEntry",
            format!(
                "{export}hosts: [{}], addresses: [{}], ports: [{{number: 8{n}, name: p, protocol: {}}}], resolution: NONE",
                random.pick(&["out.com", "in.out.com", "web.b", "web"]),
                random.pick(&["", "10.1.1.1", "10.2.0.0/16"]),
                random.pick(&["HTTP", "TCP", "TLS"])
            ),
        ),
    };
    let name = if kind == "Gateway" { "front" } else { name };
    let labels = format!("labels: {{app: {other}, version: v{n}, security.istio.io/tlsMode: istio}}");
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}, {labels}}}\nspec: {{{spec}}}\n"
    )
}

fn config(random: &mut Random) -> String {
    let mesh =
        random.pick(&["trustDomain: td", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}", "accessLogFile: /dev/stdout"]);
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '{mesh}'}}\n"
    )
}

fn edit(random: &mut Random, objects: &mut Objects) {
    for _ in 0..=random.next(3) {
        if random.next(3) == 0 && !objects.is_empty() {
            let index = random.next(objects.len());
            let gone = objects.keys().nth(index).cloned();
            gone.map(|id| objects.remove(&id));
        } else {
            let text = if random.next(25) == 0 { config(random) } else { object(random) };
            for object in parse(&text) {
                objects.insert(object.id.clone(), object);
            }
        }
    }
}

fn scopes() -> Vec<Scope> {
    let labels: Labels = [("app", "web"), ("version", "v1")].into_iter().collect();
    vec![
        sidecar("a", "10.244.0.0"),
        Scope { labels: labels.clone(), ..sidecar("a", "10.244.0.1") },
        Scope { capabilities: ENVOY, ..sidecar("b", "10.244.0.2") },
        router("a", &[("istio", "front")]),
        Scope { capabilities: ENVOY, ..router("b", &[("istio", "front")]) },
    ]
}

fn assert_same(followed: &ResourceSet, fresh: &ResourceSet, context: &str) {
    let changes = ResourceSet::diff(followed, fresh);
    assert!(changes.is_empty(), "{context}: {changes:#?}");
}

/// No two virtual hosts of one configuration have a domain in common: a data plane would refuse all of it.
fn assert_domains_are_unique(set: &ResourceSet, context: &str) {
    let mut seen = std::collections::BTreeSet::new();
    for name in set.of(Kind::VirtualHost).keys() {
        let host = super::virtual_host(set, name);
        for domain in host.domains {
            let config = name.rsplit_once('/').map(|(config, _)| config.to_owned());
            assert!(seen.insert((config, domain.clone())), "{context}: {domain} twice, again in {name}");
        }
    }
}

#[test]
fn following_edits_gives_what_compiling_afresh_gives() {
    let scopes = scopes();
    assert_eq!(scopes[0].capabilities, MIZZEN);
    for seed in 1..=25 {
        let mut random = Random(seed * 0x9e37_79b9_7f4a);
        let mut objects = Objects::new();
        let mut world = World::default();
        let mut compiler = Compiler::new();
        for step in 1..=25 {
            edit(&mut random, &mut objects);
            world = world.update(step, &objects).0;
            let mut fresh = Compiler::new();
            let anew = World::new(step, &objects).0;
            for (index, scope) in scopes.iter().enumerate() {
                let context = format!("seed {seed}, step {step}, scope {index}");
                let followed = compiler.compile(&world, scope);
                assert_same(&followed, &fresh.compile(&anew, scope), &context);
                assert_domains_are_unique(&followed, &context);
            }
            compiler.sweep();
        }
    }
}
