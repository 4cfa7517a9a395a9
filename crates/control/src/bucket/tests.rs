//! A burst, then a rate, then the bound on keys.

use std::time::{Duration, Instant};

use super::{Buckets, Rate};

#[test]
fn burst_then_rate_then_bound() {
    let rate = Rate { burst: 3, interval: Duration::from_secs(1), keys_max: 2 };
    let mut buckets = Buckets::new(rate);
    let start = Instant::now();
    let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
    let mut take = |key: &'static str, seconds: f64| buckets.take(key, at(seconds));
    assert_eq!(
        [0.0, 0.0, 0.0, 0.0, 0.9, 1.0, 1.1].map(|t| take("a", t)),
        [true, true, true, false, false, true, false]
    );
    // Unused time is saved up to the burst, not beyond it.
    assert_eq!([60.0, 60.0, 60.0, 60.0].map(|t| take("a", t)), [true, true, true, false]);
    assert!(take("b", 60.0));
    assert!(!take("c", 60.0), "a and b still say something");
    assert!(take("c", 61.5), "b is full again and is forgotten");
}
