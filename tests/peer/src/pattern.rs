//! Bodies that both sides can make and check without keeping them.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::escape;

/// The piece in which bodies are sent.
pub(crate) const PIECE: usize = 16 * 1024;

/// The bytes of a pattern from `offset` on, `length` of them. No two aligned words near each other are equal, so that a
/// lost, doubled or moved piece changes the hash.
pub(crate) fn piece(offset: u64, length: usize) -> Bytes {
    (offset..offset + length as u64).map(byte).collect()
}

fn byte(at: u64) -> u8 {
    let word = (at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word >> (8 * (at % 8))) as u8
}

/// The pieces of a body of `bytes`.
pub(crate) fn pieces(bytes: u64) -> impl Iterator<Item = Bytes> {
    (0..bytes)
        .step_by(PIECE)
        .map(move |offset| piece(offset, usize::try_from(bytes - offset).unwrap_or(PIECE).min(PIECE)))
}

/// SHA-256 of a body of `bytes`, hex.
pub(crate) fn sha256(bytes: u64) -> String {
    let mut hash = Sha256::new();
    pieces(bytes).for_each(|piece| hash.update(piece));
    escape::hex(&hash.finalize())
}

/// SHA-256 of `bytes`, hex.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    escape::hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests;
