//! How long to wait before a request is tried again.

use std::time::Duration;

use crate::random;

/// The wait before retry number `attempt` (1 is the first): uniform in [0, min((2^attempt − 1) · `base`, `max`)).
///
/// Source: Envoy, "x-envoy-max-retries": fully jittered exponential back-off.
pub fn backoff(attempt: u32, base: Duration, max: Duration, random: u64) -> Duration {
    let factor = 1_u32.checked_shl(attempt).map_or(u32::MAX, |power| power - 1);
    let bound = base.saturating_mul(factor).min(max);
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(random::below(nanos, random))
}

#[cfg(test)]
mod tests;
