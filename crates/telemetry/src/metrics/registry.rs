//! The series of one shard: found by key, bounded, and dropped after long silence.
//!
//! ```text
//!  resolve ──► live ──(no activity for the idle time)──► retired: not shown, memory kept only by handles
//!               ▲                                            │
//!               └──────────── a handle records again ◄───────┘
//! ```
//! The lock is taken by the worker when it resolves a handle, and by the printing thread for the time of copying the
//! list; never while recording.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::budget::Budget;

/// What the registry must know of a series to tell whether it is still in use.
pub(crate) trait Series: Default {
    /// Grows with each observation.
    fn activity(&self) -> u64;
    /// How much of the budget it holds.
    fn cost(&self) -> usize;
    /// A series that has a place for what finds none elsewhere.
    fn overflow() -> Self {
        Self::default()
    }
}

#[derive(Debug)]
pub(crate) struct Entry<K, S> {
    pub(crate) key: K,
    pub(crate) series: S,
    retired: AtomicBool,
}

#[derive(Debug)]
struct Seen<K, S> {
    entry: Arc<Entry<K, S>>,
    activity: u64,
    since: Option<Instant>,
}

#[derive(Debug)]
struct State<K, S> {
    by_key: HashMap<K, Arc<Entry<K, S>>>,
    // A revived entry may share its key with one made meanwhile: both are listed, and summed when shown.
    list: Vec<Seen<K, S>>,
}

#[derive(Debug)]
pub(crate) struct Registry<K, S> {
    state: Mutex<State<K, S>>,
    overflow: Arc<Entry<K, S>>,
    budget: Arc<Budget>,
}

impl<K: Clone + Eq + Hash, S: Series> Registry<K, S> {
    pub(crate) fn new(overflow: K, budget: Arc<Budget>) -> Arc<Self> {
        let overflow = Arc::new(Entry { key: overflow, series: S::overflow(), retired: AtomicBool::new(false) });
        Arc::new(Self { state: Mutex::new(State { by_key: HashMap::new(), list: Vec::new() }), overflow, budget })
    }

    /// The handle of `key`; the overflow series' where there is no room for a new one.
    pub(crate) fn resolve(self: &Arc<Self>, key: &K) -> Handle<K, S> {
        let mut state = self.lock();
        let entry = match state.by_key.get(key) {
            Some(entry) => entry.clone(),
            None if self.budget.take() => {
                let entry = Arc::new(Entry { key: key.clone(), series: S::default(), retired: AtomicBool::new(false) });
                state.by_key.insert(key.clone(), entry.clone());
                state.list.push(Seen { entry: entry.clone(), activity: 0, since: None });
                entry
            }
            None => self.overflow.clone(),
        };
        drop(state);
        Handle { entry, registry: self.clone() }
    }

    /// All live series and the overflow.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry<K, S>>> {
        let state = self.lock();
        state.list.iter().map(|seen| seen.entry.clone()).chain([self.overflow.clone()]).collect()
    }

    /// Retires what recorded nothing for `idle`. The first call that sees a series starts its clock.
    pub(crate) fn expire(&self, now: Instant, idle: Duration) {
        let mut guard = self.lock();
        let State { by_key, list } = &mut *guard;
        list.retain_mut(|seen| {
            let activity = seen.entry.series.activity();
            if seen.since.is_none() || activity != seen.activity {
                (seen.activity, seen.since) = (activity, Some(now));
            }
            if seen.since.is_some_and(|since| now.saturating_duration_since(since) < idle) {
                return true;
            }
            seen.entry.retired.store(true, Relaxed);
            if by_key.get(&seen.entry.key).is_some_and(|entry| Arc::ptr_eq(entry, &seen.entry)) {
                by_key.remove(&seen.entry.key);
            }
            self.budget.give_back(seen.entry.series.cost());
            false
        });
    }

    #[cold]
    fn revive(&self, entry: &Arc<Entry<K, S>>) {
        let mut state = self.lock();
        // Two handles of one entry may both have seen it retired: the first one here lists it.
        if entry.retired.swap(false, Relaxed) {
            self.budget.take_anyway(entry.series.cost());
            state.by_key.entry(entry.key.clone()).or_insert_with(|| entry.clone());
            state.list.push(Seen { entry: entry.clone(), activity: entry.series.activity(), since: None });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K, S>> {
        // No code under the lock can leave the lists half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A way to one series that costs nothing to follow.
#[derive(Debug)]
pub(crate) struct Handle<K, S> {
    entry: Arc<Entry<K, S>>,
    registry: Arc<Registry<K, S>>,
}

impl<K, S> Clone for Handle<K, S> {
    fn clone(&self) -> Self {
        Self { entry: self.entry.clone(), registry: self.registry.clone() }
    }
}

impl<K: Clone + Eq + Hash, S: Series> Handle<K, S> {
    /// The series, listed again if it had been retired.
    pub(crate) fn live(&self) -> &S {
        if self.entry.retired.load(Relaxed) {
            self.registry.revive(&self.entry);
        }
        &self.entry.series
    }

    pub(crate) fn overflow(&self) -> &S {
        &self.registry.overflow.series
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.registry.budget
    }
}
