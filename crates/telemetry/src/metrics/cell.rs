//! The numbers that a worker adds to.
//!
//! Each cell has one writer, so adding is a load and a store without a locked instruction; readers on other threads see
//! a value that was true a moment ago. A second writer would lose counts (never more than that), so handles stay with
//! the worker that made them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number with one writer and any readers.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// For the few cells that have several writers.
    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
