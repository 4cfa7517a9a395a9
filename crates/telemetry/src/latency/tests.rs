//! Precision of the buckets, percentiles, merging.

use std::time::Duration;

use super::{LatencyHistogram, lower_bound, merge, percentile, place, upper_bound};

#[test]
fn every_value_lies_in_its_bucket_and_buckets_are_narrow() {
    let mut micros = 0_u32;
    loop {
        let (octave, sub) = place(micros);
        let (lower, upper) = (lower_bound(octave, sub), upper_bound(octave, sub));
        assert!((lower..=upper).contains(&u64::from(micros)), "{micros} in {lower}..={upper}");
        let middle = u64::midpoint(lower, upper);
        assert!(middle.abs_diff(u64::from(micros)) * 100 <= 5 * u64::from(micros), "{micros} shown as {middle}");
        assert_eq!(place(upper as u32), (octave, sub));
        let step = micros / 97 + 1;
        let Some(next) = micros.checked_add(step) else { break };
        micros = next;
    }
}

#[test]
fn percentiles_of_a_known_distribution() {
    let histogram = LatencyHistogram::default();
    for micros in 1..=10_000 {
        histogram.record(Duration::from_micros(micros));
    }
    let buckets: Vec<_> = histogram.buckets().collect();
    assert!(buckets.is_sorted_by_key(|(upper, _)| *upper));
    for (quantile, exact) in [(0.5, 5_000_u64), (0.9, 9_000), (0.99, 9_900), (1.0, 10_000), (0.0, 1)] {
        let found = percentile(&buckets, quantile).expect("there are values");
        assert!(found.abs_diff(exact) * 20 <= exact, "{quantile}: {found} for {exact}");
    }
}

#[test]
fn odd_inputs() {
    assert_eq!(percentile(&[], 0.5), None);
    assert_eq!(percentile(&[(7, 0)], 0.5), None);
    assert_eq!(percentile(&[(7, 1)], 0.5), Some(7));
    assert!(percentile(&[(u64::MAX, 1)], 0.5).is_some());
    let histogram = LatencyHistogram::default();
    histogram.record(Duration::MAX);
    assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(u64::from(u32::MAX), 1)]);
}

#[test]
fn merging_keeps_order_and_counts() {
    let mut into = vec![(5, 1), (20, 2)];
    merge(&mut into, &[(1, 1), (20, 3), (40, 1)]);
    assert_eq!(into, [(1, 1), (5, 1), (20, 5), (40, 1)]);
}
