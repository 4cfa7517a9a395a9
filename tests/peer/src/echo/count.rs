//! How often the server was asked: by path, and by key for `fail_first` and for tests of retries.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hyper::Request;
use serde_json::{Value, json};

use super::controls::pairs;

/// Paths and keys remembered; when there are more, the oldest knowledge is dropped as a whole.
const REMEMBERED_MAX: usize = 100_000;

#[derive(Default)]
struct Seen {
    requests: u64,
    connections: u64,
    present: u64,
    present_max: u64,
    paths: BTreeMap<String, u64>,
    ids: HashMap<String, u64>,
    keys: HashMap<String, u64>,
}

/// Shared counts.
#[derive(Default)]
pub(super) struct Count(Mutex<Seen>);

/// A request that is being answered.
pub(super) struct Present<'a>(&'a Count);

impl Count {
    pub(super) fn connected(&self) {
        self.lock().connections += 1;
    }

    pub(super) fn begin<B>(&self, request: &Request<B>) -> Present<'_> {
        let mut seen = self.lock();
        seen.requests += 1;
        seen.present += 1;
        seen.present_max = seen.present_max.max(seen.present);
        if seen.paths.len() + seen.ids.len() >= REMEMBERED_MAX {
            seen.paths.clear();
            seen.ids.clear();
        }
        *seen.paths.entry(request.uri().path().to_owned()).or_default() += 1;
        if let Some(id) = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()) {
            *seen.ids.entry(id.to_owned()).or_default() += 1;
        }
        Present(self)
    }

    /// Counts an attempt of `key`, and says the how many-th it is.
    pub(super) fn attempts(&self, key: &str) -> u64 {
        let mut seen = self.lock();
        if seen.keys.len() >= REMEMBERED_MAX {
            seen.keys.clear();
        }
        let attempts = seen.keys.entry(key.to_owned()).or_default();
        *attempts += 1;
        *attempts
    }

    /// Everything, or with `id=` how often that `x-request-id` came.
    pub(super) fn report(&self, query: Option<&str>) -> Value {
        let seen = self.lock();
        if let Some((_, id)) = pairs(query.unwrap_or_default()).find(|(name, _)| name == "id") {
            return json!({"requests": seen.ids.get(&id).copied().unwrap_or(0)});
        }
        json!({
            "requests": seen.requests,
            "connections": seen.connections,
            "present": seen.present,
            "present_max": seen.present_max,
            "paths": seen.paths,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.lock().present -= 1;
    }
}
