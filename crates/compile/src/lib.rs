//! From the mesh to the wire: what each data plane should hold, as Envoy v3 resources.
//!
//! In: a [`mizzen_world::World`] and a [`Scope`] (who asks). Out: a [`ResourceSet`] of named, versioned, encoded
//! resources (`docs/wire.md` says which). Pure: the same world and scope give the same bytes, in every process.
//!
//! Each kind of resource has one function over a typed view of its inputs and can read nothing else (`memo` remembers
//! by the identity of those inputs). What follows from all services together is kept per class of clients and moved on
//! by the difference of two worlds (`outbound`). Output with equal bytes keeps its version, and the wave stops there.

mod memo;
mod resource;
mod scope;
mod wire;

mod cluster;
mod endpoints;
mod listener;
mod names;
mod route;
mod tls;

mod claims;
mod layer;
mod publish;
mod tables;

mod compiler;
mod gateway;
mod inbound;
mod outbound;

#[cfg(test)]
mod tests;

pub use compiler::Compiler;
pub use memo::Stats;
pub use resource::{Change, KINDS, Kind, Resource, ResourceSet};
pub use scope::{Capabilities, ProxyKind, Scope};
pub use wire::{NameInfo, NameTable};
