//! What the data plane says about the traffic it carries: metrics, access logs and edges.
//!
//! In: facts that the proxy's phases gathered, once per request or connection. Out: Prometheus text, log lines, and the
//! edges that the CLI and dashboard show. Knows neither routing nor protobuf nor sockets, and reads no clock: times are
//! arguments.
//!
//! ```text
//!  worker 1 ── Shard ──┐                         ┌─► /stats/prometheus   Metrics::render
//!  worker 2 ── Shard ──┴── Metrics (sums them) ──┴─► /edges              Metrics::edges
//!  worker n ── Shard ─                            (another thread; never stops a worker)
//!
//!  worker n ── LogWriter (16 KiB buffer) ── bounded queue ──► Sink's thread ──► stdout | file
//! ```
//! **On the hot path**: a handle ([`HttpSeries`], [`TcpSeries`], [`Edge`]) is resolved where a connection, route or
//! cluster is new; recording through it is a few plain stores. A handle stays on the worker whose [`Shard`] made it: one
//! writer per cell.
//! **Bounds**: series per process ([`Limits`]), rows per series, chunks in a log queue ([`access_log::QUEUE_CHUNKS`]).
//! What finds no room is folded or dropped, and counted.

mod flags;
mod labels;

mod latency;
mod metrics;

mod edges;

mod record;

pub mod access_log;

pub use edges::{Direction, Edge, EdgeKey, EdgeProtocol, EdgeReport, EdgeTotals};
pub use flags::{Flag, Flags};
pub use labels::{Labels, Reporter, SecurityPolicy, Service, UNKNOWN, Workload};
pub use latency::{merge as merge_latencies, percentile};
pub use metrics::{Counter, Gauge, HttpOutcome, HttpSeries, Limits, Metrics, RequestProtocol, Shard, TcpSeries};
pub use record::{ConnFacts, Flow, HttpRecord, TlsFacts, Upstream};
