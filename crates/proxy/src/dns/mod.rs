//! The DNS proxy: names of the mesh are answered here, everything else by the host's name servers.
//!
//! ```text
//! query ─► answer (pure: the mesh's name table) ─► reply
//!             └─ not ours ─► upstream (host's name servers, through the broker or directly) ─► reply
//! ```
//! Behaviour follows Istio's agent: TTL 30 s, a known name of another address family gives an empty NOERROR, SERVFAIL
//! before the first name table.

pub(crate) mod answer;
mod server;
pub(crate) mod upstream;

pub(crate) use server::run;
