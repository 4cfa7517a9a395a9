//! What users write: Istio kinds, `MeshConfig` and the core Kubernetes kinds a file may hold.
//!
//! In: the text of a YAML or JSON file. Out: [`Object`]s whose every field was read and checked, and [`Finding`]s that name object,
//! field, file and line for everything else. Nothing here opens a file or a socket.
//!
//! ```text
//!  text ── node::parse ──► Node tree ── serde ──► istio::*, k8s::* ── validate ──► Object
//!                          (positions)            (whole schemas)      enforced     (+ findings)
//! ```
//!
//! [`load()`] is the way in. What parses but is not enforced yet comes from one table, in [`enforced`].

mod load;

mod manifest;
mod node;
mod validate;

pub mod enforced;

pub mod finding;
pub mod object;

pub mod duration;
pub mod istio;
pub mod k8s;

pub mod lines;
mod path;
mod problem;

pub use duration::Duration;
pub use enforced::{Unenforced, needs_allow_unenforced, unenforced};
pub use finding::{FileResult, Finding, NotUsed, Rejection, Severity};
pub use lines::LineMap;
pub use load::{FILE_BYTES_MAX, load};
pub use manifest::DEFAULT_NAMESPACE;
pub use object::{Kind, Meta, Object, ObjectId, Origin, Owner, Spec};
