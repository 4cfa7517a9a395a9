//! What all threads of the process share: the configuration in force, the identity, counters, and the way to each worker.
//!
//! Written by the side thread, read by the workers. A worker reads one atomic number per request to learn that nothing
//! changed; it takes a new generation only then.

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use mizzen_snapshot::Snapshot;
use mizzen_telemetry::Metrics;
use tokio::sync::mpsc;

use crate::{access_log::AccessLogs, bootstrap::Bootstrap, tls::Identity, upstream::broker::Broker, worker::Command};

/// Commands that may wait at a worker. When it is full, a handed-over connection stays where it was accepted.
pub(crate) const COMMANDS_MAX: usize = 1024;

/// Connections of one worker, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Load(AtomicUsize);

impl Load {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Addresses of the host names that DNS clusters use.
pub(crate) type Resolved = std::collections::HashMap<Box<str>, Arc<[IpAddr]>>;

/// Shared by all threads.
pub(crate) struct Shared {
    pub(crate) bootstrap: Bootstrap,
    pub(crate) metrics: Metrics,
    pub(crate) access_logs: AccessLogs,
    pub(crate) broker: Option<Broker>,
    pub(crate) loads: Box<[Load]>,
    snapshot: ArcSwap<Snapshot>,
    identity: ArcSwapOption<Identity>,
    resolved: ArcSwap<Resolved>,
    /// Counts up when any of the three above changes.
    epoch: AtomicU64,
    workers: OnceLock<Vec<mpsc::Sender<Command>>>,
}

impl Shared {
    pub(crate) fn new(bootstrap: Bootstrap, metrics: Metrics, broker: Option<Broker>) -> Self {
        let loads = (0..bootstrap.workers).map(|_| Load::default()).collect();
        Self {
            access_logs: AccessLogs::default(),
            bootstrap,
            metrics,
            broker,
            loads,
            snapshot: ArcSwap::default(),
            identity: ArcSwapOption::empty(),
            resolved: ArcSwap::default(),
            epoch: AtomicU64::new(0),
            workers: OnceLock::new(),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.load_full()
    }

    pub(crate) fn resolved(&self) -> Arc<Resolved> {
        self.resolved.load_full()
    }

    /// Puts a generation in force and tells the workers.
    pub(crate) fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
        self.announce();
    }

    pub(crate) fn publish_identity(&self, identity: Arc<Identity>) {
        self.identity.store(Some(identity));
        self.announce();
    }

    pub(crate) fn publish_resolved(&self, resolved: Arc<Resolved>) {
        self.resolved.store(resolved);
        self.announce();
    }

    fn announce(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
        for worker in self.workers() {
            // A full queue is no loss: the worker compares epochs at each tick too.
            worker.try_send(Command::Reconfigured).ok();
        }
    }

    /// Set once, before the first worker starts.
    pub(crate) fn set_workers(&self, workers: Vec<mpsc::Sender<Command>>) {
        self.workers.set(workers).ok();
    }

    pub(crate) fn workers(&self) -> &[mpsc::Sender<Command>] {
        self.workers.get().map_or(&[], Vec::as_slice)
    }

    /// The worker that holds fewest connections, if it holds fewer than `me`.
    pub(crate) fn lighter_than(&self, me: usize) -> Option<usize> {
        let (least, load) = self.loads.iter().enumerate().min_by_key(|(_, load)| load.get())?;
        (load.get() < self.loads[me].get()).then_some(least)
    }
}
