//! Histograms with Envoy's default bounds, which Istio uses for milliseconds and bytes alike
//! (<https://istio.io/latest/docs/reference/config/annotations/>, `sidecar.istio.io/statsHistogramBuckets`).

use std::time::Duration;

use super::cell::Cell;

/// Upper bounds as they are printed.
pub(crate) const BOUNDS: [&str; 19] = [
    "0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000", "60000",
    "300000", "600000", "1800000", "3600000",
];

/// The same bounds in thousandths: µs for durations. The largest fits 32 bits, which lets the comparison below be
/// vectorised.
const BOUNDS_MILLI: [u32; 19] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// Counts by bucket and a sum in thousandths of the unit; the total count is the sum of the buckets.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Cell; BOUNDS.len() + 1],
    sum_milli: Cell,
}

impl Histogram {
    pub(crate) fn record_duration(&self, duration: Duration) {
        self.record_milli(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record_bytes(&self, bytes: u64) {
        self.record_milli(bytes.saturating_mul(1_000));
    }

    fn record_milli(&self, value: u64) {
        let clamped = u32::try_from(value).unwrap_or(u32::MAX);
        let bucket = BOUNDS_MILLI.iter().map(|bound| usize::from(clamped > *bound)).sum::<usize>();
        self.buckets[bucket].add(1);
        self.sum_milli.add(value);
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(Cell::get).sum()
    }
}

/// Histograms of several shards, summed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HistogramTotals {
    pub(crate) buckets: [u64; BOUNDS.len() + 1],
    sum_milli: u64,
}

impl HistogramTotals {
    pub(crate) fn absorb(&mut self, histogram: &Histogram) {
        for (total, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *total += bucket.get();
        }
        self.sum_milli = self.sum_milli.wrapping_add(histogram.sum_milli.get());
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// In the metric's unit, ms or bytes.
    pub(crate) fn sum(&self) -> f64 {
        self.sum_milli as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests;
