//! Token buckets by key: how often one caller may ask.
//!
//! Pure: `now` is an argument. Bounded: when there are too many keys, those that are full again are dropped, for they say
//! nothing; if none is, new keys are refused.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A rate: so many at once, and one more every `interval`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) interval: Duration,
    pub(crate) keys_max: usize,
}

/// When each key's bucket will be full again.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    full_at: HashMap<K, Instant>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, full_at: HashMap::new() }
    }

    /// Takes one; false if the bucket is empty.
    pub(crate) fn take(&mut self, key: K, now: Instant) -> bool {
        if self.full_at.len() >= self.rate.keys_max && !self.full_at.contains_key(&key) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= self.rate.keys_max {
                return false;
            }
        }
        let full_at = self.full_at.entry(key).or_insert(now);
        let next = (*full_at).max(now) + self.rate.interval;
        if next > now + self.rate.interval * self.rate.burst {
            return false;
        }
        *full_at = next;
        true
    }
}

#[cfg(test)]
mod tests;
