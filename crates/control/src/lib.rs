//! The control plane: what `mizzend` is made of.
//!
//! ```text
//!  Sources ─► mesh (own thread: World, Compiler) ─► feeds, one per scope ─► discovery (xDS streams) ─► proxies
//!                 │                                                             │ ACK, NACK
//!                 └──► View (objects, findings) ─► api ◄── Tracker ◄────────────┘
//!  certificates ◄─ ca ◄─ identity (token or certificate)
//! ```
//!
//! **Threads**: `sources` (files), `mesh` (compiles), and the runtime's workers (sockets). The world is read by whoever
//! wants through a watch channel; nobody but `mesh` makes one.
//!
//! **Listeners** ([`options`]): xDS and CA with TLS, xDS in plain text on loopback, monitoring, and the control socket.

mod bucket;
mod ca;
mod certificate;
mod identity;
mod node;
pub mod options;

mod convert;
mod discovery;
mod mesh;
mod tracker;

mod api;
mod http1;
mod listen;
mod monitor;

mod run;

pub use options::Options;
pub use run::{Running, StartError, start};
