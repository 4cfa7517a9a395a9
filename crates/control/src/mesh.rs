//! The thread that makes worlds and compiles them, for the scopes that somebody asks for.
//!
//! In: object sets from the sources, scopes from streams. Out: one feed of generations per scope, and a [`View`] of the
//! whole. It alone writes them; it waits for nobody but its inputs.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use mizzen_api::istio::MESH_CONFIG_NAME;
use mizzen_api::{Finding, Object, Severity, needs_allow_unenforced};
use mizzen_compile::{Compiler, ResourceSet, Scope};
use mizzen_sources::ObjectSet;
use mizzen_world::World;
use mizzen_xds::Generation;
use tokio::sync::{mpsc, oneshot, watch};

use crate::convert::next_generation;
use crate::run::Shared;
use crate::tracker::Published;

/// Orders that wait; then whoever gives one waits.
const ORDERS_MAX: usize = 256;

pub(crate) type Feed = watch::Receiver<Arc<Generation>>;

/// What there is, for those who show it.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// In force.
    pub(crate) objects: Arc<ObjectSet>,
    /// Of the sources, of the world, and of what is held back.
    pub(crate) findings: Vec<Finding>,
}

enum Order {
    /// The sources have a newer set.
    Look,
    Join(Scope, oneshot::Sender<Feed>),
}

/// Speaks to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Mesh {
    orders: mpsc::Sender<Order>,
    pub(crate) view: watch::Receiver<Arc<View>>,
}

impl Mesh {
    /// Starts the thread. The first world is compiled when this returns.
    pub(crate) fn start(
        sources: watch::Receiver<Arc<ObjectSet>>,
        shared: Arc<Shared>,
        allow_unenforced: bool,
    ) -> io::Result<(Self, tokio::task::JoinHandle<()>)> {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (publish, view) = watch::channel(Arc::default());
        let mut changes = sources.clone();
        // What is there now is looked at before the thread waits for orders.
        changes.mark_unchanged();
        let mut worker = Worker {
            sources,
            shared,
            allow_unenforced,
            view: publish,
            compiler: Compiler::new(),
            world: World::default(),
            scopes: HashMap::new(),
        };
        worker.look();
        std::thread::Builder::new().name("mesh".to_owned()).spawn(move || worker.run(inbox))?;
        let looks = orders.clone();
        let follow =
            tokio::spawn(
                async move { while changes.changed().await.is_ok() && looks.send(Order::Look).await.is_ok() {} },
            );
        Ok((Self { orders, view }, follow))
    }

    /// The feed of a scope. `None` if the thread is gone.
    pub(crate) async fn join(&self, scope: Scope) -> Option<Feed> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order::Join(scope, reply)).await.ok()?;
        answer.await.ok()
    }
}

/// What was last sent to a scope.
struct Current {
    set: Arc<ResourceSet>,
    generation: Arc<Generation>,
    feed: watch::Sender<Arc<Generation>>,
}

/// Results of one pass, by the generation that they follow and the set that they are of.
type Converted = HashMap<(*const Generation, *const ResourceSet), Arc<Generation>>;

struct Worker {
    sources: watch::Receiver<Arc<ObjectSet>>,
    shared: Arc<Shared>,
    allow_unenforced: bool,
    view: watch::Sender<Arc<View>>,
    compiler: Compiler,
    world: World,
    scopes: HashMap<Scope, Current>,
}

