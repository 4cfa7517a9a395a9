//! The lock on a state directory, against the kernel.

use std::{env, fs, os::unix::fs::PermissionsExt as _, process};

use super::{StateDir, StateDirError};

#[test]
fn one_process_holds_a_directory_and_the_next_is_told_who() {
    let root = env::temp_dir().join(format!("mizzen-state-dir-{}", process::id()));
    let path = root.join("a/b");
    let first = StateDir::lock(&path).expect("free");
    assert_eq!(fs::metadata(first.path()).expect("made").permissions().mode() & 0o777, 0o700);
    // flock(2) excludes by open file, so a second attempt in the same process stands for another process.
    match StateDir::lock(&path) {
        Err(error @ StateDirError::InUse { pid: Some(pid), .. }) => {
            assert_eq!(pid, process::id());
            assert!(error.to_string().ends_with(&format!("a/b is in use by process {pid}")), "{error}");
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    drop(StateDir::lock(&path).expect("free again"));
    fs::remove_dir_all(root).expect("clean up");

    assert!(matches!(StateDir::lock("/proc/nowhere"), Err(StateDirError::Io { .. })));
}
