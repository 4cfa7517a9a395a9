//! File descriptors that a process was started with.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

/// Takes a descriptor that the process inherited, by its number: the parent left it open for us, and nothing else in this
/// process knows of it.
///
/// Standard streams are refused (`InvalidInput`). A number that is not open is no danger: its use fails with `EBADF`.
#[expect(unsafe_code, reason = "a number given on the command line becomes an owned descriptor")]
pub fn take(fd: i32) -> io::Result<OwnedFd> {
    if fd <= 2 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {fd}: expected 3 or more")));
    }
    // SAFETY: called once per number at the start of the process, before other descriptors are opened; the parent passed
    // this descriptor for us to own, so that nobody else closes it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
