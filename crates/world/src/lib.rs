//! The mesh model: services, workloads, endpoints, identities, routes, policies, gateways, and what follows from them.
//!
//! In: the set of objects that users and the platform wrote ([`mizzen_api::Object`]). Out: a numbered, immutable
//! [`World`], and findings about references that lead nowhere. No clock, no I/O: the same objects give the same world,
//! however they came.
//!
//! ```text
//!  objects ──source──► model values ──update──► World N+1 (sharing all that is equal with World N)
//! ```
//!
//! Everything in a [`World`] is behind an `Arc` that is kept for as long as its content is equal. Whoever compiles the
//! world can therefore compare by identity.

pub mod hash;
pub mod labels;
pub mod name;
pub mod visibility;

pub mod destination_rule;
pub mod endpoint;
pub mod gateway;
pub mod mesh;
pub mod peer_auth;
pub mod service;
pub mod virtual_service;
pub mod workload;

pub mod host_index;
pub mod names;
pub mod vip;
mod world;

mod check;
mod source;
mod update;

#[cfg(test)]
mod tests;

pub use labels::Labels;
pub use name::{Age, NsName};
pub use update::Objects;
pub use world::{MergedRules, RuleKey, World};
