//! The small lazy table inside a series: one row for each combination of code, protocol and flags that was seen.
//!
//! Rows are only ever appended, so the worker that writes and the thread that prints share them without a lock, and
//! finding a row that exists is a scan over a few 64-bit keys: a workload answers in very few ways.

use std::sync::OnceLock;

use super::budget::Budget;

/// Rows a series can hold; what comes later goes into the overflow series. Bounds the scan, and what a hostile peer can
/// create.
pub(crate) const ROWS_MAX: usize = 64;
const SLOTS: usize = 4;

#[derive(Debug)]
pub(crate) struct Rows<R> {
    slots: [OnceLock<Box<(u64, R)>>; SLOTS],
    next: OnceLock<Box<Self>>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self { slots: [const { OnceLock::new() }; SLOTS], next: OnceLock::new() }
    }
}

impl<R: Default> Rows<R> {
    /// Rows whose first is there from the beginning, so that finding it again never fails.
    pub(crate) fn starting_with(key: u64) -> Self {
        let rows = Self::default();
        rows.slots[0].get_or_init(|| Box::new((key, R::default())));
        rows
    }

    /// The row of `key`, made where it is new and there is room. The first row of a series was paid for with the series
    /// itself.
    pub(crate) fn find(&self, key: u64, budget: &Budget) -> Option<&R> {
        let mut part = self;
        for place in 0..ROWS_MAX {
            let slot = &part.slots[place % SLOTS];
            if slot.get().is_none() && place > 0 && !budget.take() {
                return None;
            }
            let (row_key, row) = &**slot.get_or_init(|| Box::new((key, R::default())));
            if *row_key == key {
                return Some(row);
            }
            if place % SLOTS == SLOTS - 1 {
                part = part.next.get_or_init(Box::default);
            }
        }
        budget.refuse();
        None
    }

    /// All rows with their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &R)> {
        std::iter::successors(Some(self), |part| part.next.get().map(|next| &**next))
            .flat_map(|part| &part.slots)
            .filter_map(OnceLock::get)
            .map(|entry| (entry.0, &entry.1))
    }

    /// What the rows cost in the budget, the series' own share included.
    pub(crate) fn cost(&self) -> usize {
        self.iter().count().max(1)
    }
}
