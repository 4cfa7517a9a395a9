//! From a world and a scope to the resources of that scope, doing again only what changed.
//!
//! ```text
//!  Scope ──► OutboundKey ─► Outbound (kept) ─┐
//!        ├─► InboundView ─► memo ────────────┼─► ResourceSet, shared by all clients of equal halves
//!        └─► GatewayKey ──► GatewayHalf ─────┘
//! ```

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use mizzen_world::World;

use crate::gateway::{GatewayHalf, GatewayKey};
use crate::inbound::{build, inbound_view, own_targets};
use crate::listener::InboundView;
use crate::memo::{PointerHasher, Stats};
use crate::outbound::{Outbound, OutboundKey};
use crate::resource::{KINDS, ResourceSet};
use crate::scope::{ProxyKind, Scope};
use crate::tables::Tables;

type Map<K, V> = HashMap<K, V, BuildHasherDefault<PointerHasher>>;

/// Compiles worlds for scopes. One per process; feed it worlds in order of generation.
#[derive(Debug, Default)]
pub struct Compiler {
    tables: Tables,
    outbound: Map<OutboundKey, Kept<Outbound>>,
    gateways: Map<GatewayKey, Kept<GatewayHalf>>,
    sets: Map<SetKey, Kept<Joined>>,
}

/// Something kept, and whether it was asked for since the last sweep.
#[derive(Debug)]
struct Kept<T> {
    value: T,
    generation: Option<u64>,
    used: bool,
}

/// Clients with equal keys share one set. The inbound side is not in it: a set moves on with its workload's ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum SetKey {
    Sidecar(OutboundKey, InboundView),
    Router(OutboundKey, GatewayKey),
}

/// The outbound half with another half laid over it.
#[derive(Debug, Default)]
struct Joined {
    below: ResourceSet,
    above: ResourceSet,
    /// Both in one; out of date while `stale`.
    result: Arc<ResourceSet>,
    stale: bool,
}

impl Joined {
    fn put_above(&mut self, above: ResourceSet) {
        self.stale |= !self.above.same(&above);
        self.above = above;
    }

    fn put_below(&mut self, below: ResourceSet) {
        if !self.stale && self.below.same(&below) {
            return;
        }
        let mut result = below.clone();
        for kind in KINDS {
            for resource in self.above.of(kind).values() {
                result.put(resource);
            }
        }
        self.below = below;
        self.result = Arc::new(result);
        self.stale = false;
    }
}

impl Compiler {
    pub fn new() -> Compiler {
        Compiler::default()
    }

    /// Everything that a client of `scope` should hold in `world`. Calling again with the same world and an equal scope
    /// gives the same `Arc`.
    pub fn compile(&mut self, world: &World, scope: &Scope) -> Arc<ResourceSet> {
        let key = OutboundKey {
            kind: scope.kind,
            namespace: scope.namespace.clone(),
            labels: scope.labels.restricted_to(|label| world.source_keys().contains(label)),
            capabilities: scope.capabilities,
        };
        let outbound = self.outbound.entry(key.clone()).or_insert_with(|| Kept::new(Outbound::new(key.clone())));
        if outbound.use_for(world) {
            outbound.value.update(world, &mut self.tables);
        }
        let below = outbound.value.set.clone();
        let joined = match scope.kind {
            ProxyKind::Sidecar => self.sidecar(&inbound_view(world, scope), key),
            ProxyKind::Router => self.router(world, scope, key),
        };
        joined.used = true;
        joined.value.put_below(below);
        joined.value.result.clone()
    }

    /// Drops what nobody has asked for since the last sweep. Call it after the scopes of all clients were compiled.
    pub fn sweep(&mut self) {
        self.outbound.retain(|_, kept| kept.sweep());
        self.gateways.retain(|_, kept| kept.sweep());
        self.sets.retain(|_, kept| kept.sweep());
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.tables.stats
    }

    fn sidecar(&mut self, view: &InboundView, outbound: OutboundKey) -> &mut Kept<Joined> {
        let tables = &mut self.tables;
        self.sets.entry(SetKey::Sidecar(outbound, view.clone())).or_insert_with(|| {
            let mut above = ResourceSet::default();
            for resource in build(view, tables).iter().flat_map(|part| part.iter()) {
                above.put(resource);
            }
            Kept::new(Joined { above, stale: true, ..Joined::default() })
        })
    }

    fn router(&mut self, world: &World, scope: &Scope, outbound: OutboundKey) -> &mut Kept<Joined> {
        let key = GatewayKey {
            namespace: scope.namespace.clone(),
            labels: scope.labels.clone(),
            capabilities: scope.capabilities,
            targets: own_targets(world, &scope.addresses),
        };
        let half = self.gateways.entry(key.clone()).or_insert_with(|| Kept::new(GatewayHalf::new(key.clone())));
        if half.use_for(world) {
            half.value.update(world, &mut self.tables);
        }
        let above = half.value.set.clone();
        let joined = self.sets.entry(SetKey::Router(outbound, key)).or_insert_with(|| Kept::new(Joined::default()));
        joined.value.put_above(above);
        joined
    }
}

impl<T> Kept<T> {
    fn new(value: T) -> Kept<T> {
        Kept { value, generation: None, used: true }
    }

    /// Marks it used; true if it is not yet at this world.
    fn use_for(&mut self, world: &World) -> bool {
        self.used = true;
        self.generation.replace(world.generation()) != Some(world.generation())
    }

    fn sweep(&mut self) -> bool {
        std::mem::take(&mut self.used)
    }
}
