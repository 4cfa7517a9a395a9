//! A mesh in words: aligned columns for `mizzen status` and `mizzen get`, and the cells that the live table shows too.

use std::fmt::Write as _;

use mizzen_telemetry::EdgeProtocol;

use crate::{
    fleet::WorkloadView,
    mizzend::{Change, FindingView, ObjectView},
    status::{LiveEdge, Status, WorkloadUsage},
};

/// Findings shown before "and N more".
const FINDINGS_MAX: usize = 20;

pub(crate) const WORKLOAD_COLUMNS: [&str; 6] = ["WORKLOAD", "READY", "RSS", "PROXY RSS", "CPU", ""];
pub(crate) const EDGE_COLUMNS: [&str; 9] =
    ["FROM", "TO", "PROTOCOL", "REQ/S", "SUCCESS", "P50", "P99", "MTLS", "KEY EXCHANGE"];

pub(crate) fn workload_cells(workload: &WorkloadView, usage: Option<&WorkloadUsage>) -> [String; 6] {
    let usage = usage.copied().unwrap_or_default();
    let mut remark = workload.why.clone().unwrap_or_default();
    if workload.leaving > 0 {
        let separator = if remark.is_empty() { "" } else { "; " };
        let _ = write!(remark, "{separator}{} leaving", workload.leaving);
    }
    [
        workload.name.clone(),
        format!("{}/{}", workload.ready, workload.replicas),
        usage.app.map_or_else(dash, |app| mebibytes(app.rss_kb)),
        usage.proxy.map_or_else(dash, |proxy| mebibytes(proxy.rss_kb)),
        usage.cpu_share.map_or_else(dash, |share| format!("{:.1} %", share * 100.0)),
        remark,
    ]
}

pub(crate) fn edge_cells(live: &LiveEdge) -> [String; 9] {
    let edge = &live.edge;
    [
        edge.source.clone(),
        edge.destination.clone(),
        protocol(edge.protocol).to_owned(),
        format!("{:.1}", live.rate),
        edge.success_rate.map_or_else(dash, percent),
        edge.p50_ms.map_or_else(dash, milliseconds),
        edge.p99_ms.map_or_else(dash, milliseconds),
        edge.mtls.map_or_else(dash, percent),
        edge.key_exchange.clone().unwrap_or_else(dash),
    ]
}

pub(crate) fn finding(finding: &FindingView) -> String {
    let mut line = finding.severity.clone();
    if let Some(object) = &finding.object {
        let _ = write!(line, ": {object}");
    }
    let _ = write!(line, ": {}", finding.message);
    if let Some(file) = finding.file.as_deref().filter(|file| !file.is_empty()) {
        match finding.line.filter(|line| *line > 0) {
            Some(at) => drop(write!(line, " ({file}:{at})")),
            None => drop(write!(line, " ({file})")),
        }
    }
    line
}

/// `reviews.yaml: VirtualService/default/reviews, applied by 12/12 proxies in 21 ms`.
pub(crate) fn change(change: &Change) -> String {
    let mut line = change.files.join(", ");
    if line.is_empty() {
        let _ = write!(line, "generation {}", change.generation);
    }
    if !change.objects.is_empty() {
        let _ = write!(line, ": {}", some_of(&change.objects));
    }
    let _ = write!(line, ", applied by {}/{} proxies", change.applied, change.total);
    if let Some(ms) = change.ms {
        let _ = write!(line, " in {ms:.0} ms");
    }
    line
}

fn some_of(objects: &[String]) -> String {
    match objects {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        all => all.join(", "),
    }
}

pub(crate) fn status(status: &Status) -> String {
    let mut out = format!("{} {}\n", status.directory, if status.ready { "is ready" } else { "is not ready" });
    if let Some(trouble) = &status.trouble {
        let _ = writeln!(out, "{trouble}");
    }
    for line in &status.published {
        let _ = writeln!(out, "{line}");
    }
    let workloads = status.workloads.iter().map(|workload| workload_cells(workload, status.usage.get(&workload.name)));
    out += "\n";
    out += &columns(&WORKLOAD_COLUMNS, workloads);
    if !status.edges.is_empty() {
        out += "\n";
        out += &columns(&EDGE_COLUMNS, status.edges.iter().map(edge_cells));
    }
    if !status.findings.is_empty() {
        out += "\nFINDINGS\n";
        for line in status.findings.iter().take(FINDINGS_MAX).map(finding) {
            let _ = writeln!(out, "{line}");
        }
        let more = status.findings.len().saturating_sub(FINDINGS_MAX);
        if more > 0 {
            let _ = writeln!(out, "and {more} more");
        }
    }
    if let Some(last) = &status.last_change {
        let _ = writeln!(out, "\nLAST CHANGE\n{}", change(last));
    }
    out
}

pub(crate) fn objects(objects: &[ObjectView]) -> String {
    let rows = objects.iter().map(|object| {
        let place = match (&object.file, object.line) {
            (Some(file), Some(line)) if line > 0 => format!("{file}:{line}"),
            (Some(file), _) => file.clone(),
            (None, _) => dash(),
        };
        [object.object.clone(), object.state.clone(), place, object.message.clone().unwrap_or_default()]
    });
    columns(&["OBJECT", "STATE", "FILE", ""], rows)
}

/// Left-aligned columns, as wide as their widest cell.
fn columns<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

pub(crate) fn protocol(protocol: EdgeProtocol) -> &'static str {
    match protocol {
        EdgeProtocol::Http => "http",
        EdgeProtocol::Grpc => "grpc",
        EdgeProtocol::Tcp => "tcp",
    }
}

fn mebibytes(kb: u64) -> String {
    format!("{:.1} MB", kb as f64 / 1024.0)
}

/// 100 % is all of it: 0.9999 is not shown as such.
fn percent(share: f64) -> String {
    if share >= 1.0 { "100 %".to_owned() } else { format!("{:.1} %", (share * 1000.0).floor() / 10.0) }
}

fn milliseconds(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests;
