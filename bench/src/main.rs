//! `make bench`: prints tables and writes `bench/out/*.json`.
//!
//! | suite | question |
//! |---|---|
//! | `forward` | what one forwarded request costs, beside Envoy, nginx and HAProxy in the same run |
//! | `control` | what a change costs the control plane and its clients |
//! | `mesh` | what the mesh adds: latency, memory, time to effect |

mod backend;
mod configs;
mod control;
mod forward;
mod load;
mod machine;
mod mesh;
mod table;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    suite: Option<Suite>,
}

#[derive(Subcommand)]
enum Suite {
    /// Cost of a forwarded request.
    Forward(forward::Options),
    /// Cost of a start and of edits at the control plane.
    Control,
    /// What the mesh adds: latency, memory, time to effect.
    Mesh(mesh::Options),
    /// The server behind the proxies (used by the suites).
    #[command(hide = true)]
    Backend { port: u16, core: usize },
    /// Clients and servers inside workloads (used by the suites).
    #[command(hide = true, subcommand)]
    Probe(mesh::probe::Probe),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().suite {
        None => {
            forward::run(&forward::Options::default())?;
            control::run()?;
            mesh::run(&mesh::Options::default())
        }
        Some(Suite::Forward(options)) => forward::run(&options),
        Some(Suite::Control) => control::run(),
        Some(Suite::Mesh(options)) => mesh::run(&options),
        Some(Suite::Probe(probe)) => mesh::probe::run(probe),
        Some(Suite::Backend { port, core }) => backend::run(port, core),
    }
}

/// Where results go.
fn out(name: &str) -> anyhow::Result<PathBuf> {
    let dir = PathBuf::from("bench/out");
    std::fs::create_dir_all(&dir)?;
    Ok(dir.join(name))
}
