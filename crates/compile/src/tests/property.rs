//! The way does not matter: a compiler that followed random edits holds what a fresh one compiles.

use mizzen_world::{Labels, Objects, World};

use super::accepted::complaints;
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

/// One random object in YAML.
fn object(random: &mut Random) -> String {
    let (other, n) = (random.pick(NAMES), random.next(4));
    let (version, kind, spec) = match random.next(11) {
        0..5 => workloads(random, other, n),
        5..8 => traffic(random, other, n),
        _ => edges(random, n),
    };
    let name = if kind == "Gateway" { "front" } else { random.pick(NAMES) };
    let labels = format!("labels: {{app: {other}, version: v{n}, security.istio.io/tlsMode: istio}}");
    let namespace = random.pick(&["a", "b"]);
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}, {labels}}}\nspec: {{{spec}}}\n"
    )
}

/// API version, kind and spec of a Service or a Pod.
fn workloads(random: &mut Random, other: &str, n: usize) -> (&'static str, &'static str, String) {
    let (first, second) = (random.pick(&["http", "tcp", "x"]), random.pick(&["http", "tcp", "grpc"]));
    let (ip, ready) = (random.pick(&["None", "None", "10.96.1.1"]), random.pick(&["True", "False"]));
    match random.next(3) {
        0 => {
            let ports = format!("{{name: {first}, port: 8{n}}}, {{name: p, port: 90, appProtocol: {second}}}");
            ("v1", "Service", format!("selector: {{app: {other}}}, ports: [{ports}]"))
        }
        1 => {
            let ports = format!("{{name: http, port: 8{}}}", n % 2);
            ("v1", "Service", format!("clusterIP: {ip}, selector: {{app: {other}}}, ports: [{ports}]"))
        }
        _ => {
            let status = format!("podIP: 10.244.0.{n}, conditions: [{{type: Ready, status: '{ready}'}}]");
            let spec = format!("serviceAccountName: {other}, containers: [{{name: c}}]");
            ("v1", "Pod", format!("{spec}}}\nstatus: {{{status}"))
        }
    }
}

const EXPORTS: &[&str] = &["", "exportTo: ['.'], ", "exportTo: [a], "];

/// API version, kind and spec of a rule for traffic.
fn traffic(random: &mut Random, other: &str, n: usize) -> (&'static str, &'static str, String) {
    let export = random.pick(EXPORTS);
    if random.next(3) == 0 {
        let host = random.pick(&["web", "*.svc.cluster.local", "out.com"]);
        let policy = random.pick(&["", "tls: {mode: SIMPLE}", "loadBalancer: {simple: RANDOM}"]);
        let subsets = format!("{{name: s{n}, labels: {{version: v{n}}}}}");
        let spec = format!("{export}host: '{host}', trafficPolicy: {{{policy}}}, subsets: [{subsets}]");
        return ("networking.istio.io/v1", "DestinationRule", spec);
    }
    let host = random.pick(&["web", "api.a.svc.cluster.local", "*.svc.cluster.local", "out.com", "*.out.com", "web.b"]);
    let gateways = random.pick(&["mesh", "a/front", "mesh, a/front"]);
    let source = random.pick(&["", "sourceLabels: {app: web}, ", "sourceNamespace: a, "]);
    let matched = format!("{source}uri: {{prefix: /{n}}}");
    let to = format!("host: {other}{}", random.pick(&["", "", ", subset: s1", ", port: {number: 90}"]));
    let rule = format!("match: [{{{matched}}}], route: [{{destination: {{{to}}}}}]");
    let spec = format!("{export}hosts: ['{host}'], gateways: [{gateways}], http: [{{{rule}}}]");
    ("networking.istio.io/v1", "VirtualService", spec)
}

/// API version, kind and spec of what stands at the edge: policies, gateways, entries.
fn edges(random: &mut Random, n: usize) -> (&'static str, &'static str, String) {
    match random.next(3) {
        0 => {
            let selector = random.pick(&["", "selector: {matchLabels: {app: web}}, "]);
            let mode = random.pick(&["STRICT", "DISABLE"]);
            ("security.istio.io/v1", "PeerAuthentication", format!("{selector}mtls: {{mode: {mode}}}"))
        }
        1 => {
            let host = random.pick(&["*", "*.com", "b/*"]);
            let server = format!("port: {{number: 8{n}, name: h, protocol: HTTP}}, hosts: ['{host}']");
            ("networking.istio.io/v1", "Gateway", format!("selector: {{istio: front}}, servers: [{{{server}}}]"))
        }
        _ => {
            let export = random.pick(EXPORTS);
            let host = random.pick(&["out.com", "in.out.com", "web.b", "web"]);
            let (address, resolution) = random
                .pick(&[
                    "/NONE",
                    "10.1.1.1/NONE",
                    "10.2.0.0-16/NONE",
                    "/DNS, endpoints: [{address: real.com}]",
                    "10.1.1.1/DNS, endpoints: [{address: real.com}]",
                ])
                .split_once('/')
                .expect("two parts");
            let ports = format!("{{number: 8{n}, name: p, protocol: {}}}", random.pick(&["HTTP", "TCP", "TLS"]));
            let addresses = address.replace('-', "/");
            let spec = format!(
                "{export}hosts: [{host}], addresses: [{addresses}], ports: [{ports}], resolution: {resolution}"
            );
            ("networking.istio.io/v1", "ServiceEntry", spec)
        }
    }
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
                if scope.capabilities == MIZZEN {
                    assert_eq!(complaints(&followed), Vec::<String>::new(), "{context}");
                }
            }
            compiler.sweep();
        }
    }
}
