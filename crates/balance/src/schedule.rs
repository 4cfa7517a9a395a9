//! Earliest deadline first: the smooth way to serve hosts in proportion to weights that differ.
//!
//! Each host has a deadline in virtual time; the earliest one is served and moved on by its cost divided by its weight.
//! Over any stretch a host gets its share to within one pick. A pick is one step of a heap, and allocates nothing.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Virtual time that one request of cost 1 takes on a host of weight 1. With 128 bits of time there is room for 2^64 of them.
const UNIT: u128 = 1 << 64;

/// Hosts with weights, by deadline.
#[derive(Debug)]
pub(crate) struct Schedule {
    heap: BinaryHeap<Reverse<Slot>>,
    /// Requests served so far.
    served: u64,
}

/// Ordered by deadline, then by who was served longer ago, so that equal deadlines rotate.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    deadline: u128,
    last_served: u64,
    position: usize,
    weight: u32,
}

impl Schedule {
    /// A schedule of (position, weight) that has served `skip` requests already.
    pub(crate) fn new(hosts: impl Iterator<Item = (usize, u32)>, skip: usize) -> Self {
        let slot = |(position, weight)| Reverse(Slot { deadline: step(1, weight), last_served: 0, position, weight });
        let mut schedule = Self { heap: hosts.map(slot).collect(), served: 0 };
        for _ in 0..skip {
            schedule.pick(|_| 1);
        }
        schedule
    }

    /// The position with the earliest deadline; `cost(position)` is what this request adds to it, at least 1.
    pub(crate) fn pick(&mut self, cost: impl FnOnce(usize) -> u32) -> Option<usize> {
        let mut top = self.heap.peek_mut()?;
        let Reverse(slot) = &mut *top;
        self.served += 1;
        slot.last_served = self.served;
        slot.deadline = slot.deadline.saturating_add(step(cost(slot.position), slot.weight));
        Some(slot.position)
    }
}

fn step(cost: u32, weight: u32) -> u128 {
    u128::from(cost.max(1)) * UNIT / u128::from(weight.max(1))
}

#[cfg(test)]
mod tests;
