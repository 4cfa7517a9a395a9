//! Latencies in log-linear buckets: exact below 16 µs, above that sixteen buckets to each power of two, so that a
//! bucket's middle is within 3.2 % of any value in it. Values are µs, up to about an hour; larger ones count as the
//! largest.
//!
//! ```text
//!  0 1 2 … 15 | 16 17 … 31 | 32 34 … 62 | 64 68 … 124 | …      lower bounds; each group of 16 is an octave
//! ```

use std::{sync::OnceLock, time::Duration};

use crate::metrics::Cell;

const SUB_BITS: u32 = 4;
const SUB: usize = 1 << SUB_BITS;
/// Octaves up to 2³² µs, the exact one below 16 µs included.
const OCTAVES: usize = 32 - SUB_BITS as usize + 1;

/// Counts of one writer. Octaves appear when they are needed: a service's latencies lie in a few of them.
#[derive(Debug)]
pub(crate) struct LatencyHistogram([OnceLock<Box<[Cell; SUB]>>; OCTAVES]);

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self([const { OnceLock::new() }; OCTAVES])
    }
}

impl LatencyHistogram {
    pub(crate) fn record(&self, latency: Duration) {
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        let (octave, sub) = place(micros);
        self.0[octave].get_or_init(Box::default)[sub].add(1);
    }

    /// Upper bound in µs (inclusive) and count of each bucket that is not empty, ascending.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().enumerate().filter_map(|(octave, cells)| Some((octave, cells.get()?))).flat_map(
            |(octave, cells)| {
                cells
                    .iter()
                    .enumerate()
                    .filter(|(_, cell)| cell.get() > 0)
                    .map(move |(sub, cell)| (upper_bound(octave, sub), cell.get()))
            },
        )
    }
}

fn place(micros: u32) -> (usize, usize) {
    if micros < SUB as u32 {
        return (0, micros as usize);
    }
    let shift = micros.ilog2() - SUB_BITS;
    (shift as usize + 1, (micros >> shift) as usize - SUB)
}

fn lower_bound(octave: usize, sub: usize) -> u64 {
    if octave == 0 { sub as u64 } else { ((SUB + sub) as u64) << (octave - 1) }
}

fn upper_bound(octave: usize, sub: usize) -> u64 {
    if octave == 0 { sub as u64 } else { lower_bound(octave, sub) + (1 << (octave - 1)) - 1 }
}

/// The latency in µs below which the share `quantile` (0 to 1) of `buckets` lies; none if they are empty.
///
/// `buckets` are `[upper bound in µs, count]`, ascending, as `/edges` gives them. The answer is the middle of the
/// bucket it falls into, within 3.2 % of the true value.
pub fn percentile(buckets: &[(u64, u64)], quantile: f64) -> Option<u64> {
    let total = buckets.iter().map(|(_, count)| count).sum::<u64>();
    let rank = ((total as f64 * quantile.clamp(0.0, 1.0)).ceil() as u64).max(1);
    let mut below = 0;
    let (upper, _) = buckets.iter().find(|(_, count)| {
        below += count;
        below >= rank
    })?;
    let (octave, sub) = place(u32::try_from(*upper).unwrap_or(u32::MAX));
    Some(u64::midpoint(lower_bound(octave, sub), *upper))
}

/// Adds `more` to `into`; both ascending.
pub fn merge(into: &mut Vec<(u64, u64)>, more: &[(u64, u64)]) {
    for (upper, count) in more {
        match into.binary_search_by_key(upper, |(bound, _)| *bound) {
            Ok(at) => into[at].1 += count,
            Err(at) => into.insert(at, (*upper, *count)),
        }
    }
}

#[cfg(test)]
mod tests;
