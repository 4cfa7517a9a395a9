//! From one generation to the next: only what changed is rebuilt, and what is rebuilt equal keeps its identity.
//!
//! The stages run in the order of dependence; each notes for the later ones what it changed.
//!
//! ```text
//!  mesh ─► policies, nodes ─► pods ─► services ─► endpoints
//!  mesh ─► virtual services, destination rules, gateways          then: findings
//! ```

mod endpoints;
mod pods;
mod rules;
mod services;

pub(crate) use services::Declared;

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use mizzen_api::istio::{MESH_CONFIG_NAME, MeshConfig};
use mizzen_api::{Finding, Kind, Object, ObjectId, Spec};

use crate::check::findings;
use crate::name::NsName;
use crate::service::ServiceKey;
use crate::source::mesh_settings;
use crate::workload::Pod;
use crate::world::{LabelKey, World};

/// The set of objects that a world is built from.
pub type Objects = OrdMap<ObjectId, Arc<Object>>;

impl World {
    /// The first generation.
    pub fn new(generation: u64, objects: &Objects) -> (World, Vec<Finding>) {
        World::default().update(generation, objects)
    }

    /// The world of `objects`, sharing with this one whatever is the same, and everything that is wrong between objects:
    /// references that lead nowhere, hosts claimed twice. What is wrong with one object alone, its source has said.
    ///
    /// Cost: a walk over the pointers of both object sets, then what changed.
    #[must_use]
    pub fn update(&self, generation: u64, objects: &Objects) -> (World, Vec<Finding>) {
        let mut world = self.clone();
        world.generation = generation;
        world.objects = objects.clone();
        let mut changes = Changes { ids: changed(&self.objects, objects), ..Changes::default() };
        if self.objects.is_empty() || changes.has(Kind::ConfigMap) {
            world.update_mesh(&mut changes, self);
        }
        world.update_pods(&mut changes, self);
        world.update_services(&mut changes, self);
        world.update_endpoints(&changes, self);
        world.update_rules(&changes, self);
        let findings = findings(&world);
        (world, findings)
    }

    /// Settings that changed may change anything, so that everything is built again.
    fn update_mesh(&mut self, changes: &mut Changes, old: &World) {
        let mesh = mesh_settings(mesh_config(&self.objects).as_deref());
        if mesh == *old.mesh {
            return;
        }
        self.mesh = Arc::new(mesh);
        let all = old.objects.keys().chain(self.objects.keys());
        changes.ids = all.cloned().collect::<BTreeSet<_>>().into_iter().collect();
    }
}

/// What the stages tell each other.
#[derive(Debug, Default)]
struct Changes {
    /// Objects that are new, gone or not the same, sorted.
    ids: Vec<ObjectId>,
    pods: Vec<PodChange>,
    services: BTreeSet<ServiceKey>,
}

/// A Pod before and after.
#[derive(Debug)]
struct PodChange {
    key: NsName,
    old: Option<Arc<Pod>>,
    new: Option<Arc<Pod>>,
}

impl PodChange {
    /// The labels it had or has.
    fn labels(&self) -> impl Iterator<Item = LabelKey> + '_ {
        [&self.old, &self.new].into_iter().flatten().flat_map(|pod| label_keys(pod))
    }
}

impl Changes {
    fn of(&self, kind: Kind) -> impl Iterator<Item = &ObjectId> {
        let start = self.ids.partition_point(|id| id.kind < kind);
        self.ids[start..].iter().take_while(move |id| id.kind == kind)
    }

    fn has(&self, kind: Kind) -> bool {
        self.of(kind).next().is_some()
    }
}

fn label_keys(pod: &Pod) -> impl Iterator<Item = LabelKey> + '_ {
    pod.workload.labels.iter().map(|(key, value)| (pod.key.namespace.clone(), key.clone(), value.clone()))
}

/// The ids under which the two sets do not hold the very same object.
fn changed(old: &Objects, new: &Objects) -> Vec<ObjectId> {
    let mut ids = Vec::new();
    let (mut left, mut right) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (None, None) => return ids,
            (Some((a, _)), Some((b, _))) if a == b => {
                let (id, before) = left.next().expect("peeked");
                let (_, after) = right.next().expect("peeked");
                if !Arc::ptr_eq(before, after) {
                    ids.push(id.clone());
                }
            }
            (Some((a, _)), other) if other.is_none_or(|(b, _)| a < b) => {
                ids.push((*a).clone());
                left.next();
            }
            _ => ids.extend(right.next().map(|(id, _)| id.clone())),
        }
    }
}

/// The mesh configuration in force: `ConfigMap/istio-system/istio`, else the first of that name.
fn mesh_config(objects: &Objects) -> Option<Arc<MeshConfig>> {
    let first = ObjectId { kind: Kind::ConfigMap, namespace: Arc::default(), name: Arc::default() };
    let maps = objects.range(first..).take_while(|(id, _)| id.kind == Kind::ConfigMap);
    let mut named =
        maps.filter(|(id, _)| &*id.name == MESH_CONFIG_NAME).filter_map(|(id, object)| match &object.spec {
            Spec::ConfigMap(map) => map.mesh.clone().map(|mesh| (id, mesh)),
            _ => None,
        });
    let first = named.next()?;
    let root = named.find(|(id, _)| &*id.namespace == "istio-system");
    Some(if &*first.0.namespace == "istio-system" { first.1 } else { root.unwrap_or(first).1 })
}
