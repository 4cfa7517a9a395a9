//! Waiting for conditions.

use std::time::{Duration, Instant};

/// Between two looks at a condition.
const STEP: Duration = Duration::from_millis(50);

/// Waits until `look` gives something, at most `limit`; else fails with `what`.
///
/// # Panics
/// When the limit passes first: the test has failed.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::park_timeout(STEP);
    }
}

/// [`within`] a minute, which is generous for everything that has no limit of its own.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_mins(1), what, look)
}
