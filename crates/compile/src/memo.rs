//! Memory of compiled resources, by the identity of what they were compiled from.
//!
//! A [`View`] is everything that one compile function may read: a struct of `Arc`s and small values. Two views are equal
//! if they hold the same `Arc`s, not merely equal ones: comparing costs a few words, and the world keeps the `Arc` of
//! whatever did not change.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use crate::resource::Resource;

/// The resources that one call made, in the order of making.
pub(crate) type Built = Arc<[Arc<Resource>]>;

/// The inputs of one compile function, and the function.
pub(crate) trait View: Eq + Hash {
    fn compile(&self) -> Vec<Arc<Resource>>;
}

/// A shared input that is compared by identity. Holding it keeps the address from being used again.
#[derive(Debug)]
pub(crate) struct Shared<T: ?Sized>(pub(crate) Arc<T>);

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<T: ?Sized> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: ?Sized> Eq for Shared<T> {}

impl<T: ?Sized> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> From<&Arc<T>> for Shared<T> {
    fn from(shared: &Arc<T>) -> Self {
        Shared(shared.clone())
    }
}

/// How much was compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls of a compile function.
    pub calls: u64,
    /// Views that were found in memory.
    pub hits: u64,
    /// Resources that the calls made, before equal bytes are dropped.
    pub resources: u64,
    /// Resources of which some scope got new bytes.
    pub changed: u64,
}

/// Compiled resources of one kind of view.
#[derive(Debug)]
pub(crate) struct Memo<V> {
    table: HashMap<V, Built, BuildHasherDefault<PointerHasher>>,
    /// The size at which what nobody holds any more is dropped.
    sweep_at: usize,
}

/// The least size at which sweeping is worth a walk.
const SWEEP_MIN: usize = 256;

impl<V> Default for Memo<V> {
    fn default() -> Self {
        Memo { table: HashMap::default(), sweep_at: SWEEP_MIN }
    }
}

impl<V: View> Memo<V> {
    /// What the view compiles to: remembered, or compiled now.
    pub(crate) fn get(&mut self, view: V, stats: &mut Stats) -> Built {
        if let Some(built) = self.table.get(&view) {
            stats.hits += 1;
            return built.clone();
        }
        let built: Built = view.compile().into();
        stats.calls += 1;
        stats.resources += built.len() as u64;
        if self.table.len() >= self.sweep_at {
            self.table.retain(|_, built| Arc::strong_count(built) > 1);
            self.sweep_at = (self.table.len() * 2).max(SWEEP_MIN);
        }
        self.table.insert(view, built.clone());
        built
    }
}

/// A hasher for views: pointers and short values, made by ourselves, so that nobody can aim at collisions.
#[derive(Debug, Default)]
pub(crate) struct PointerHasher(u64);

impl Hasher for PointerHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}
