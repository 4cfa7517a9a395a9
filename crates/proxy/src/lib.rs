//! Mizzen's data plane: the I/O and the phases of `mizzen-proxy`.
//!
//! ```text
//! side thread                                   worker 1 … n, one current-thread runtime each
//!  agent ── identity, Snapshot ──► shared ──►   accept ─► connection: detect ─► chain ─► handshake
//!  admin, dns, resolve                                     ├─► tcp ─► pump
//!                                                          └─► http: request ─► forward ─► respond
//! ```
//! **Invariants.** Nothing on the side thread blocks a worker. A request reads the configuration once. Every decision is
//! taken by `mizzen-snapshot`'s walk: this crate holds no matcher. Every queue, buffer and time has a named bound.
//!
//! Where to start reading: [`run`], then `connection`, then `http::request`.

mod bootstrap;
mod clock;
mod rand;
mod error;
mod shared;
mod io;
mod tls;
mod registry;
mod access_log;
mod telemetry;
mod detect;
mod accept;
mod connection;
mod pump;
mod tcp;
mod upstream;
mod http;
mod worker;
mod dns;
mod agent;
mod config_dump;
mod admin;
mod process;

pub use process::run;
