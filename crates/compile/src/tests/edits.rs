//! A thousand services: what an edit costs, in compile calls, resources and bytes.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mizzen_world::World;

use super::{objects, parse, service, sidecar, virtual_host};
use crate::{Change, Compiler, Kind, ResourceSet, Scope, Stats};

const SERVICES: usize = 1000;
const ROUTED: usize = 100;

fn mesh() -> String {
    let mut text = String::new();
    for n in 0..SERVICES {
        write!(
            text,
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{n}}}\nspec: {{selector: {{app: s{n}}}, ports: [{{name: http, port: 80}}]}}\n---\n{}",
            slice(n, 0)
        )
        .expect("writing to a string");
    }
    for n in 0..ROUTED {
        text.push_str(&route(n, 80));
    }
    text
}

fn slice(n: usize, add: usize) -> String {
    let (a, b) = (n / 250, n % 250);
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{n}-x, labels: {{kubernetes.io/service-name: s{n}}}}}\n\
         addressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints: [{{addresses: [10.{a}.1.{}]}}, {{addresses: [10.{a}.2.{b}]}}, {{addresses: [10.{a}.3.{b}]}}]\n---\n",
        b + add
    )
}

fn route(n: usize, weight: u32) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{n}}}\nspec:\n  hosts: [s{n}]\n  http:\n  - route:\n    \
         - {{destination: {{host: s{n}}}, weight: {weight}}}\n    - {{destination: {{host: s{}}}, weight: {}}}\n---\n",
        n + 1,
        100 - weight
    )
}

struct Bench {
    world: World,
    compiler: Compiler,
    scopes: Vec<Scope>,
    sets: Vec<Arc<ResourceSet>>,
}

impl Bench {
    fn new(text: &str) -> Bench {
        let world = World::new(1, &objects(text)).0;
        let scopes = (0..100).map(|n| sidecar("default", &format!("10.200.0.{n}"))).collect();
        let mut bench = Bench { world, compiler: Compiler::new(), scopes, sets: Vec::new() };
        bench.sets = bench.compile();
        bench
    }

    fn compile(&mut self) -> Vec<Arc<ResourceSet>> {
        self.scopes.iter().map(|scope| self.compiler.compile(&self.world, scope)).collect()
    }

    /// Puts objects and compiles for all clients: what was compiled, and what the first client is sent.
    fn edit(&mut self, text: &str) -> (Stats, Vec<Change>) {
        let mut objects = self.world.objects().clone();
        for object in parse(text) {
            objects.insert(object.id.clone(), object);
        }
        let before = self.compiler.stats();
        self.world = self.world.update(self.world.generation() + 1, &objects).0;
        let sets = self.compile();
        let after = self.compiler.stats();
        let changes = ResourceSet::diff(&self.sets[0], &sets[0]);
        self.sets = sets;
        let done = Stats {
            calls: after.calls - before.calls,
            hits: after.hits - before.hits,
            resources: after.resources - before.resources,
            changed: after.changed - before.changed,
        };
        (done, changes)
    }
}

fn bytes(changes: &[Change]) -> usize {
    changes
        .iter()
        .map(|change| match change {
            Change::Put(resource) => resource.body.len(),
            Change::Remove(_, name) => name.len(),
        })
        .sum()
}

fn kinds(changes: &[Change]) -> Vec<Kind> {
    changes
        .iter()
        .map(|change| match change {
            Change::Put(resource) => resource.kind,
            Change::Remove(kind, _) => *kind,
        })
        .collect()
}

