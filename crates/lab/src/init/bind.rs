//! Directories and files of the host, bound into a cage.
//!
//! In: sources, opened in the mount namespace where nothing is masked. Out: mounts at their targets in the cage, which the
//! caller has entered. A target that does not exist is made in an overlay (`overlayfs`, kernel documentation) over its
//! nearest existing directory, so that nothing is ever made on the host. What is to be seen there is put into the overlay's
//! upper layer before it is mounted: in the merged directory the caller may have no right to make anything.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, StatVfsMountFlags, statvfs},
    mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, mount_remount, move_mount, open_tree},
};

use super::error::{During as _, InitError};
use crate::spec::Mount;

/// An open source and where it goes.
#[derive(Debug)]
pub(super) struct Bound {
    tree: OwnedFd,
    is_dir: bool,
    mount: Mount,
}

impl Bound {
    pub(super) fn open_all(mounts: &[Mount]) -> Result<Vec<Self>, InitError> {
        mounts.iter().map(Self::open).collect()
    }

    fn open(mount: &Mount) -> Result<Self, InitError> {
        let step = || format!("open {}", mount.source.display());
        let is_dir = fs::metadata(&mount.source).during(step())?.is_dir();
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, &mount.source, flags).during(step())?;
        Ok(Self { tree, is_dir, mount: mount.clone() })
    }

    /// `scratch` is a directory that does not exist yet, on a file system of the cage's own.
    pub(super) fn place_all(bounds: &[Self], scratch: &Path) -> Result<(), InitError> {
        make_targets(bounds, scratch)?;
        bounds.iter().try_for_each(Self::place)
    }

    fn place(&self) -> Result<(), InitError> {
        let target = &self.mount.target;
        let step = || format!("mount {}", target.display());
        move_mount(&self.tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).during(step())?;
        if self.mount.writable {
            return Ok(());
        }
        // Flags that the source has may not be taken away.
        let has = statvfs(target).during(step())?.f_flag;
        let mut flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        flags.set(MountFlags::NOEXEC, has.contains(StatVfsMountFlags::NOEXEC));
        mount_remount(target, flags, "").during(step())
    }
}

/// Makes the targets that are missing, those below one existing directory in one overlay.
fn make_targets(bounds: &[Bound], scratch: &Path) -> Result<(), InitError> {
    let mut missing: BTreeMap<PathBuf, Vec<&Bound>> = BTreeMap::new();
    for bound in bounds.iter().filter(|bound| !bound.mount.target.exists()) {
        missing.entry(existing_ancestor(&bound.mount.target)?).or_default().push(bound);
    }
    for (at, (base, bounds)) in missing.into_iter().enumerate() {
        let (upper, work) = (scratch.join(format!("{at}/upper")), scratch.join(format!("{at}/work")));
        for directory in [&upper, &work] {
            fs::create_dir_all(directory).during("make an overlay's directories")?;
        }
        for bound in bounds {
            let relative = bound.mount.target.strip_prefix(&base).unwrap_or(&bound.mount.target);
            make(&upper.join(relative), bound.is_dir)?;
        }
        mount(
            "mizzen",
            &base,
            "overlay",
            MountFlags::NOSUID | MountFlags::NODEV,
            Some(options(&base, &upper, &work)?.as_c_str()),
        )
        .during(format!("lay an overlay over {}", base.display()))?;
    }
    Ok(())
}

fn make(path: &Path, is_dir: bool) -> Result<(), InitError> {
    let step = || format!("make {}", path.display());
    if is_dir {
        return fs::create_dir_all(path).during(step());
    }
    fs::create_dir_all(path.parent().unwrap_or(path)).during(step())?;
    fs::write(path, "").during(step())
}

fn existing_ancestor(target: &Path) -> Result<PathBuf, InitError> {
    let found = target.ancestors().skip(1).find(|path| path.is_dir());
    match found.filter(|path| *path != Path::new("/")) {
        Some(path) => Ok(path.to_path_buf()),
        None => Err(InitError::Invalid(format!(
            "{} does not exist, and nothing can be made directly below / without root: make it on this machine, or mount \
             below a directory that exists",
            target.display()
        ))),
    }
}

/// Commas, colons and backslashes have a meaning in them.
fn options(base: &Path, upper: &Path, work: &Path) -> Result<CString, InitError> {
    let escape = |path: &Path| {
        path.as_os_str().as_bytes().iter().fold(Vec::new(), |mut text, byte| {
            if matches!(byte, b',' | b':' | b'\\') {
                text.push(b'\\');
            }
            text.push(*byte);
            text
        })
    };
    let mut text = b"userxattr,lowerdir=".to_vec();
    text.extend(escape(base));
    text.extend(b",upperdir=");
    text.extend(escape(upper));
    text.extend(b",workdir=");
    text.extend(escape(work));
    CString::new(text).map_err(|_| InitError::Invalid(format!("{} contains a zero byte", base.display())))
}
