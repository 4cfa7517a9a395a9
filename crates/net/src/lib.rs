//! What Mizzen asks of the kernel beyond the standard library: sockets of a transparent proxy, descriptors passed between
//! processes, namespaces.
//!
//! The crate knows nothing of HTTP, of xDS, or of what a mesh is. It is the only one that may hold `unsafe`; what it offers
//! is safe to call, and each unsafe block says why.
//!
//! | module | holds |
//! |---|---|
//! | [`sock`] | listening and connecting sockets, original destinations, marks |
//! | [`inherited`] | descriptors that the process was started with |
//! | [`limits`] | pages and descriptors of this process |
//! | [`fdpass`] | packets with file descriptors over a Unix socket |
//! | [`ns`] | network namespaces, and processes that set themselves up before they run their program |

pub mod fdpass;
pub mod inherited;
pub mod limits;
pub mod ns;
pub mod sock;
