//! Where objects come from: a watched directory of manifests, and the workloads that `lab` reports.
//!
//! In: files, and objects at run time. Out: [`ObjectSet`]s, immutable and numbered, through a `watch` channel.
//!
//! ```text
//!  directory ──► tree ──► layer "files" ──┐
//!  (events, polls) (what changed)         ├─► store ──► ObjectSet N+1
//!  lab ─────────────────► layer "runtime"─┘  (one writer)
//! ```
//!
//! A layer keeps what was good: a file that cannot be parsed keeps all its objects, a bad object keeps its last good version, and an
//! object is deleted only by a parsed file without it or by the file being gone (design §4.9).
//!
//! **Threads**: one of its own, `sources`, which reads files, waits for events and is the only writer. Nothing here needs a runtime.

mod debounce;
mod layer;
mod set;
mod source;
mod store;
#[cfg(test)]
mod temp;
mod tree;
mod watcher;

pub use layer::{Applied, Change, Layer};
pub use set::{Changed, ObjectSet, Unused};
pub use source::{OpenError, Options, Sources};
pub use store::Store;
