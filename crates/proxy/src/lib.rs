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

mod accept;
mod access_log;
mod admin;
mod agent;
mod bootstrap;
mod clock;
mod config_dump;
mod connection;
mod detect;
mod dns;
mod error;
mod http;
mod io;
mod process;
mod pump;
mod rand;
mod registry;
mod shared;
mod tcp;
mod telemetry;
mod tls;
mod upstream;
mod worker;

pub use process::run;
