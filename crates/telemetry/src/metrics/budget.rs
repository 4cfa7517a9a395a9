//! How many series a process may hold. Touched only where a series or row is made, so its atomics are shared.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A bound and what is left of it.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    used: AtomicUsize,
    refused: AtomicU64,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, used: AtomicUsize::new(0), refused: AtomicU64::new(0) }
    }

    /// Takes one; false, and counted, if none is left.
    pub(crate) fn take(&self) -> bool {
        let taken = self.used.fetch_update(Relaxed, Relaxed, |used| (used < self.max).then_some(used + 1)).is_ok();
        if !taken {
            self.refuse();
        }
        taken
    }

    /// Takes `n` even beyond the bound: for what existed before.
    pub(crate) fn take_anyway(&self, n: usize) {
        self.used.fetch_add(n, Relaxed);
    }

    pub(crate) fn give_back(&self, n: usize) {
        self.used.fetch_sub(n, Relaxed);
    }

    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}
