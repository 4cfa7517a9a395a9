//! The sizes of the futures that every request and every idle connection pay for (style, "Hot path").

use std::future::Future;

use super::{body, exchange::Exchange, request, server};
use crate::{connection, registry};

/// What a function of two arguments returns, without calling it.
fn future_bytes<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
    size_of::<F>()
}

fn codec_bytes<A, B, C, F: Future>(_: impl FnOnce(A, B, C) -> F) -> usize {
    size_of::<F>()
}

/// Bounds with some room: a change that passes one has put a large value across an await, or knows why it raises it.
#[test]
fn sizes() {
    let table = [
        ("a request under way", future_bytes(request::handle), 6144),
        ("the HTTP/1 codec of a connection", codec_bytes(server::serve_http1), 4096),
        ("its facts and record", size_of::<Exchange>(), 1024),
        ("a response's body", size_of::<body::Body>(), 64),
        ("a request's body", size_of::<body::RequestBody>(), 64),
        ("a connection's own facts", size_of::<connection::Connection>(), 256),
        ("an HTTP connection", size_of::<server::HttpConnection>(), 512),
        ("its entry in the registry", size_of::<registry::Entry>(), 384),
    ];
    for (name, bytes, bytes_max) in table {
        println!("{name}: {bytes} bytes");
        assert!(bytes <= bytes_max, "{name}: {bytes} bytes, {bytes_max} allowed");
    }
}
