//! Namespaces (`namespaces(7)`, `user_namespaces(7)`, `network_namespaces(7)`), and processes that prepare themselves
//! between fork and exec.
//!
//! Namespaces belong to a *thread*, and a process may enter a user or mount namespace only while it has one thread. What
//! is here is therefore meant for a small single-threaded process; [`spawn`] refuses anything else.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    process::{Child, Command},
    sync::Arc,
};

use rustix::{
    io::{Errno, FdFlags},
    process::{getegid, geteuid},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

/// Leaves the namespaces named by `flags` for new ones. `UnshareFlags::FILES` is refused with `EINVAL`.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(Errno::INVAL.into());
    }
    #[expect(unsafe_code, reason = "rustix has no safe form of unshare")]
    // SAFETY: the call is unsafe only for CLONE_FILES, with which a thread would lose sight of descriptors; refused above.
    unsafe {
        rustix::thread::unshare_unsafe(flags)?;
    }
    Ok(())
}

/// Enters a new user namespace in which the caller's user and group are mapped to themselves and nothing else is mapped.
///
/// The caller then holds every capability *in that namespace*. Needs no privilege where the kernel allows user namespaces
/// to ordinary users; fails with `EINVAL` if the process has more than one thread.
pub fn enter_user_namespace() -> io::Result<()> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(UnshareFlags::NEWUSER)?;
    // Without a privilege in the parent namespace, a group may be mapped only after setgroups(2) has been given up.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// A handle on a network namespace, which lives at least as long as the handle.
#[derive(Debug)]
pub struct NetNs(OwnedFd);

impl NetNs {
    /// The calling thread's network namespace.
    pub fn current() -> io::Result<Self> {
        Ok(Self(File::open("/proc/thread-self/ns/net")?.into()))
    }

    /// Makes a new network namespace. The calling thread stays where it is.
    ///
    /// The way back, here and in [`Self::within`], needs `CAP_SYS_ADMIN` in the user namespace that owns the thread's
    /// network namespace: after [`enter_user_namespace`], [`unshare`] a network namespace of your own first.
    pub fn create() -> io::Result<Self> {
        let home = Self::current()?;
        unshare(UnshareFlags::NEWNET)?;
        let made = Self::current();
        home.enter()?;
        made
    }

    /// Moves the calling thread into this namespace.
    pub fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// Runs `f` inside this namespace and comes back.
    ///
    /// If the way back fails, its error is returned and the thread is still inside: the caller must give up.
    pub fn within<T>(&self, f: impl FnOnce() -> T) -> io::Result<T> {
        let home = Self::current()?;
        self.enter()?;
        let value = f();
        home.enter()?;
        Ok(value)
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Why [`spawn`] did not start a program.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The calling process has more than one thread (or `/proc` cannot be read).
    #[error("a process that prepares its children must have a single thread")]
    NotSingleThreaded,
    /// No pipe for the child's error message.
    #[error("cannot make a pipe")]
    Pipe(#[source] io::Error),
    /// The preparation failed, with its own words.
    #[error("{0}")]
    Setup(String),
    /// Fork or exec failed: `NotFound` means that the program does not exist.
    #[error("cannot execute the program")]
    Exec(#[source] io::Error),
}

/// Starts `command`; the child runs `setup` after the fork and before the exec.
///
/// `setup` may do anything a single-threaded process may do, allocate included. It runs after standard input and output
/// are in place and after `current_dir`. What it captures is dropped in the caller when this function returns.
pub fn spawn<E: Display>(
    mut command: Command,
    mut setup: impl FnMut() -> Result<(), E> + Send + Sync + 'static,
) -> Result<Child, SpawnError> {
    use std::os::unix::process::CommandExt as _;

    if fs::read_dir("/proc/self/task").map(Iterator::count).ok() != Some(1) {
        return Err(SpawnError::NotSingleThreaded);
    }
    let (mut reader, mut writer) = io::pipe().map_err(SpawnError::Pipe)?;
    let prepare = move || {
        setup().map_err(|error| {
            // The message is small beside a pipe's 64 KiB. If it is lost all the same, the bare error below remains.
            let _ = write!(writer, "{error:#}");
            io::Error::from(Errno::CANCELED)
        })
    };
    #[expect(unsafe_code, reason = "what a child does between fork and exec is unsafe in general")]
    // SAFETY: the contract of `pre_exec` guards against locks held, and memory half written, by *other* threads at the
    // moment of the fork. This process has one thread, as checked above, and `command` is spawned before this function
    // returns, from that thread: the child's memory is a consistent copy.
    unsafe {
        command.pre_exec(prepare);
    }
    match command.spawn() {
        Ok(child) => Ok(child),
        Err(error) => {
            drop(command); // closes our copy of the pipe's writing end
            let mut message = String::new();
            let _ = reader.read_to_string(&mut message);
            Err(if message.is_empty() { SpawnError::Exec(error) } else { SpawnError::Setup(message) })
        }
    }
}

/// Makes the kernel reap this process's future children itself (`SIGCHLD` ignored; `wait(2)`, NOTES). Survives exec.
pub fn ignore_child_exits() -> io::Result<()> {
    #[expect(unsafe_code, reason = "neither std nor rustix sets signal dispositions")]
    // SAFETY: SIG_IGN installs no handler, so no code of ours ever runs in signal context.
    let previous = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    if previous == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Marks every descriptor above standard error as closed on exec, so that nothing a parent left open is handed on.
pub fn close_inherited_on_exec() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        if number <= 2 {
            continue;
        }
        #[expect(unsafe_code, reason = "descriptors that a parent left open have no owner in this process")]
        // SAFETY: the number was listed as open just now; it is borrowed for one call that changes a flag and reads no
        // data. If another thread closed it meanwhile, the call fails with EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    Ok(())
}

/// Descriptor numbers kept free for children: 3 to [`ReservedFds::LAST`].
///
/// A child's descriptors must land on given numbers. Were those in use in the parent (by the pipe with which the standard
/// library reports a failed exec, say), placing one would destroy another; so the parent holds them with `/dev/null`, and
/// everything it opens later has a higher number.
#[derive(Clone, Debug)]
pub struct ReservedFds(Arc<[OwnedFd]>);

impl ReservedFds {
    /// The highest number that can be given to a child.
    pub const LAST: RawFd = 63;

    /// Takes every number up to [`Self::LAST`] that is not in use yet.
    pub fn new() -> io::Result<Self> {
        let mut held = Vec::new();
        loop {
            let fd = OwnedFd::from(File::open("/dev/null")?);
            if fd.as_raw_fd() > Self::LAST {
                return Ok(Self(held.into()));
            }
            held.push(fd);
        }
    }

    /// Whether `number` can be given to a child.
    pub fn holds(&self, number: RawFd) -> bool {
        self.0.iter().any(|fd| fd.as_raw_fd() == number)
    }

    /// Puts `fd` at `number`, open across exec. For a child between fork and exec; `EBADF` if the number is not held.
    pub fn place(&self, fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
        if !self.holds(number) {
            return Err(Errno::BADF.into());
        }
        #[expect(
            unsafe_code,
            reason = "rustix wants a mutable owner of the target; ours is shared with the parent's copy"
        )]
        // SAFETY: `number` is owned by `self` (checked above) and nobody reads through it: replacing what it stands for
        // breaks no borrow, and its owner closes it later as before.
        let placed = unsafe { libc::dup2(fd.as_raw_fd(), number) };
        if placed == number { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests;
