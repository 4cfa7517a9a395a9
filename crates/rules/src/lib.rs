//! Pure decisions and the compiled tables they read.
//!
//! One `decide` per table: which listener, which filter chain, which virtual host, which route, which cluster.
//! Each takes facts and a [`Trace`]; the hot path passes [`Silent`], which costs nothing, `explain` passes a collector.
//! **Invariant:** no I/O, no clock, no randomness (a random number is an argument), no knowledge of the Snapshot.

mod condition;
pub mod connection;
pub mod host;
mod prefix;
pub mod route;
pub mod text;
pub mod trace;
pub mod weight;

pub use connection::{ChainError, ChainMatch, ChainTable, ConnectionFacts, Transport};
pub use host::{HostError, HostTable};
pub use route::{HeaderMatch, PathMatch, QueryMatch, RequestFacts, RouteError, RouteMatch, RouteTable};
pub use text::{RegexError, TextMatch};
pub use trace::{Named, Origin, Silent, Step, Trace};
pub use weight::WeightTable;
