//! Bucket choice at and around each bound.

use std::time::Duration;

use super::{BOUNDS, BOUNDS_MILLI, Histogram, HistogramTotals};

fn bucket_of(record: impl Fn(&Histogram)) -> usize {
    let histogram = Histogram::default();
    record(&histogram);
    let mut totals = HistogramTotals::default();
    totals.absorb(&histogram);
    assert_eq!(totals.count(), 1);
    totals.buckets.iter().position(|count| *count == 1).expect("one value was recorded")
}

#[test]
fn printed_and_compared_bounds_agree() {
    for (printed, milli) in BOUNDS.iter().zip(BOUNDS_MILLI) {
        assert_eq!((printed.parse::<f64>().expect("a number") * 1_000.0).to_string(), milli.to_string());
    }
}

#[test]
fn a_bound_belongs_to_its_own_bucket() {
    for (place, bound) in BOUNDS_MILLI.iter().enumerate() {
        let at = Duration::from_micros(u64::from(*bound));
        assert_eq!(bucket_of(|h| h.record_duration(at)), place);
        assert_eq!(bucket_of(|h| h.record_duration(at + Duration::from_micros(1))), place + 1);
    }
    assert_eq!(bucket_of(|h| h.record_duration(Duration::MAX)), BOUNDS.len());
    assert_eq!(bucket_of(|h| h.record_bytes(0)), 0);
    assert_eq!(bucket_of(|h| h.record_bytes(256)), 8);
    assert_eq!(bucket_of(|h| h.record_bytes(u64::MAX)), BOUNDS.len());
}
