//! A set of resources kept by its contributors: who contributed what, so that a new contribution replaces the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::memo::{Built, Stats};
use crate::resource::{Kind, Resource, ResourceSet};

/// Resources by contributor. At the end of an update no two contributors make a resource of the same name.
#[derive(Clone, Debug)]
pub(crate) struct Layer<K> {
    parts: BTreeMap<K, Vec<Built>>,
    pub(crate) set: ResourceSet,
    /// Virtual hosts that were put or removed since [`Layer::take_touched`].
    touched: BTreeSet<Arc<str>>,
}

impl<K: Ord + Clone> Default for Layer<K> {
    fn default() -> Self {
        Layer { parts: BTreeMap::new(), set: ResourceSet::default(), touched: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Layer<K> {
    /// Puts the contribution of `key` in place of its former one; an empty one removes it.
    pub(crate) fn replace(&mut self, key: K, parts: Vec<Built>, stats: &mut Stats) {
        let parts: Vec<Built> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let old = self.parts.get(&key).cloned().unwrap_or_default();
        let same = |a: &[Built], b: &[Built]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b));
        if same(&old, &parts) {
            return;
        }
        let fresh: BTreeSet<(Kind, &str)> = each(&parts).map(|resource| (resource.kind, &*resource.name)).collect();
        for resource in each(&old).filter(|resource| !fresh.contains(&(resource.kind, &*resource.name))) {
            // In one update a name may pass to another contributor, whose resource is other bytes: that one stays.
            let present = self.set.get(resource.kind, &resource.name);
            if present.is_some_and(|present| present.version == resource.version) {
                self.set.remove(resource.kind, &resource.name);
                self.touch(resource);
            }
        }
        for resource in each(&parts) {
            if self.set.put(resource) {
                stats.changed += 1;
                self.touch(resource);
            }
        }
        if parts.is_empty() {
            self.parts.remove(&key);
        } else {
            self.parts.insert(key, parts);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.parts.keys()
    }

    /// The contributors from `first` on.
    pub(crate) fn keys_from<'a>(&'a self, first: &K) -> impl Iterator<Item = &'a K> {
        self.parts.range(first..).map(|(key, _)| key)
    }

    /// The virtual hosts that changed since the last call.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.touched)
    }

    fn touch(&mut self, resource: &Resource) {
        if resource.kind == Kind::VirtualHost {
            self.touched.insert(resource.name.clone());
        }
    }
}

fn each(parts: &[Built]) -> impl Iterator<Item = &Arc<Resource>> {
    parts.iter().flat_map(|part| part.iter())
}
