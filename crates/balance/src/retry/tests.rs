//! Waits at the ends of their ranges.

use super::*;

#[test]
fn waits_grow_to_the_maximum() {
    let (base, max) = (Duration::from_millis(25), Duration::from_millis(250));
    let cases = [(0, 0), (1, 25), (2, 75), (3, 175), (4, 250), (31, 250), (32, 250), (u32::MAX, 250)];
    for (attempt, bound) in cases {
        assert_eq!(backoff(attempt, base, max, 0), Duration::ZERO, "{attempt}");
        assert_eq!(backoff(attempt, base, max, 1 << 63), Duration::from_micros(bound * 500), "{attempt}");
        let longest = backoff(attempt, base, max, u64::MAX);
        let bound = Duration::from_millis(bound);
        assert!(longest <= bound && bound.abs_diff(longest) <= Duration::from_nanos(1), "{attempt}: {longest:?}");
    }
    assert!(backoff(9, Duration::MAX, Duration::MAX, u64::MAX) > Duration::from_secs(1));
}
