//! File descriptors that a process was started with.

use std::os::fd::{FromRawFd, OwnedFd};

/// Takes a descriptor that the process inherited, by its number (systemd's and our launcher's convention: the parent
/// left it open for us and nothing else in this process knows of it).
///
/// A number that is not open is no danger: its use fails with `EBADF`.
#[expect(unsafe_code, reason = "a number given on the command line becomes an owned descriptor")]
pub fn take(fd: i32) -> OwnedFd {
    assert!(fd > 2, "descriptors 0 to 2 are standard streams");
    // SAFETY: called once per number at the start of the process, before other descriptors are opened; the parent passed
    // this descriptor for us to own, so that nobody else closes it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
