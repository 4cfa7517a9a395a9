//! Envoy's xDS v3 protocol, delta variant, both ends: subscriptions, nonces, versions, ACK and NACK.
//!
//! The crate does not know what a resource means: it moves named, versioned bytes in an order that never leaves a
//! client with a reference to something it was told to drop.
//!
//! ```text
//!  Generation ──► server::Session ──► Response      DeltaDiscoveryRequest ──► server::Session
//!                      ▲                                                           │
//!                      └──────────── grpc shell: serve::Stream ────────────────────┘
//!
//!  connect::Client: grpc shell ──► client::Session ──► Update ──► (the caller applies) ──► applied() ──► ACK or NACK
//! ```
//!
//! The sessions are sans-IO: no clock, randomness, socket or task. `serve`, `connect` and `grpc` are thin shells
//! around them. Protocol: <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol>, incremental ADS.

pub mod client;
pub mod connect;
mod encode;
pub mod grpc;
pub mod kind;
mod ledger;
pub mod nack;
pub mod node;
pub mod serve;
pub mod server;
pub mod set;
pub mod subscription;

pub use kind::Kind;
pub use nack::Rejection;
pub use node::NodeFacts;
pub use set::{Generation, Resource, Set, Version};

/// gRPC path of the delta aggregated discovery stream.
pub const DELTA_PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
