//! HTTP: a connection's requests, one phase after the other.
//!
//! ```text
//! server ─► request: limits → normalise → identify → select route ─► forward: pick → connect → send → (retry) ─► respond
//!                                       └─ any of them may answer ─► local reply ──────────────────────────────┘  │
//!                                                                           exchange: one record, emitted at the end
//! ```
//! Versions differ only at the codec edge (hyper); bodies are handed through as one wrapper.

pub(crate) mod body;
pub(crate) mod exchange;
pub(crate) mod forward;
pub(crate) mod headers;
pub(crate) mod local;
pub(crate) mod path;
pub(crate) mod request;
pub(crate) mod respond;
pub(crate) mod retry;
pub(crate) mod server;
pub(crate) mod upgrade;

#[cfg(test)]
mod tests;
