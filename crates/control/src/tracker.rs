//! Which client has which generation, and how long each generation took to be everywhere.
//!
//! Pure: `now` is an argument. In: clients that come, acknowledge, refuse and go; generations that are published.
//! Out: progress of a generation, changes to tell, figures. Everything is bounded: old records are forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mizzen_xds::server::Nack;

/// Generations whose progress is remembered; an older one counts as applied by all who have a later one.
const RECORDS_MAX: usize = 256;
/// Changes and times kept for those who ask late.
const CHANGES_MAX: usize = 256;
const CONVERGENCE_MAX: usize = 1024;
/// Clients that are gone are shown this long.
const GONE_SHOWN: Duration = Duration::from_mins(1);
const GONE_MAX: usize = 256;
/// A change that is not everywhere after this time is told with how far it came.
const TELL_AFTER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientId(u64);

/// A client as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) node: String,
    pub(crate) namespace: Arc<str>,
    /// The last generation it has in full; `None` until the first.
    pub(crate) applied: Option<u64>,
    pub(crate) last_error: Option<String>,
    pub(crate) connected: bool,
}

/// What a generation changed, told once: when it is in force everywhere, or late.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Change {
    pub(crate) seq: u64,
    pub(crate) generation: u64,
    pub(crate) files: Vec<Arc<str>>,
    pub(crate) objects: Vec<String>,
    pub(crate) applied: usize,
    pub(crate) total: usize,
    /// From the edit to the last ACK; `None` while it is not everywhere.
    pub(crate) ms: Option<f64>,
}

/// How far a generation has come.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Progress {
    pub(crate) applied: usize,
    pub(crate) total: usize,
    pub(crate) ms: Option<f64>,
    pub(crate) generation: u64,
}

impl Progress {
    pub(crate) fn is_complete(&self) -> bool {
        self.applied == self.total
    }
}

#[derive(Debug)]
struct Record {
    generation: u64,
    seen: Instant,
    files: Vec<Arc<str>>,
    objects: Vec<String>,
    pending: BTreeSet<ClientId>,
    total: usize,
    ms: Option<f64>,
    told: bool,
}

/// A generation that is about to be sent.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) generation: u64,
    pub(crate) files: Vec<Arc<str>>,
    pub(crate) objects: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Tracker {
    next_client: u64,
    clients: BTreeMap<ClientId, Client>,
    gone: VecDeque<(Instant, Client)>,
    generation: u64,
    records: VecDeque<Record>,
    seq: u64,
    changes: VecDeque<Change>,
    last_change: Option<Change>,
    convergence_ms: VecDeque<f64>,
}

impl Tracker {
    pub(crate) fn join(&mut self, node: String, namespace: Arc<str>) -> ClientId {
        self.gone.retain(|(_, client)| client.node != node);
        self.next_client += 1;
        let id = ClientId(self.next_client);
        self.clients.insert(id, Client { node, namespace, applied: None, last_error: None, connected: true });
        id
    }

    pub(crate) fn leave(&mut self, id: ClientId, now: Instant) {
        let Some(mut client) = self.clients.remove(&id) else { return };
        client.connected = false;
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back((now, client));
        for record in &mut self.records {
            if record.pending.remove(&id) {
                record.total -= 1;
            }
        }
        self.finish(now);
    }

    /// Notes a generation before it is sent to the clients that are here.
    pub(crate) fn publish(&mut self, published: Published, seen: Instant, now: Instant) {
        self.generation = published.generation;
        if self.records.len() == RECORDS_MAX {
            self.records.pop_front();
        }
        self.records.push_back(Record {
            generation: published.generation,
            seen,
            files: published.files,
            objects: published.objects,
            pending: self.clients.keys().copied().collect(),
            total: self.clients.len(),
            ms: None,
            told: false,
        });
        self.finish(now);
    }

    pub(crate) fn applied(&mut self, id: ClientId, generation: u64, now: Instant) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.applied = Some(generation);
        if generation == self.generation {
            client.last_error = None;
        }
        for record in self.records.iter_mut().filter(|record| record.generation <= generation) {
            record.pending.remove(&id);
        }
        self.finish(now);
    }

    pub(crate) fn refused(&mut self, id: ClientId, nack: &Nack) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.last_error = Some(format!("{}: {}", nack.kind, nack.message));
        }
    }

    /// Tells the changes that have been on their way for too long.
    pub(crate) fn tick(&mut self, now: Instant) {
        while self.gone.front().is_some_and(|(since, _)| now.duration_since(*since) > GONE_SHOWN) {
            self.gone.pop_front();
        }
        for at in 0..self.records.len() {
            if now.duration_since(self.records[at].seen) > TELL_AFTER {
                self.tell(at);
            }
        }
    }

    /// How far `generation` has come; `None` if it is not published yet.
    pub(crate) fn progress(&self, generation: u64) -> Option<Progress> {
        if generation > self.generation {
            return None;
        }
        match self.records.iter().find(|record| record.generation >= generation) {
            Some(record) => Some(Progress {
                applied: record.total - record.pending.len(),
                total: record.total,
                ms: record.ms,
                generation: record.generation,
            }),
            None => Some(Progress { applied: 0, total: 0, ms: None, generation }),
        }
    }

    /// Changes told after `seq`, and the number of the last.
    pub(crate) fn changes_since(&self, seq: u64) -> (u64, Vec<Change>) {
        (self.seq, self.changes.iter().filter(|change| change.seq > seq).cloned().collect())
    }

    /// The last edit of files, with its progress as it is now.
    pub(crate) fn last_change(&self) -> Option<Change> {
        let record = self.records.iter().rev().find(|record| !record.files.is_empty());
        record.map(|record| change(record, self.seq)).or_else(|| self.last_change.clone())
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values().chain(self.gone.iter().map(|(_, client)| client))
    }

    pub(crate) fn connected(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn convergence_ms(&self) -> impl Iterator<Item = f64> {
        self.convergence_ms.iter().copied()
    }

    /// Closes the records that nobody is missing any more.
    fn finish(&mut self, now: Instant) {
        for at in 0..self.records.len() {
            let record = &mut self.records[at];
            if record.ms.is_some() || !record.pending.is_empty() {
                continue;
            }
            let ms = now.duration_since(record.seen).as_secs_f64() * 1e3;
            record.ms = Some(ms);
            if record.total > 0 {
                if self.convergence_ms.len() == CONVERGENCE_MAX {
                    self.convergence_ms.pop_front();
                }
                self.convergence_ms.push_back(ms);
            }
            self.tell(at);
        }
    }

    /// Tells a change once. What `lab` reports is no edit of the user's and is not told.
    fn tell(&mut self, at: usize) {
        let record = &mut self.records[at];
        if std::mem::replace(&mut record.told, true) || record.files.is_empty() {
            return;
        }
        self.seq += 1;
        let change = change(record, self.seq);
        self.last_change = Some(change.clone());
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }
}

fn change(record: &Record, seq: u64) -> Change {
    Change {
        seq,
        generation: record.generation,
        files: record.files.clone(),
        objects: record.objects.clone(),
        applied: record.total - record.pending.len(),
        total: record.total,
        ms: record.ms,
    }
}

#[cfg(test)]
mod tests;
