//! `mesh.json`: what the mesh adds to a call, holds in memory, and takes until an edit has effect.
//!
//! A mesh as people run it (`mizzen up`), with clients and servers in its workloads. Every figure is measured here or is
//! null, and then the reason is printed.
//!
//! ```text
//! topology ──► mizzen up ──► effect    edits of a VirtualService, seen by a client
//!                        ├─► latency   with and without sidecars, and where the server speaks first
//!                        └─► memory    of an idle sidecar, and of idle connections
//!                              ▲ inside: commands in workloads ── probe: what they do there
//! ```

mod effect;
mod inside;
mod latency;
mod memory;
pub(crate) mod probe;
mod topology;

use std::{env, fs, process::Command, time::Duration};

use anyhow::{Context, ensure};
use mizzen_e2e::{Mesh, descendants};
use rustix::{
    process::{Resource, Rlimit, Signal, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};
use serde::Serialize;

use crate::table;

/// No step takes longer, unless something is broken.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Edits of a route.
    #[arg(long, default_value_t = 50)]
    edits: usize,
    /// Rounds of load with and without sidecars; the medians over them are reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load in each.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Idle connections.
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Only these: effect, latency, memory.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { edits: 50, rounds: 3, seconds: 10.0, connections: 1_000, only: Vec::new() }
    }
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }

    /// As arguments again.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--edits={}", self.edits),
            format!("--rounds={}", self.rounds),
            format!("--seconds={}", self.seconds),
            format!("--connections={}", self.connections),
        ];
        if !self.only.is_empty() {
            arguments.push(format!("--only={}", self.only.join(",")));
        }
        arguments
    }
}

/// Two points of a distribution, in ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
}

impl Quantiles {
    /// Of values in ms; none of none. The p99 of fewer than a hundred is the largest.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |quantile: f64| values.get(((values.len() as f64 * quantile).ceil() as usize).max(1) - 1).copied();
        Some(Self { p50: at(0.5)?, p99: at(0.99)? })
    }
}

#[derive(Default, Serialize)]
struct PerConnection {
    h1_plain: Option<f64>,
    h2_mtls: Option<f64>,
}

/// `mesh.json`.
#[derive(Default, Serialize)]
struct Figures {
    edit_to_effect_ms: Option<Quantiles>,
    server_first_ms: Option<f64>,
    idle_sidecar_rss_kb: Option<u64>,
    kb_per_idle_connection: PerConnection,
    added_ms: Option<Quantiles>,
}

/// The figures, and the rows of the table, which show more than them.
#[derive(Default)]
struct Report {
    figures: Figures,
    rows: Vec<Vec<String>>,
}

impl Report {
    fn row(&mut self, what: &str, cells: [String; 2], budget: &str) {
        let [first, second] = cells;
        self.rows.push(vec![what.to_owned(), first, second, budget.to_owned()]);
    }

    fn quantiles(&mut self, what: &str, values: Quantiles) {
        self.row(what, [format!("{:.2}", values.p50), format!("{:.2}", values.p99)], "");
    }

    /// What a part measured; a part that could not leaves nulls, and says why.
    fn part<T>(&mut self, what: &str, outcome: anyhow::Result<T>, keep: impl FnOnce(&mut Self, T)) {
        match outcome {
            Ok(measured) => keep(self, measured),
            Err(error) => println!("mesh: {what} was not measured: {error:#}"),
        }
    }
}

/// Measures in a process of its own: the harness finds the programs by a variable, and gives up by a panic.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if env::var_os("MIZZEN_BIN").is_some() {
        return measure(options);
    }
    unpin()?;
    let own = env::current_exe()?;
    let home = own.parent().context("the directory of this program")?;
    let status = Command::new(&own).arg("mesh").args(options.arguments()).env("MIZZEN_BIN", home).status()?;
    ensure!(status.success(), "the mesh suite ended with {status}");
    Ok(())
}

fn measure(options: &Options) -> anyhow::Result<()> {
    end_the_mesh_on_panic();
    raise_descriptors()?;
    let mut report = Report::default();
    let mesh = Mesh::up(&[("mesh.yaml", &topology::workloads()), (topology::ROUTES, &topology::route("v1"))], &[]);
    if options.wants("memory") {
        report.part("the memory of an idle sidecar", memory::idle_sidecar(&mesh), |report, rss_kb| {
            report.figures.idle_sidecar_rss_kb = Some(rss_kb);
            report.row("RSS of an idle sidecar, KiB", [rss_kb.to_string(), String::new()], "10240");
        });
        let plain = memory::connection(&mesh, memory::Kind::Http1Plain, options.connections);
        report.part("the memory of an idle HTTP/1.1 connection", plain, |report, each| {
            report.figures.kb_per_idle_connection.h1_plain = Some(each.kib);
            report.row("KiB of an idle connection, HTTP/1.1 plain", each.cells(), "24");
        });
        let sealed = memory::connection(&mesh, memory::Kind::Http2Mutual, options.connections);
        report.part("the memory of an idle HTTP/2 connection", sealed, |report, each| {
            report.figures.kb_per_idle_connection.h2_mtls = Some(each.kib);
            report.row("KiB of an idle connection, HTTP/2 mTLS", each.cells(), "64");
        });
    }
    if options.wants("effect") {
        report.part("the time from edit to effect", effect::edits(&mesh, options.edits), |report, times| {
            report.figures.edit_to_effect_ms = Some(times);
            report.quantiles("edit to effect, ms", times);
        });
    }
    if options.wants("latency") {
        latency::server_first(&mesh, &mut report);
        latency::added(&mesh, options, &mut report);
    }
    drop(mesh);
    table::print(&["mesh", "p50 or value", "p99", "budget"], &report.rows);
    fs::write(crate::out("mesh.json")?, serde_json::to_string_pretty(&report.figures)?)?;
    Ok(())
}

/// A release build aborts on a panic, so that no destructor ends the mesh: this does.
fn end_the_mesh_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |why| {
        usual(why);
        let meshes: Vec<_> =
            descendants(std::process::id()).into_iter().filter(|process| process.command.contains(" up ")).collect();
        for mesh in &meshes {
            mesh.signal(Signal::INT);
        }
        for _ in 0..200 {
            if !meshes.iter().any(mizzen_e2e::Process::is_running) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }));
}

/// Suites that ran before in this process have pinned it, and what it starts, to one core.
fn unpin() -> anyhow::Result<()> {
    let mut all = CpuSet::new();
    for core in 0..CpuSet::MAX_CPU {
        all.set(core);
    }
    sched_setaffinity(None, &all).context("use all cores")
}

/// A thousand connections through a proxy are two thousand descriptors in it; what we start inherits our limit.
fn raise_descriptors() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("raise the limit of open files")
}

#[cfg(test)]
mod tests;
