//! What a connection's own future weighs: an idle connection is little else.

use std::future::Future;

/// What a function of three arguments returns, without calling it.
fn future_bytes<A, B, C, F: Future>(_: impl FnOnce(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn the_phases_do_not_add_up() {
    let bytes = future_bytes(super::serve);
    println!("a connection: {bytes} bytes");
    assert!(bytes <= 2048, "{bytes} bytes");
}
