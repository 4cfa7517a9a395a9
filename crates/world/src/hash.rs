//! FNV-1a, 64 bits: a hash that is the same in every process, unlike the standard library's.

/// The FNV-1a hash of `bytes`, finished by an avalanche so that the low bits are as good as the high ones.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}
