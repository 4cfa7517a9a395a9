//! What Mizzen asks of the kernel beyond the standard library: sockets of a transparent proxy, descriptors passed between
//! processes, namespaces.
//!
//! The crate knows nothing of HTTP, of xDS, or of what a mesh is. It is the only one that may hold `unsafe`; what it offers
//! is safe to call, and each unsafe block says why.
//!
//! | module | holds |
//! |---|---|
//! | [`sock`] | listening and connecting sockets, original destinations, marks |
//! | [`fdpass`] | packets with file descriptors over a Unix socket |
//! | [`ns`] | network namespaces, and processes that set themselves up before they run their program |

pub mod sock;

pub mod inherited;

pub mod memory;

pub mod fdpass;

pub mod ns;
