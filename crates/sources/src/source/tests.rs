//! A followed directory, with real events: each step waits for what it is about, with a deadline.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use mizzen_api::{Object, load};

use super::{Options, Sources};
use crate::{set::ObjectSet, temp::Temp};

/// Generous: what is waited for comes within milliseconds, but the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(20);

fn account(name: &str, version: &str) -> String {
    format!("---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, labels: {{version: {version}}}}}\n")
}

fn open(root: &Path) -> Sources {
    // Polls play no part unless a test is about them.
    let options = Options { poll_interval: Duration::from_hours(1), ..Options::default() };
    Sources::open(root, options).expect("the directory can be read")
}

/// `name=version` of all objects.
fn state(set: &ObjectSet) -> String {
    let one = |object: &Arc<Object>| {
        format!("{}={}", object.id.name, object.meta.labels.get("version").map_or("-", String::as_str))
    };
    set.objects.values().map(one).collect::<Vec<_>>().join(" ")
}

fn wait(sources: &Sources, what: &str, until: impl Fn(&ObjectSet) -> bool) -> Arc<ObjectSet> {
    let begin = Instant::now();
    loop {
        let set = sources.current();
        if until(&set) {
            return set;
        }
        assert!(begin.elapsed() < DEADLINE, "{what}: {} {:#?}", state(&set), set.findings);
        // poll: the channel's own waiting needs a runtime
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn wait_state(sources: &Sources, what: &str, expected: &str) -> Arc<ObjectSet> {
    wait(sources, what, |set| state(set) == expected)
}

#[test]
fn the_ways_of_saving_a_file() {
    let temp = Temp::new();
    let file = temp.path().join("a.yaml");
    fs::write(&file, account("x", "v1")).expect("write");
    let sources = open(temp.path());
    assert_eq!((state(&sources.current()).as_str(), sources.current().generation), ("x=v1", 1));
    fs::write(&file, account("x", "v2")).expect("write");
    wait_state(&sources, "written in place", "x=v2");
    let new = temp.path().join("a.yaml.tmp");
    fs::write(&new, account("x", "v3")).expect("write");
    fs::rename(&new, &file).expect("rename");
    wait_state(&sources, "renamed over", "x=v3");
    fs::rename(&file, temp.path().join("a.yaml~")).expect("rename");
    fs::write(&file, account("x", "v4")).expect("write");
    wait_state(&sources, "backup made and written anew", "x=v4");
    let set = wait_state(&sources, "no more comes", "x=v4");
    assert!(set.findings.is_empty());
    fs::remove_file(&file).expect("remove");
    wait_state(&sources, "removed", "");
    fs::write(&file, account("x", "v5")).expect("write");
    let set = wait_state(&sources, "back again", "x=v5");
    let name = file.to_string_lossy();
    assert!(set.changes.iter().skip(1).all(|changed| changed.files.iter().all(|file| **file == *name)));
}

#[test]
fn broken_then_mended() {
    let temp = Temp::new();
    let file = temp.path().join("a.yaml");
    fs::write(&file, account("x", "v1") + &account("y", "v1")).expect("write");
    let sources = open(temp.path());
    fs::write(&file, "apiVersion: [\n").expect("write");
    let set = wait(&sources, "a finding", |set| !set.findings.is_empty());
    assert_eq!(state(&set), "x=v1 y=v1");
    fs::write(&file, account("x", "v2") + &account("y", "'not good'")).expect("write");
    let set = wait_state(&sources, "one of two is good", "x=v2 y=v1");
    assert_eq!(set.findings.len(), 1);
    fs::write(&file, account("x", "v3")).expect("write");
    let set = wait_state(&sources, "mended", "x=v3");
    assert!(set.findings.is_empty());
}

#[test]
fn directories_come_go_and_are_swapped() {
    let temp = Temp::new();
    let root = temp.path().join("root");
    fs::create_dir_all(&root).expect("mkdir");
    let sources = open(&root);
    fs::create_dir_all(root.join("new/deep")).expect("mkdir");
    fs::write(root.join("new/deep/a.yaml"), account("x", "v1")).expect("write");
    wait_state(&sources, "a file in new directories", "x=v1");
    fs::write(root.join("new/deep/a.yaml"), account("x", "v2")).expect("write");
    wait_state(&sources, "the new directory is watched", "x=v2");
    fs::rename(root.join("new"), root.join("newer")).expect("rename");
    wait(&sources, "moved", |set| set.objects.values().all(|object| object.origin.file.contains("/newer/")));
    fs::write(root.join("newer/deep/a.yaml"), account("x", "v3")).expect("write");
    wait_state(&sources, "the moved directory is watched", "x=v3");
    // Another directory takes its place: the old one is no longer looked at, the new one is.
    fs::create_dir_all(temp.path().join("other/deep")).expect("mkdir");
    fs::write(temp.path().join("other/deep/a.yaml"), account("x", "v4")).expect("write");
    fs::rename(root.join("newer"), temp.path().join("old")).expect("rename");
    fs::rename(temp.path().join("other"), root.join("newer")).expect("rename");
    wait_state(&sources, "replaced", "x=v4");
    fs::write(root.join("newer/deep/a.yaml"), account("x", "v5")).expect("write");
    wait_state(&sources, "the replacement is watched", "x=v5");
    fs::remove_dir_all(root.join("newer")).expect("remove");
    wait_state(&sources, "removed", "");
}

#[test]
fn swapped_links() {
    let temp = Temp::new();
    for version in ["v1", "v2"] {
        fs::create_dir_all(temp.path().join(version)).expect("mkdir");
        fs::write(temp.path().join(version).join("a.yaml"), account("x", version)).expect("write");
    }
    // The root itself is a link, as tools that check out repositories make it.
    let root = temp.path().join("current");
    symlink("v1", &root).expect("link");
    let sources = open(&root);
    assert_eq!(state(&sources.current()), "x=v1");
    symlink("v2", temp.path().join("next")).expect("link");
    fs::rename(temp.path().join("next"), &root).expect("swap");
    wait_state(&sources, "the root was swapped", "x=v2");
    fs::write(temp.path().join("v2/a.yaml"), account("x", "v3")).expect("write");
    wait_state(&sources, "its new target is watched", "x=v3");
    // A file that leads through a link, as Kubernetes mounts a ConfigMap.
    for version in ["v4", "v5"] {
        fs::create_dir_all(temp.path().join("v2").join(format!("..{version}"))).expect("mkdir");
        fs::write(temp.path().join("v2").join(format!("..{version}/b.yaml")), account("y", version)).expect("write");
    }
    let link = |name: &str, target: &str| symlink(target, temp.path().join("v2").join(name)).expect("link");
    link("..data", "..v4");
    link("b.yaml", "..data/b.yaml");
    wait_state(&sources, "mounted", "x=v3 y=v4");
    link("..next", "..v5");
    fs::rename(temp.path().join("v2/..next"), temp.path().join("v2/..data")).expect("swap");
    wait_state(&sources, "swapped", "x=v3 y=v5");
}

#[test]
fn a_root_that_vanishes_keeps_its_objects() {
    let temp = Temp::new();
    let root = temp.path().join("root");
    fs::create_dir(&root).expect("mkdir");
    fs::write(root.join("a.yaml"), account("x", "v1")).expect("write");
    let sources = open(&root);
    fs::rename(&root, temp.path().join("away")).expect("rename");
    let set = wait(&sources, "a finding", |set| !set.findings.is_empty());
    assert_eq!(state(&set), "x=v1");
    assert!(set.findings[0].message.contains("what was read before stays in force"));
    fs::create_dir(&root).expect("mkdir");
    fs::write(root.join("a.yaml"), account("x", "v2")).expect("write");
    let set = wait_state(&sources, "back again", "x=v2");
    assert!(set.findings.is_empty());
    drop(sources);
    assert!(Sources::open(&temp.path().join("none"), Options::default()).is_err());
}

#[test]
fn many_edits_end_in_the_last_one() {
    let temp = Temp::new();
    let file = temp.path().join("a.yaml");
    fs::write(&file, account("x", "v0")).expect("write");
    let sources = open(temp.path());
    for n in 1..=200 {
        fs::write(&file, account("x", &format!("v{n:03}"))).expect("write");
    }
    let set = wait_state(&sources, "the last one", "x=v200");
    assert!(set.generation <= 201, "each edit is at most one generation");
    assert!(set.findings.is_empty(), "half a file was never taken for a whole one");
}

#[test]
fn without_events_directories_are_polled() {
    let temp = Temp::new();
    let file = temp.path().join("a.yaml");
    fs::write(&file, account("x", "v1")).expect("write");
    let options = Options { poll_interval: Duration::from_millis(5), watches_max: 0 };
    let sources = Sources::open(temp.path(), options).expect("the directory can be read");
    assert!(sources.current().findings.iter().any(|finding| finding.message.contains("directories")));
    fs::write(&file, account("x", "v2")).expect("write");
    wait_state(&sources, "polled", "x=v2");
    fs::create_dir(temp.path().join("sub")).expect("mkdir");
    fs::write(temp.path().join("sub/b.yaml"), account("y", "v1")).expect("write");
    wait_state(&sources, "a new directory", "x=v2 y=v1");
}

#[test]
fn runtime_objects_are_laid_under_the_files() {
    let temp = Temp::new();
    fs::write(temp.path().join("a.yaml"), account("x", "v1")).expect("write");
    let sources = open(temp.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut sets = sources.subscribe();
        let generation = sources.replace_runtime(load("lab", &account("y", "v1")).objects).await;
        sets.wait_for(|set| set.generation >= generation).await.expect("the writer lives");
        assert_eq!(state(&sources.current()), "x=v1 y=v1");
        let same = sources.replace_runtime(load("lab", &account("y", "v1")).objects).await;
        assert_eq!(same, generation, "nothing is different");
        sources.replace_runtime(Vec::new()).await;
        assert_eq!(state(&sources.current()), "x=v1");
        drop(sources);
        assert!(sets.wait_for(|set| set.generation > 100).await.is_err(), "the writer has ended");
    });
}
