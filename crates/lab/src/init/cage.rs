//! What a workload sees of the file system.
//!
//! A mount namespace is prepared once, with everything masked that no workload may see, while those paths are surely what
//! the host side meant (a workload runs under the same user and could rename directories above them later; a mount stays
//! on the directory itself). Each node copies it and adds what is its own.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use super::{
    bind::Bound,
    error::{During as _, InitError},
};
use crate::files;

/// Where node files that replace those in `/etc` are kept: in the node's own `/run`.
const FILES: &str = "/run/mizzen-lab";

/// Text of the files that each node has for itself.
#[derive(Clone, Debug)]
pub(super) struct EtcFiles {
    pub(super) resolv_conf: String,
    pub(super) hosts: String,
}

/// A mount namespace in which what is secret is masked.
#[derive(Debug)]
pub(super) struct Template(OwnedFd);

impl Template {
    /// Prepares it from the calling process's mounts; the process itself goes on with what it has.
    pub(super) fn prepare(masked: &[PathBuf]) -> Result<Self, InitError> {
        let home = current()?;
        mizzen_net::ns::unshare(UnshareFlags::NEWNS).during("make a mount namespace")?;
        masked.iter().try_for_each(|path| mask(path))?;
        let template = current()?;
        enter(&home)?;
        Ok(Self(template))
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Enters a copy of the template. For the first process of a node's pid namespace, which `/proc` will show.
    pub(super) fn enter_copy(&self, etc: &EtcFiles, mounts: &[Bound]) -> Result<(), InitError> {
        enter(&self.0)?;
        mizzen_net::ns::unshare(UnshareFlags::NEWNS).during("make a mount namespace")?;
        mount_proc()?;
        etc.install(mounts)
    }
}

/// Cuts the calling process's mounts off from the host's, and shows its own pid namespace in `/proc`.
pub(super) fn enter_private_mounts() -> Result<(), InitError> {
    mizzen_net::ns::unshare(UnshareFlags::NEWNS).during("make a mount namespace")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).during("make mounts private")?;
    mount_proc()
}

fn mount_proc() -> Result<(), InitError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None)
        .during("mount /proc (inside a container, the container's own /proc must be unmasked)")
}

/// Covers a directory with an empty one that cannot be written to, anything else with `/dev/null`.
fn mask(path: &Path) -> Result<(), InitError> {
    let step = || format!("mask {}", path.display());
    if path.metadata().during(step())?.is_dir() {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("none", path, "tmpfs", flags, c"mode=000,size=4k").during(step())
    } else {
        mount_bind("/dev/null", path).during(step())
    }
}

impl EtcFiles {
    /// Replaces `/run`, lays `mounts` over what is there, and then the name-service files, which none of them may hide.
    fn install(&self, mounts: &[Bound]) -> Result<(), InitError> {
        // Where the names lead is read before /run, where resolv.conf often lies, is covered.
        let nsswitch = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
        let files = [
            ("/etc/resolv.conf", self.resolv_conf.clone()),
            ("/etc/hosts", self.hosts.clone()),
            ("/etc/nsswitch.conf", files::nsswitch(&nsswitch)),
        ]
        .map(|(name, text)| (resolve(Path::new(name)), text));
        replace_run()?;
        fs::create_dir(FILES).during("make a directory in /run")?;
        Bound::place_all(mounts, &Path::new(FILES).join("made"))?;
        for (path, text) in files {
            place(&path, &text)?;
        }
        Ok(())
    }
}

/// An empty `/run` of the node's own: no sockets of name services, session buses or service managers, and a place where
/// programs may put theirs. Symlinks are kept, since some distributions reach their programs through one.
fn replace_run() -> Result<(), InitError> {
    let links: Vec<(PathBuf, PathBuf)> = fs::read_dir("/run")
        .during("read /run")?
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.path(), fs::read_link(entry.path()).ok()?)))
        .collect();
    mount("none", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755").during("mount /run")?;
    for (link, target) in links {
        std::os::unix::fs::symlink(target, link).during("keep a link in /run")?;
    }
    fs::create_dir("/run/lock").during("make /run/lock")
}

/// Follows symlinks, also to a file that does not exist.
fn resolve(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many as the kernel follows (`path_resolution(7)`).
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    fs::canonicalize(&path).unwrap_or(path)
}

/// Gives the file at `path` another content, in this mount namespace only. A file that the host does not have is left out:
/// there is nothing to mount over, and the C library then has defaults.
fn place(path: &Path, text: &str) -> Result<(), InitError> {
    let step = || format!("replace {}", path.display());
    if path.starts_with("/run") {
        fs::create_dir_all(path.parent().unwrap_or(path)).during(step())?;
        return fs::write(path, text).during(step());
    }
    if !path.exists() {
        return Ok(());
    }
    let own = Path::new(FILES).join(path.file_name().unwrap_or_default());
    fs::write(&own, text).during(step())?;
    mount_bind(&own, path).during(step())
}

fn current() -> Result<OwnedFd, InitError> {
    File::open("/proc/thread-self/ns/mnt").map(OwnedFd::from).during("open the mount namespace")
}

fn enter(namespace: &OwnedFd) -> Result<(), InitError> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount)).during("enter the mount namespace")
}
