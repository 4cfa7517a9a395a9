//! The harness of the end-to-end tests: a mesh from manifests, commands run inside its workloads, conditions with deadlines.
//!
//! A test drives the product as a person does: `mizzen up DIR`, edits of files, `mizzen exec`. Nothing here sleeps for a fixed
//! time; every wait is for a condition and has a deadline. Where a suite has many checks, they share a mesh ([`check_all`]).
//!
//! | suite | shows |
//! |---|---|
//! | `demo` | the sample: ready, traffic, mutual TLS, report, ingress, clean end |
//! | `capture` | unmodified clients and servers, self-calls, DNS, headless services, the outside |
//! | `traffic` | weights, matches, retries, timeouts, edits under load |
//! | `identity` | STRICT, PERMISSIVE, wrong peers, what is on the wire, rotation |
//! | `protocols` | HTTP versions, gRPC, WebSocket, TCP, server-first, memory |
//! | `framing` | HTTP/1 and HTTP/2 on raw bytes |
//! | `lifecycle` | rolling edits, killed replicas, killed control plane |
//! | `mistakes` | bad YAML, unknown fields, dangling references, conflicts |
//! | `cage` | what a workload cannot do |
//! | `cleanup` | nothing is left behind |

#![expect(clippy::missing_panics_doc, reason = "a harness panics to fail its test")]

mod checks;
pub mod manifest;
mod mesh;
pub mod outside;
mod processes;
mod sniff;
mod wait;

pub use checks::{Check, check_all};
pub use mesh::{Load, Mesh, Output, header};
pub use processes::{Process, descendants, processes};
pub use sniff::Sniffer;
pub use wait::{eventually, within};

use std::path::PathBuf;

/// A built program, from `MIZZEN_BIN` (set by `make test`).
pub fn program(name: &str) -> PathBuf {
    let dir = std::env::var_os("MIZZEN_BIN").map_or_else(|| PathBuf::from("target/release"), PathBuf::from);
    let path = dir.join(name);
    assert!(path.exists(), "{} is not built: run the tests through `make test`", path.display());
    path
}

/// The samples, from `MIZZEN_SAMPLES`.
pub fn sample(name: &str) -> PathBuf {
    std::env::var_os("MIZZEN_SAMPLES").map_or_else(|| PathBuf::from("samples"), PathBuf::from).join(name)
}
