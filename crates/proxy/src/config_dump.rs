//! `/config_dump`: what was accepted from the control plane, and what waits.
//!
//! The proxy keeps accepted resources as encoded bytes; they are shown base64-encoded beside their names and versions.

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use mizzen_snapshot::Store;
use serde::Serialize;

use crate::shared::Shared;

/// The dump.
#[derive(Serialize)]
pub(crate) struct Dump {
    generation: u64,
    waiting: Vec<String>,
    resources: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    type_url: String,
    name: String,
    version: String,
    bytes: usize,
    /// The encoded message.
    base64: String,
}

pub(crate) fn dump(store: &Mutex<Store>, shared: &Shared) -> Dump {
    let store = store.lock().unwrap_or_else(PoisonError::into_inner);
    Dump {
        generation: shared.snapshot().generation,
        waiting: store.waiting(),
        resources: store
            .dump()
            .into_iter()
            .map(|(type_url, resource)| Entry {
                type_url,
                name: resource.name,
                version: resource.version,
                bytes: resource.body.len(),
                base64: base64::engine::general_purpose::STANDARD.encode(&resource.body),
            })
            .collect(),
    }
}
