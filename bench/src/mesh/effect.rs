//! From the rename of an edited VirtualService to the first answer that shows it.
//!
//! A client beside the workload's sidecar asks every 2 ms over one connection and notes when the server's name changes.
//! Both ends read the monotonic clock, which all processes of a machine share. The interval, and the request itself, are
//! part of the figure.

use std::time::Duration;

use anyhow::Context;
use mizzen_e2e::Mesh;

use super::{
    PATIENCE, Quantiles,
    inside::{Inside, PROBE},
    probe, topology,
};

/// Pauses between edits, at random: in step with nothing.
const PAUSE_MS: std::ops::Range<u64> = 50..150;

/// Edits the route so often, each edit when the one before it has been seen in force.
pub(super) fn edits(mesh: &Mesh, edits: usize) -> anyhow::Result<Quantiles> {
    let command = [&PROBE[..], &["watch", "--url", "http://echo/", "--every-us", "2000"]].concat();
    let mut watch = Inside::start(mesh, "client", &command)?;
    let mut serving = peer(&watch.next(PATIENCE)?)?.0;
    let mut rng = fastrand::Rng::with_seed(1);
    let mut took = Vec::with_capacity(edits);
    for edit in 0..edits {
        std::thread::sleep(Duration::from_millis(rng.u64(PAUSE_MS)));
        let wanted = if serving == "v1" { "v2" } else { "v1" };
        let text = topology::route(wanted);
        let renamed_ns = probe::monotonic_ns();
        mesh.write(topology::ROUTES, &text);
        let seen_ns = loop {
            let line = watch.next(PATIENCE).with_context(|| format!("edit {edit} has no effect"))?;
            let (name, at_ns) = peer(&line)?;
            serving = name;
            if serving == wanted {
                break at_ns;
            }
        };
        took.push(seen_ns.saturating_sub(renamed_ns) as f64 / 1e6);
    }
    Quantiles::of(took).context("no edit was made")
}

/// Who answered, and when.
fn peer(line: &serde_json::Value) -> anyhow::Result<(String, u64)> {
    let name = line["peer"].as_str().with_context(|| format!("no server's name: {line}"))?;
    Ok((name.to_owned(), line["at_ns"].as_u64().context("no time")?))
}
