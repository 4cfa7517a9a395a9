//! Counters and gauges of the process itself, by name and labels.
//!
//! A worker's counter is a cell of its own, so that adding needs no locked instruction; printing sums the cells of one
//! name.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{budget::Budget, cell::Cell, exposition};

/// The index of cells that any thread may add to; workers' shards count from 1.
pub(crate) const SHARED: usize = 0;

/// A number that only grows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Counter {
    cell: Arc<Cell>,
    shared: bool,
}

impl Counter {
    /// A counter that is shown nowhere.
    pub fn detached() -> Self {
        Self { cell: Arc::default(), shared: true }
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        if self.shared { self.cell.add_shared(n) } else { self.cell.add(n) }
    }

    /// What this handle's cell holds: for a worker's counter its own part.
    pub fn value(&self) -> u64 {
        self.cell.get()
    }
}

/// A number that goes up and down. Cheap to clone; any thread may change it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The present value.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Name, and labels as they are printed.
type Name = (&'static str, String);

#[derive(Debug)]
struct Counted {
    cell: Arc<Cell>,
    seen: u64,
    since: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    counters: BTreeMap<Name, BTreeMap<usize, Counted>>,
    gauges: BTreeMap<Name, Gauge>,
}

#[derive(Debug)]
pub(crate) struct OwnMetrics {
    state: Mutex<State>,
    budget: Arc<Budget>,
}

impl OwnMetrics {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { state: Mutex::default(), budget }
    }

    pub(crate) fn counter(&self, name: &'static str, labels: &[(&'static str, &str)], shard: usize) -> Counter {
        let name = (name, exposition::label_text(labels));
        let shared = shard == SHARED;
        self.with(|state| {
            let known = state.counters.get(&name).and_then(|cells| cells.get(&shard));
            if let Some(counted) = known {
                return Counter { cell: counted.cell.clone(), shared };
            }
            if !self.budget.take() {
                return Counter::detached();
            }
            let cell = Arc::<Cell>::default();
            let counted = Counted { cell: cell.clone(), seen: 0, since: None };
            state.counters.entry(name).or_default().insert(shard, counted);
            Counter { cell, shared }
        })
    }

    pub(crate) fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        let name = (name, exposition::label_text(labels));
        self.with(|state| match state.gauges.get(&name) {
            Some(gauge) => gauge.clone(),
            None if self.budget.take() => state.gauges.entry(name).or_default().clone(),
            None => Gauge::default(),
        })
    }

    /// Forgets the counters that nobody holds and nobody changed for `idle`, and the gauges that nobody holds and that
    /// are 0.
    pub(crate) fn expire(&self, now: Instant, idle: Duration) {
        let forget = |counted: &mut Counted| {
            let value = counted.cell.get();
            if counted.since.is_none() || value != counted.seen || Arc::strong_count(&counted.cell) > 1 {
                (counted.seen, counted.since) = (value, Some(now));
            }
            counted.since.is_some_and(|since| now.saturating_duration_since(since) >= idle)
        };
        let forgotten = self.with(|state| {
            let before = state.len();
            for cells in state.counters.values_mut() {
                cells.retain(|_, counted| !forget(counted));
            }
            state.counters.retain(|_, cells| !cells.is_empty());
            state.gauges.retain(|_, gauge| gauge.value() != 0 || Arc::strong_count(&gauge.0) > 1);
            before - state.len()
        });
        self.budget.give_back(forgotten);
    }

    /// Every counter with its sum, ordered by name and labels.
    pub(crate) fn counters(&self) -> Vec<(Name, u64)> {
        let sum = |cells: &BTreeMap<usize, Counted>| cells.values().map(|counted| counted.cell.get()).sum();
        self.with(|state| state.counters.iter().map(|(name, cells)| (name.clone(), sum(cells))).collect())
    }

    /// Every gauge, ordered by name and labels.
    pub(crate) fn gauges(&self) -> Vec<(Name, i64)> {
        self.with(|state| state.gauges.iter().map(|(name, gauge)| (name.clone(), gauge.value())).collect())
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn len(&self) -> usize {
        self.gauges.len() + self.counters.values().map(BTreeMap::len).sum::<usize>()
    }
}
