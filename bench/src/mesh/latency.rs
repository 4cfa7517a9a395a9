//! What two sidecars with mTLS between them add to a call, and what detection costs where the server speaks first.

use anyhow::{Context, ensure};
use mizzen_e2e::Mesh;
use serde_json::Value;

use super::{
    Options, Quantiles, Report,
    inside::{self, PROBE},
};
use crate::table::median;

/// Requests a second, of all connections together.
const RPS: u32 = 1_000;
/// Few enough that a stalled answer delays what comes behind it (each has one request in flight), and that handshakes are
/// below the 99th percentile.
const CONNECTIONS: u32 = 16;
/// Seconds of load before the rounds, on each path: pools, caches.
const WARM_UP_S: f64 = 2.0;
/// A run that reached less of the asked rate says nothing about it.
const RPS_SHARE_MIN: f64 = 0.98;
/// Times a banner is waited for.
const BANNERS: &str = "50";

/// A way from a client to a server.
struct Path<'a> {
    client: &'a str,
    url: String,
}

/// Interleaved rounds through both sidecars and past them.
pub(super) fn added(mesh: &Mesh, options: &Options, report: &mut Report) {
    let measured = compare(mesh, options);
    report.part("added latency", measured, |report, [without, with]| {
        let added = Quantiles { p50: with.p50 - without.p50, p99: with.p99 - without.p99 };
        report.figures.added_ms = Some(added);
        report.quantiles(&format!("call at {RPS}/s without sidecars, ms"), without);
        report.quantiles(&format!("call at {RPS}/s through two sidecars, ms"), with);
        report.quantiles("added by two sidecars and mTLS, ms", added);
    });
}

/// Without sidecars, with them.
fn compare(mesh: &Mesh, options: &Options) -> anyhow::Result<[Quantiles; 2]> {
    let (address, _) = mesh.addresses("bare-server");
    let paths = [
        Path { client: "plain", url: format!("http://{address}:8080/?bytes=256") },
        Path { client: "client", url: "http://server/?bytes=256".to_owned() },
    ];
    let mut rounds: [Vec<Quantiles>; 2] = Default::default();
    for path in &paths {
        load(mesh, path, WARM_UP_S)?;
    }
    for _ in 0..options.rounds {
        for (path, rounds) in paths.iter().zip(&mut rounds) {
            rounds.push(load(mesh, path, options.seconds)?);
        }
    }
    Ok(rounds.map(|rounds| {
        let of = |pick: fn(&Quantiles) -> f64| median(&mut rounds.iter().map(pick).collect::<Vec<_>>());
        Quantiles { p50: of(|round| round.p50), p99: of(|round| round.p99) }
    }))
}

fn load(mesh: &Mesh, path: &Path<'_>, seconds: f64) -> anyhow::Result<Quantiles> {
    let (rps, connections, seconds) = (RPS.to_string(), CONNECTIONS.to_string(), seconds.to_string());
    let command = ["mizzen-peer", "load", "--url", &path.url, "--rps", &rps, "--connections", &connections];
    let command = [&command[..], &["--duration", &seconds]].concat();
    let told = inside::ask(mesh, path.client, &command)?;
    let reached = told["rps"].as_f64().unwrap_or_default();
    ensure!(reached >= RPS_SHARE_MIN * f64::from(RPS), "{} reached {reached:.0} requests/s only", path.url);
    quantiles(&told["latency"])
}

fn quantiles(told: &Value) -> anyhow::Result<Quantiles> {
    let figure = |name: &str| told[name].as_f64().with_context(|| format!("no {name} in {told}"));
    Ok(Quantiles { p50: figure("p50_ms")?, p99: figure("p99_ms")? })
}

/// From the connect to the first byte of a server that speaks first, by what its port says of the protocol.
pub(super) fn server_first(mesh: &Mesh, report: &mut Report) {
    let (bare, _) = mesh.addresses("bare-greeter");
    let bare = format!("{bare}:2500");
    let ways = [
        ("server first, without sidecars, ms", "plain", bare.as_str(), false),
        ("server first, port declared TCP, ms", "client", "greeter:2500", false),
        ("server first, port undeclared, ms", "client", "greeter:2501", true),
    ];
    for (what, client, to, figure) in ways {
        let command = [&PROBE[..], &["banner", "--connect", to, "--count", BANNERS]].concat();
        let measured = inside::ask(mesh, client, &command).and_then(|told| quantiles(&told));
        report.part(what, measured, |report, times| {
            report.quantiles(what, times);
            if figure {
                report.figures.server_first_ms = Some(times.p50);
            }
        });
    }
}
