//! Metrics in shards, one per worker, summed when they are read.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use mizzen_telemetry::*;
//!
//! let metrics = Metrics::new(Limits::default());
//! let shard = metrics.shard(); // one per worker
//! let series = shard.http(&Labels {
//!     reporter: Reporter::Destination,
//!     source: Arc::new(Workload::unknown()),
//!     destination: Arc::new(Workload::unknown()),
//!     service: Arc::new(Service::unknown()),
//!     security: SecurityPolicy::MutualTls,
//! }); // once per connection, route or cluster
//! series.record(&HttpOutcome {
//!     protocol: RequestProtocol::Http,
//!     code: 200,
//!     flags: Flags::default(),
//!     duration: Duration::from_millis(3),
//!     request_bytes: 120,
//!     response_bytes: 4_096,
//! }); // once per request
//! let mut text = String::new();
//! metrics.render(&mut text);
//! assert!(text.contains("istio_requests_total{reporter=\"destination\""));
//! ```

mod budget;
mod cell;
mod exposition;
mod histogram;
mod http;
mod own;
pub(crate) mod registry;
mod rows;
mod tcp;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub(crate) use self::cell::Cell;
use self::{budget::Budget, http::HttpShard, own::OwnMetrics, registry::Registry, tcp::TcpShard};
pub use self::{
    http::{HttpOutcome, HttpSeries, RequestProtocol},
    own::{Counter, Gauge},
    tcp::TcpSeries,
};
use crate::{
    edges::{Edge, EdgeKey, EdgeReport, EdgeShard},
    labels::Labels,
};

/// Bounds on what is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Combinations of labels (code and flags included) per process, counted in each shard that saw them. Beyond it,
    /// observations go to a series whose labels say `overflow`, and `mizzen_metrics_overflow_total` counts each
    /// refusal. A combination costs at most 1.5 KiB.
    pub series: usize,
    /// Edges per process, likewise; beyond it they are folded into an edge whose destination is `overflow`.
    pub edges: usize,
    /// A series or edge that recorded nothing for so long is forgotten at the next [`Metrics::expire`].
    pub idle: Duration,
}

impl Default for Limits {
    /// 10,000 series, 2,000 edges, an hour.
    fn default() -> Self {
        Self { series: 10_000, edges: 2_000, idle: Duration::from_hours(1) }
    }
}

/// All metrics of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    series: Arc<Budget>,
    edges: Arc<Budget>,
    own: OwnMetrics,
    shards: Mutex<Vec<Shard>>,
}

impl Metrics {
    /// Empty, without a shard.
    pub fn new(limits: Limits) -> Self {
        let (series, edges) = (Arc::new(Budget::new(limits.series)), Arc::new(Budget::new(limits.edges)));
        Self(Arc::new(Inner { limits, own: OwnMetrics::new(series.clone()), series, edges, shards: Mutex::default() }))
    }

    /// A new shard, for one worker.
    pub fn shard(&self) -> Shard {
        let mut shards = self.0.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let overflow = Labels::overflow();
        let shard = Shard {
            index: shards.len() + 1,
            http: Registry::new(overflow.clone(), self.0.series.clone()),
            tcp: Registry::new(overflow, self.0.series.clone()),
            edges: Registry::new(EdgeKey::overflow(), self.0.edges.clone()),
            metrics: Arc::downgrade(&self.0),
        };
        shards.push(shard.clone());
        shard
    }

    /// A counter of the process itself, which any thread may add to. The same name and labels give the same counter.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.0.own.counter(name, labels, own::SHARED)
    }

    /// A gauge of the process itself.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.0.own.gauge(name, labels)
    }

    /// Sets `istio_build{component="proxy",tag=…}` to 1.
    pub fn build(&self, tag: &str) {
        self.gauge("istio_build", &[("component", "proxy"), ("tag", tag)]).set(1);
    }

    /// Forgets what was idle for [`Limits::idle`]. To be called every minute or so, from any thread.
    pub fn expire(&self, now: Instant) {
        for shard in self.shards() {
            shard.http.expire(now, self.0.limits.idle);
            shard.tcp.expire(now, self.0.limits.idle);
            shard.edges.expire(now, self.0.limits.idle);
        }
        self.0.own.expire(now, self.0.limits.idle);
    }

    /// Appends everything in Prometheus' text format 0.0.4.
    pub fn render(&self, out: &mut String) {
        let shards = self.shards();
        exposition::http(&shards, out);
        exposition::tcp(&shards, out);
        exposition::own(&self.0.own, out);
        exposition::single(out, "gauge", "mizzen_metrics_series", self.0.series.used() as u64);
        exposition::single(out, "counter", "mizzen_metrics_overflow_total", self.0.series.refused());
        exposition::single(out, "counter", "mizzen_edges_overflow_total", self.0.edges.refused());
    }

    /// All edges, summed over the shards; its JSON is the answer of the admin's `/edges`.
    pub fn edges(&self) -> EdgeReport {
        EdgeReport::collect(self.shards().iter().flat_map(|shard| shard.edges.entries()))
    }

    fn shards(&self) -> Vec<Shard> {
        self.0.shards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One worker's part. Handles made by it are for this worker only.
#[derive(Clone, Debug)]
pub struct Shard {
    index: usize,
    http: Arc<HttpShard>,
    tcp: Arc<TcpShard>,
    edges: Arc<EdgeShard>,
    metrics: std::sync::Weak<Inner>,
}

impl Shard {
    /// The series of HTTP and gRPC requests with these labels. Hashes the labels: keep the handle.
    pub fn http(&self, labels: &Labels) -> HttpSeries {
        HttpSeries::new(self.http.resolve(labels))
    }

    /// The series of TCP connections with these labels. Hashes the labels: keep the handle.
    pub fn tcp(&self, labels: &Labels) -> TcpSeries {
        TcpSeries::new(self.tcp.resolve(labels))
    }

    /// The edge of this key. Hashes it: keep the handle.
    pub fn edge(&self, key: &EdgeKey) -> Edge {
        Edge::new(self.edges.resolve(key))
    }

    /// This worker's part of a counter of the process itself: like [`Metrics::counter`], without the locked
    /// instruction.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        match self.metrics.upgrade() {
            Some(metrics) => metrics.own.counter(name, labels, self.index),
            None => Counter::detached(),
        }
    }
}

#[cfg(test)]
mod tests;
