//! Pieces put together are the body, whatever its length.

use super::{PIECE, piece, pieces, sha256, sha256_of};

#[test]
fn pieces_are_the_whole() {
    for length in [0, 1, 7, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5] {
        let whole = piece(0, length);
        let parts: Vec<u8> = pieces(length as u64).flatten().collect();
        assert_eq!(whole, parts);
        assert_eq!(sha256(length as u64), sha256_of(&whole));
    }
}

#[test]
fn the_known_hash_of_nothing() {
    assert_eq!(sha256(0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn words_differ() {
    let bytes = piece(0, 64 * 1024);
    let mut words: Vec<_> = bytes.chunks(8).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), 8 * 1024);
}