#[test]
fn an_edit_costs_what_it_changes() {
    let mut bench = Bench::new(&mesh());
    assert!(bench.sets.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])), "clients of one class share a set");
    let (stats, changes) = bench.edit(&route(7, 70));
    assert!(stats.calls <= 10, "{stats:?}");
    assert_eq!(kinds(&changes), [Kind::VirtualHost]);
    assert!(bytes(&changes) <= 4096, "{} bytes", bytes(&changes));
    let (stats, changes) = bench.edit(&slice(8, 3));
    assert!(stats.calls <= 10, "{stats:?}");
    assert_eq!(kinds(&changes), [Kind::Endpoints]);
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s9}\nspec: {selector: {app: s9}, ports: [{name: grpc, port: 80}]}\n";
    let (stats, changes) = bench.edit(service);
    assert!(stats.calls <= 10, "{stats:?}");
    assert!(kinds(&changes).contains(&Kind::Cluster) && bytes(&changes) <= 4096, "{changes:?}");
    let (stats, changes) = bench.edit(&route(7, 70));
    assert_eq!((stats.calls, changes.len()), (0, 0), "the same again");
}

#[test]
fn a_comment_compiles_and_sends_nothing() {
    let text = mesh();
    let mut bench = Bench::new(&text);
    let (stats, changes) = bench
        .edit(&format!("# a comment\n{}", text.replace("kind: VirtualService", "# one more\nkind: VirtualService")));
    assert_eq!((stats.calls, stats.changed, changes.len()), (0, 0, 0));
}

/// How long something takes: for printing, nothing is decided by it.
fn timed<T>(of: impl FnOnce() -> T) -> (T, Duration) {
    #[expect(clippy::disallowed_methods, reason = "a figure that is printed, no behaviour")]
    let start = Instant::now();
    let value = of();
    (value, start.elapsed())
}

#[test]
fn figures_of_a_thousand_services() {
    let text = mesh();
    let parsed = objects(&text);
    let (world, built) = timed(|| World::new(1, &parsed).0);
    let mut compiler = Compiler::new();
    let (set, cold) = timed(|| compiler.compile(&world, &sidecar("default", "10.200.0.1")));
    println!("world {built:?}, cold {cold:?}: {} resources, {:?}", set.len(), compiler.stats());
    assert!(set.len() > 4 * SERVICES);
    let mut bench = Bench::new(&text);
    for (name, edit) in [("route", route(7, 70)), ("endpoint", slice(8, 3))] {
        let ((stats, changes), time) = timed(|| bench.edit(&edit));
        println!("{name} edit for 100 clients {time:?}: {stats:?}, {} bytes", bytes(&changes));
        assert_eq!(changes.len(), 1);
    }
}

#[test]
fn a_rule_follows_the_port_of_its_destination() {
    let rule = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\n\
                spec: {hosts: [web], http: [{route: [{destination: {host: api}}]}]}\n";
    let web = service("web", "{name: http, port: 80}", "10.244.0.1");
    let api = |port: u16| service("api", &format!("{{name: http, port: {port}}}"), "10.244.0.2");
    let before = World::new(1, &objects(&format!("{web}{}{rule}", api(8080)))).0;
    let after = before.update(2, &objects(&format!("{web}{}{rule}", api(8081)))).0;
    let mut compiler = Compiler::new();
    for (world, port) in [(&before, 8080), (&after, 8081)] {
        let set = compiler.compile(world, &sidecar("default", ""));
        let host = virtual_host(&set, "80/web.default.svc.cluster.local:80");
        assert!(format!("{:?}", host.routes).contains(&format!("outbound|{port}||api.default.svc.cluster.local")));
    }
}

#[test]
fn what_nobody_asks_for_is_dropped() {
    let world = World::new(1, &objects(&service("web", "{name: http, port: 80}", "10.244.0.1"))).0;
    let mut compiler = Compiler::new();
    let first = compiler.compile(&world, &sidecar("a", ""));
    compiler.sweep();
    assert!(
        Arc::ptr_eq(&first, &compiler.compile(&world, &sidecar("a", ""))),
        "kept: it was asked for since the last sweep"
    );
    compiler.sweep();
    compiler.sweep();
    let again = compiler.compile(&world, &sidecar("a", ""));
    assert!(!Arc::ptr_eq(&first, &again) && first == again);
}
