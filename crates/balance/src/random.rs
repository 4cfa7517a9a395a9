//! A uniform `u64` turned into a choice.

/// A position below `count`, uniform but for at most `count` / 2^64; 0 when `count` is 0.
#[inline]
pub(crate) fn below(count: u64, random: u64) -> u64 {
    ((u128::from(random) * u128::from(count)) >> 64) as u64
}

/// Two different positions below `count`, which is at least 2.
#[inline]
pub(crate) fn two_below(count: usize, random: u64) -> (usize, usize) {
    let first = below(count as u64, random << 32) as usize;
    let second = below(count as u64 - 1, random & (u64::from(u32::MAX) << 32)) as usize;
    (first, if second < first { second } else { second + 1 })
}
