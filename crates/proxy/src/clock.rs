//! The coarse clock: milliseconds since the process started, as of the last tick.
//!
//! Marking a connection as active must cost a load and a store, not a system call; idle times are counted in seconds,
//! so a clock that is late by one tick is exact enough. Every worker ticks it.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often a worker ticks, and sweeps its connections.
pub(crate) const TICK: Duration = Duration::from_millis(250);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static NOW: AtomicU64 = AtomicU64::new(0);

/// Advances the clock.
pub(crate) fn tick() {
    NOW.store(START.elapsed().as_millis() as u64, Ordering::Relaxed);
}

/// Milliseconds since the start, at most one tick (plus scheduling delay) late.
pub(crate) fn now() -> u64 {
    NOW.load(Ordering::Relaxed)
}

/// Whether `limit` has passed since `then`: never early, up to two ticks late.
pub(crate) fn has_passed(limit: Duration, then: u64) -> bool {
    since(then) >= limit.saturating_add(TICK)
}

/// Time passed since `then`, a value of [`now`].
pub(crate) fn since(then: u64) -> Duration {
    Duration::from_millis(now().saturating_sub(then))
}
