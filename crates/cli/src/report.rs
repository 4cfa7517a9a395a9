//! What `--report` writes, and whether a `--for` run went well: pure functions of what was measured.
//!
//! What was not measured is `null`, never 0.

use std::{collections::BTreeMap, sync::Arc};

use mizzen_telemetry::{EdgeProtocol, percentile};
use serde::{Deserialize, Serialize};

use crate::{
    edges::{Figures, Totals},
    fleet::WorkloadView,
};

/// Requests that a `--for` run must have seen.
const REQUESTS_MIN: u64 = 100;

/// The file's content.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) requests_total: u64,
    pub(crate) success_rate: Option<f64>,
    /// Of the requests that arrived at sidecars.
    pub(crate) mtls_share: Option<f64>,
    pub(crate) edges: Vec<EdgeView>,
    pub(crate) workloads: Vec<WorkloadReport>,
    pub(crate) config: ConfigReport,
}

/// One edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EdgeView {
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) protocol: EdgeProtocol,
    pub(crate) requests: u64,
    pub(crate) success_rate: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// From 0 to 1.
    pub(crate) mtls: Option<f64>,
    /// IANA name of the group, or `mixed`.
    pub(crate) key_exchange: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct WorkloadReport {
    pub(crate) name: String,
    pub(crate) ready: bool,
    /// Replicas summed.
    pub(crate) proxy_rss_kb: Option<u64>,
    pub(crate) proxy_cpu_s: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ConfigReport {
    pub(crate) generations: Option<u64>,
    pub(crate) convergence_ms_p50: Option<f64>,
    pub(crate) convergence_ms_p99: Option<f64>,
}

/// Resources of one workload's proxies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) rss_kb: u64,
    pub(crate) cpu_s: f64,
}

/// What the control plane measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Convergence {
    pub(crate) generations: Option<u64>,
    pub(crate) ms: Vec<f64>,
}

pub(crate) fn report(
    totals: &Totals,
    workloads: &[WorkloadView],
    usage: &BTreeMap<String, Usage>,
    convergence: &Convergence,
) -> Report {
    let sum = totals.sum();
    let workloads = workloads.iter().map(|workload| {
        let usage = usage.get(&workload.name);
        WorkloadReport {
            name: workload.name.clone(),
            ready: workload.is_ready(),
            proxy_rss_kb: usage.map(|usage| usage.rss_kb),
            proxy_cpu_s: usage.map(|usage| usage.cpu_s),
        }
    });
    Report {
        requests_total: sum.requests,
        success_rate: success_rate(&sum),
        mtls_share: share(sum.mtls, sum.arrived),
        edges: edge_views(totals),
        workloads: workloads.collect(),
        config: ConfigReport {
            generations: convergence.generations,
            convergence_ms_p50: quantile(&convergence.ms, 0.5),
            convergence_ms_p99: quantile(&convergence.ms, 0.99),
        },
    }
}

pub(crate) fn edge_views(totals: &Totals) -> Vec<EdgeView> {
    let edges = totals.0.iter().map(|(name, figures)| {
        let ms = |at: f64| percentile(&figures.latency_us, at).map(|us| us as f64 / 1000.0);
        EdgeView {
            source: name.source.to_string(),
            destination: name.destination.to_string(),
            protocol: name.protocol,
            requests: figures.requests,
            success_rate: success_rate(figures),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            mtls: share(figures.mtls, figures.arrived),
            key_exchange: key_exchange(&figures.key_exchange),
        }
    });
    edges.collect()
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn success_rate(figures: &Figures) -> Option<f64> {
    share(figures.requests.saturating_sub(figures.failures), figures.requests)
}

fn key_exchange(groups: &BTreeMap<Arc<str>, u64>) -> Option<String> {
    let mut used = groups.iter().filter(|(_, count)| **count > 0).map(|(group, _)| group);
    match (used.next(), used.next()) {
        (None, _) => None,
        (Some(one), None) => Some(one.to_string()),
        (Some(_), Some(_)) => Some("mixed".to_owned()),
    }
}

/// The value below which the share `at` of the values lies (nearest rank).
fn quantile(values: &[f64], at: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (at * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Why a `--for` run did not go well; empty if it did. `workloads` are given if not all of them became ready in time.
pub(crate) fn shortcomings(report: &Report, workloads: Option<&[WorkloadView]>) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(workloads) = workloads {
        found.push("not all workloads became ready in time".to_owned());
        let late = workloads.iter().filter(|workload| !workload.is_ready());
        found.extend(
            late.map(|late| format!("{} is not ready: {}", late.name, late.why.as_deref().unwrap_or("starting"))),
        );
    }
    if report.requests_total < REQUESTS_MIN {
        found.push(format!("{} requests passed, expected {REQUESTS_MIN} at least", report.requests_total));
    }
    for edge in report.edges.iter().filter(|edge| edge.success_rate.is_some_and(|rate| rate < 1.0)) {
        let rate = edge.success_rate.unwrap_or_default();
        let failed = ((1.0 - rate) * edge.requests as f64).round();
        found.push(format!(
            "{failed} of {} requests from {} to {} failed",
            edge.requests, edge.source, edge.destination
        ));
    }
    found
}

#[cfg(test)]
mod tests;
