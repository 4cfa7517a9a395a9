//! Against the kernel. What needs a single-threaded process is in `tests/namespaces.rs`, which has no test harness.

use std::{
    io::{Read, Seek, Write},
    os::fd::{AsFd, AsRawFd},
    process::Command,
};

use super::{ReservedFds, SpawnError, spawn};

#[test]
fn a_process_with_threads_may_not_prepare_children() {
    let refused = spawn(Command::new("/bin/true"), || Ok::<(), String>(()));
    assert!(matches!(refused, Err(SpawnError::NotSingleThreaded)), "{refused:?}");
}

#[test]
fn a_reserved_number_is_placed_and_another_is_refused() {
    let reserved = ReservedFds::new().expect("reserve");
    let number = (3..=ReservedFds::LAST).find(|n| reserved.holds(*n)).expect("a free number");
    let mut file = tempfile();
    file.write_all(b"content").expect("write");
    reserved.place(file.as_fd(), number).expect("place");
    let mut placed = std::fs::File::open(format!("/proc/self/fd/{number}")).expect("open");
    let mut text = String::new();
    placed.rewind().expect("rewind");
    placed.read_to_string(&mut text).expect("read");
    assert_eq!(text, "content");
    assert!(file.as_raw_fd() > ReservedFds::LAST, "what is opened later lies above");
    assert!(reserved.place(file.as_fd(), ReservedFds::LAST + 1).is_err());
}

fn tempfile() -> std::fs::File {
    rustix::fs::memfd_create("content", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd").into()
}
