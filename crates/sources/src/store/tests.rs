//! Generations, and two layers over each other.

use std::sync::Arc;

use mizzen_api::{Kind, Object, ObjectId, load};

use super::{CHANGES_KEPT, Store};
use crate::layer::Change;

fn account(name: &str, version: &str) -> String {
    format!("---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, labels: {{version: {version}}}}}\n")
}

fn read(file: &str, text: &str) -> Vec<(Arc<str>, Change)> {
    vec![(file.into(), Change::Read(Box::new(load(file, text))))]
}

fn reported(text: &str) -> Vec<Object> {
    load("lab", text).objects
}

fn id(name: &str) -> ObjectId {
    ObjectId::new(Kind::ServiceAccount, "default", name)
}

fn version(store: &Store, name: &str) -> Option<String> {
    store.current().get(&id(name)).and_then(|object| object.meta.labels.get("version").cloned())
}

#[test]
fn generations_count_what_is_different() {
    let mut store = Store::default();
    assert_eq!(store.current().generation, 0);
    let first = store.apply_files(Vec::new(), Vec::new()).expect("the first reading is a generation, be it empty");
    assert_eq!(first.generation, 1);
    let set = store.apply_files(read("a.yaml", &account("x", "v1")), Vec::new()).expect("an object came");
    assert_eq!(set.generation, 2);
    let changed = set.changes.back().expect("a change");
    assert_eq!(
        (changed.files.as_slice(), changed.objects.as_slice()),
        ([Arc::from("a.yaml")].as_slice(), [id("x")].as_slice())
    );
    assert!(store.apply_files(read("a.yaml", &account("x", "v1")), Vec::new()).is_none(), "nothing is different");
    let set =
        store.apply_files(read("a.yaml", &format!("# why\n{}", account("x", "v1"))), Vec::new()).expect("it moved");
    assert_eq!(set.changes.back().map(|changed| changed.objects.len()), Some(0));
    let set = store.apply_files(read("a.yaml", "apiVersion: ["), Vec::new()).expect("a finding came");
    assert_eq!((set.findings.len(), set.objects.len()), (1, 1));
    assert_eq!(set.of_kind(Kind::ServiceAccount).count(), 1);
    assert_eq!(set.of_kind(Kind::Service).count() + set.of_kind(Kind::Deployment).count(), 0);
}

#[test]
fn files_lie_over_what_is_reported() {
    let mut store = Store::default();
    store.apply_files(read("a.yaml", &account("x", "file")), Vec::new());
    let set = store.replace_runtime(reported(&(account("x", "lab") + &account("y", "lab")))).expect("y came");
    assert_eq!((version(&store, "x").as_deref(), version(&store, "y").as_deref()), (Some("file"), Some("lab")));
    assert_eq!(set.changes.back().map(|changed| changed.objects.clone()), Some(vec![id("y")]));
    assert!(
        set.findings
            .iter()
            .any(|finding| finding.to_string().contains("is reported at run time and also stands in a.yaml"))
    );
    store.apply_files(vec![("a.yaml".into(), Change::Gone)], Vec::new());
    assert_eq!(version(&store, "x").as_deref(), Some("lab"));
    assert!(store.replace_runtime(reported(&(account("x", "lab") + &account("y", "lab")))).is_none());
    store.replace_runtime(Vec::new());
    assert!(store.current().objects.is_empty(), "what is no longer reported is gone");
}

#[test]
fn who_skipped_generations_catches_up() {
    let mut store = Store::default();
    store.apply_files(Vec::new(), Vec::new());
    for n in 0..(CHANGES_KEPT + 10) {
        store.apply_files(read("a.yaml", &account("x", &format!("v{n}"))), Vec::new());
    }
    let set = store.current();
    let newest = set.generation;
    let count = |since| set.changes_since(since).map(Iterator::count);
    assert_eq!(count(newest), Some(0));
    assert_eq!(count(newest - 3), Some(3));
    assert_eq!(count(newest - CHANGES_KEPT as u64), Some(CHANGES_KEPT));
    assert_eq!(count(newest - CHANGES_KEPT as u64 - 1), None);
}
