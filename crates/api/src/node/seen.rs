//! For tests: which fields of which structs were read, so that fixtures can be shown to hold whole schemas.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use super::Entry;

thread_local! {
    /// Struct → its fields that were not seen yet.
    static UNSEEN: RefCell<Option<BTreeMap<String, BTreeSet<String>>>> = const { RefCell::new(None) };
}

/// Begins to note fields on this thread.
pub(crate) fn start() {
    UNSEEN.set(Some(BTreeMap::new()));
}

pub(crate) fn record(name: &str, fields: &[&str], entries: &[Entry]) {
    UNSEEN.with_borrow_mut(|unseen| {
        let Some(unseen) = unseen else { return };
        let left =
            unseen.entry(name.to_owned()).or_insert_with(|| fields.iter().map(|field| (*field).to_owned()).collect());
        for entry in entries {
            left.remove(entry.key.as_ref());
        }
    });
}

/// `Struct.field` of what was never seen, Kubernetes' own types left aside.
pub(crate) fn missing() -> BTreeSet<String> {
    let all = UNSEEN.take().unwrap_or_default();
    let foreign = ["ObjectMeta", "ConfigMap"];
    all.into_iter()
        .filter(|(name, _)| !foreign.contains(&name.as_str()))
        .flat_map(|(name, fields)| fields.into_iter().map(move |field| format!("{name}.{field}")))
        .collect()
}
