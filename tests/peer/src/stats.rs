//! What a load run counts, and its summary.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

/// Failures that the summary lists one by one; the counts go on.
const FAILURES_LISTED_MAX: usize = 1_000;

/// Why a request did not count as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Connect,
    Reset,
    Timeout,
    Status,
    Body,
}

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    /// When the request began.
    began_unix_ms: u128,
    ended_unix_ms: u128,
    what: String,
}

/// Counts of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Stats {
    pub(crate) sent: u64,
    pub(crate) ok: u64,
    pub(crate) non_2xx: u64,
    pub(crate) resets: u64,
    pub(crate) timeouts: u64,
    pub(crate) connect_errors: u64,
    pub(crate) body_mismatches: u64,
    /// Connections opened, the first ones included.
    pub(crate) connections: u64,
    pub(crate) per_status: BTreeMap<u16, u64>,
    /// By `x-peer`, the name of the server that answered.
    pub(crate) per_peer: BTreeMap<String, u64>,
    failures: Vec<Failure>,
    #[serde(skip)]
    latencies_us: Vec<u32>,
}

/// When a request began, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    pub(crate) instant: std::time::Instant,
    wall: SystemTime,
}

impl Began {
    pub(crate) fn now() -> Self {
        Self { instant: std::time::Instant::now(), wall: SystemTime::now() }
    }
}

impl Stats {
    /// A good answer.
    pub(crate) fn good(&mut self, began: Began, status: u16, peer: Option<&str>) {
        self.ok += 1;
        self.latencies_us.push(u32::try_from(began.instant.elapsed().as_micros()).unwrap_or(u32::MAX));
        self.answered(status, peer);
    }

    /// An answer, good or not.
    pub(crate) fn answered(&mut self, status: u16, peer: Option<&str>) {
        *self.per_status.entry(status).or_default() += 1;
        if let Some(peer) = peer {
            match self.per_peer.get_mut(peer) {
                Some(count) => *count += 1,
                None => drop(self.per_peer.insert(peer.to_owned(), 1)),
            }
        }
    }

    /// No answer, or a bad one.
    pub(crate) fn bad(&mut self, began: Began, fault: Fault, what: String) {
        let count = match fault {
            Fault::Connect => &mut self.connect_errors,
            Fault::Reset => &mut self.resets,
            Fault::Timeout => &mut self.timeouts,
            Fault::Status => &mut self.non_2xx,
            Fault::Body => &mut self.body_mismatches,
        };
        *count += 1;
        if self.failures.len() < FAILURES_LISTED_MAX {
            let (began_unix_ms, ended_unix_ms) = (unix_ms(began.wall), unix_ms(SystemTime::now()));
            self.failures.push(Failure { began_unix_ms, ended_unix_ms, what });
        }
    }

    /// Whether everything that was sent was answered well.
    pub(crate) fn all_good(&self) -> bool {
        self.sent > 0 && self.ok == self.sent
    }

    /// The last line of output.
    pub(crate) fn summary(mut self, took: Duration) -> serde_json::Value {
        self.latencies_us.sort_unstable();
        let latencies = &self.latencies_us;
        let figures = serde_json::json!({
            "p50_ms": quantile_ms(latencies, 0.5),
            "p90_ms": quantile_ms(latencies, 0.9),
            "p99_ms": quantile_ms(latencies, 0.99),
            "max_ms": quantile_ms(latencies, 1.0),
        });
        let mut summary = serde_json::to_value(&self).unwrap_or_default();
        summary["latency"] = figures;
        summary["seconds"] = took.as_secs_f64().into();
        summary["rps"] = (self.sent as f64 / took.as_secs_f64().max(f64::EPSILON)).into();
        summary
    }
}

/// The value below which the share `quantile` of the sorted values lies, in ms; none of none.
fn quantile_ms(sorted_us: &[u32], quantile: f64) -> Option<f64> {
    let rank = (sorted_us.len() as f64 * quantile).ceil() as usize;
    sorted_us.get(rank.max(1) - 1).map(|us| f64::from(*us) / 1_000.0)
}

fn unix_ms(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

#[cfg(test)]
mod tests;
