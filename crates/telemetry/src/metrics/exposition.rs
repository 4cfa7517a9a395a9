//! Prometheus' text format 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    Shard,
    histogram::{BOUNDS, HistogramTotals},
    http::{HttpTotals, RequestProtocol, RowKey},
    own::OwnMetrics,
    tcp::TcpTotals,
};
use crate::{flags::Flags, labels::Labels};

/// `a="1",b="2"`, values escaped.
pub(crate) fn label_text(labels: &[(&'static str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        push_label(&mut text, name, value);
    }
    text
}

pub(crate) fn single(out: &mut String, kind: &str, name: &str, value: u64) {
    push_type(out, kind, name);
    push_sample(out, name, "", value);
}

/// The families of HTTP and gRPC requests.
pub(crate) fn http(shards: &[Shard], out: &mut String) {
    let mut requests = BTreeMap::<String, HttpTotals>::new();
    let mut messages = BTreeMap::<String, (u64, u64)>::new();
    for entry in shards.iter().flat_map(|shard| shard.http.entries()) {
        let prefix = label_text(&entry.key.pairs());
        for (bits, row) in entry.series.rows.iter() {
            requests.entry(http_labels(&prefix, &entry.key, RowKey::from_bits(bits))).or_default().absorb(row);
        }
        let (sent, received) = (entry.series.request_messages.get(), entry.series.response_messages.get());
        if sent + received > 0 {
            let total = messages.entry(prefix).or_default();
            *total = (total.0 + sent, total.1 + received);
        }
    }
    counters(out, "istio_requests_total", requests.iter().map(|(labels, row)| (labels, row.duration.count())));
    histograms(
        out,
        "istio_request_duration_milliseconds",
        requests.iter().map(|(labels, row)| (labels, &row.duration)),
    );
    histograms(out, "istio_request_bytes", requests.iter().map(|(labels, row)| (labels, &row.request_bytes)));
    histograms(out, "istio_response_bytes", requests.iter().map(|(labels, row)| (labels, &row.response_bytes)));
    counters(out, "istio_request_messages_total", messages.iter().map(|(labels, total)| (labels, total.0)));
    counters(out, "istio_response_messages_total", messages.iter().map(|(labels, total)| (labels, total.1)));
}

/// The families of TCP connections.
pub(crate) fn tcp(shards: &[Shard], out: &mut String) {
    let mut rows = BTreeMap::<String, TcpTotals>::new();
    for entry in shards.iter().flat_map(|shard| shard.tcp.entries()) {
        let prefix = label_text(&entry.key.pairs());
        for (bits, row) in entry.series.rows.iter() {
            let mut labels = prefix.clone();
            push_label(&mut labels, "request_protocol", "tcp");
            push_ending(&mut labels, Flags::from_bits(bits), &entry.key);
            rows.entry(labels).or_default().absorb(row);
        }
    }
    counters(out, "istio_tcp_connections_opened_total", rows.iter().map(|(labels, row)| (labels, row.opened)));
    counters(out, "istio_tcp_connections_closed_total", rows.iter().map(|(labels, row)| (labels, row.closed)));
    counters(out, "istio_tcp_sent_bytes_total", rows.iter().map(|(labels, row)| (labels, row.sent)));
    counters(out, "istio_tcp_received_bytes_total", rows.iter().map(|(labels, row)| (labels, row.received)));
}

/// The process' own counters and gauges.
pub(crate) fn own(own: &OwnMetrics, out: &mut String) {
    let mut family = "";
    for ((name, labels), value) in own.counters() {
        if name != family {
            push_type(out, "counter", name);
            family = name;
        }
        push_sample(out, name, &labels, value);
    }
    for ((name, labels), value) in own.gauges() {
        if name != family {
            push_type(out, "gauge", name);
            family = name;
        }
        push_sample(out, name, &labels, value);
    }
}

fn http_labels(prefix: &str, labels: &Labels, row: RowKey) -> String {
    let mut text = prefix.to_owned();
    let (protocol, status) = match row.protocol {
        RequestProtocol::Http => ("http", String::new()),
        RequestProtocol::Grpc { status } => ("grpc", status.map(|status| status.to_string()).unwrap_or_default()),
    };
    push_label(&mut text, "request_protocol", protocol);
    push_label(&mut text, "response_code", &row.code.to_string());
    push_label(&mut text, "grpc_response_status", &status);
    push_ending(&mut text, row.flags, labels);
    text
}

fn push_ending(text: &mut String, flags: Flags, labels: &Labels) {
    push_label(text, "response_flags", &flags.to_string());
    push_label(text, "connection_security_policy", labels.security.name());
}

/// One counter family; what is 0 was never seen in this form and is left out.
fn counters<'a>(out: &mut String, name: &str, rows: impl Iterator<Item = (&'a String, u64)>) {
    let mut rows = rows.filter(|(_, value)| *value > 0).peekable();
    if rows.peek().is_some() {
        push_type(out, "counter", name);
    }
    for (labels, value) in rows {
        push_sample(out, name, labels, value);
    }
}

fn histograms<'a>(out: &mut String, name: &str, rows: impl Iterator<Item = (&'a String, &'a HistogramTotals)>) {
    let mut rows = rows.filter(|(_, histogram)| histogram.count() > 0).peekable();
    if rows.peek().is_some() {
        push_type(out, "histogram", name);
    }
    for (labels, histogram) in rows {
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().chain(&["+Inf"]).zip(histogram.buckets) {
            below += count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", histogram.sum());
        push_sample(out, &format!("{name}_count"), labels, histogram.count());
    }
}

fn push_type(out: &mut String, kind: &str, name: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}");
}

fn push_sample(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ =
        if labels.is_empty() { writeln!(out, "{name} {value}") } else { writeln!(out, "{name}{{{labels}}} {value}") };
}

fn push_label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
}