impl Worker {
    fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        while let Some(order) = inbox.blocking_recv() {
            match order {
                Order::Look => self.look(),
                Order::Join(scope, reply) => {
                    // Whoever asked may have left.
                    let _ = reply.send(self.join(scope));
                }
            }
        }
    }

    /// Takes over the newest objects.
    fn look(&mut self) {
        let seen = Instant::now();
        let objects = self.sources.borrow_and_update().clone();
        let before = self.view.borrow().objects.clone();
        if objects.generation <= self.world.generation() {
            return;
        }
        let mut findings = objects.findings.to_vec();
        let held_back: Vec<Finding> =
            if self.allow_unenforced { Vec::new() } else { unenforced_policies(&objects).collect() };
        if !held_back.is_empty() {
            tracing::error!(first = %held_back[0], "configuration held back");
            findings.extend(held_back);
            self.view.send_replace(Arc::new(View { objects: before, findings }));
            return;
        }
        let (world, of_world) = self.world.update(objects.generation, &objects.objects);
        self.world = world;
        findings.extend(of_world);
        findings.extend(self.other_trust_domain(&objects));
        self.view.send_replace(Arc::new(View { objects: objects.clone(), findings }));
        let published = published(&before, &objects);
        self.shared.track(|tracker| tracker.publish(published, seen, Instant::now()));
        self.send();
        tracing::info!(
            generation = objects.generation,
            scopes = self.scopes.len(),
            ms = seen.elapsed().as_secs_f64() * 1e3,
            "compiled"
        );
    }

    /// The authority goes on signing for the trust domain of the start.
    fn other_trust_domain(&self, objects: &ObjectSet) -> Option<Finding> {
        let (wanted, signed) = (&self.world.mesh().trust_domain, &self.shared.trust_domain);
        let mut maps = objects.of_kind(mizzen_api::Kind::ConfigMap);
        let object = maps.find(|map| &*map.id.name == MESH_CONFIG_NAME).filter(|_| wanted != signed)?;
        Some(Finding {
            severity: Severity::Error,
            object: Some(object.id.clone()),
            path: "data.mesh.trustDomain".to_owned(),
            file: object.origin.file.clone(),
            line: object.origin.line,
            message: format!("certificates are signed for {signed} until mizzend is started anew"),
            hint: None,
        })
    }

    /// Compiles and sends what each scope should hold now; forgets scopes that nobody follows.
    fn send(&mut self) {
        self.scopes.retain(|_, current| current.feed.receiver_count() > 0);
        let mut converted = Converted::new();
        // Addresses are keys of this pass, so nothing that was one may be freed before its end.
        let mut kept = Vec::new();
        let number = self.world.generation();
        for (scope, current) in &mut self.scopes {
            let set = self.compiler.compile(&self.world, scope);
            let key = (Arc::as_ptr(&current.generation), Arc::as_ptr(&set));
            let next = converted
                .entry(key)
                .or_insert_with(|| Arc::new(next_generation(&current.generation, &current.set, &set, number)));
            kept.push((std::mem::replace(&mut current.generation, next.clone()), set.clone()));
            current.set = set;
            current.feed.send_replace(current.generation.clone());
        }
        self.compiler.sweep();
    }

    fn join(&mut self, scope: Scope) -> Feed {
        if let Some(current) = self.scopes.get(&scope) {
            return current.feed.subscribe();
        }
        let set = self.compiler.compile(&self.world, &scope);
        let number = self.world.generation();
        // Next to a scope that has almost the same, almost everything is shared with it.
        let near = |other: &Scope| {
            (other.kind, &other.namespace, other.capabilities) == (scope.kind, &scope.namespace, scope.capabilities)
        };
        let like = self.scopes.iter().find(|(other, _)| near(other)).map(|(_, current)| current);
        let generation = Arc::new(match like {
            Some(like) => next_generation(&like.generation, &like.set, &set, number),
            None => next_generation(&Generation::empty(0), &ResourceSet::default(), &set, number),
        });
        let (feed, receiver) = watch::channel(generation.clone());
        self.scopes.insert(scope, Current { set, generation, feed });
        receiver
    }
}

/// What came between two sets, for people.
fn published(before: &ObjectSet, now: &ObjectSet) -> Published {
    let mut published = Published { generation: now.generation, ..Published::default() };
    if before.generation == 0 {
        // The first reading is no change.
        return published;
    }
    for changed in now.changes_since(before.generation).into_iter().flatten() {
        published.files.extend(changed.files.iter().filter(|file| !file.is_empty()).cloned());
        published.objects.extend(changed.objects.iter().map(ToString::to_string));
    }
    published.files.sort_unstable();
    published.files.dedup();
    published.objects.sort_unstable();
    published.objects.dedup();
    published
}

/// Objects that exist to deny, and that nothing here enforces yet.
pub(crate) fn unenforced_policies(set: &ObjectSet) -> impl Iterator<Item = Finding> {
    let policies = set.objects.values().filter(|object| needs_allow_unenforced(object.id.kind));
    policies.map(|object: &Arc<Object>| Finding {
        severity: Severity::Error,
        object: Some(object.id.clone()),
        path: String::new(),
        file: object.origin.file.clone(),
        line: object.origin.line,
        message: format!(
            "{} is not enforced yet, so nothing that was changed since is put in force; --allow-unenforced goes on without it",
            object.id.kind
        ),
        hint: None,
    })
}
