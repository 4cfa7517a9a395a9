//! Contents of mounted volumes: written to the state directory, from where the lab binds them into the replica's cage.
//!
//! In: the mounts of a pod's containers. Out: files below one directory of the replica's own, and where each goes.
//! The containers of a pod share one cage here, so what one mounts the others see; the first to mount at a path wins.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context, Result};

use crate::plan::{Container, Mount, MountedFile};

/// Writes the contents below `directory`, which is made anew.
pub(super) fn write(directory: &Path, containers: &[Container]) -> Result<Vec<mizzen_lab::Mount>> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).context("removing old volumes"),
        _ => {}
    }
    let mut taken = BTreeSet::new();
    let mounts = containers.iter().flat_map(|container| &container.mounts);
    let mounts = mounts.filter(|mount| taken.insert(&mount.path)).enumerate();
    mounts.map(|(at, mount)| write_one(&directory.join(at.to_string()), mount)).collect()
}

fn write_one(source: &Path, mount: &Mount) -> Result<mizzen_lab::Mount> {
    let step = || format!("writing what is mounted at {}", mount.path.display());
    match mount.files.as_slice() {
        [file] if file.name.is_empty() => write_file(source, file).with_context(step)?,
        files => {
            make_directory(source).with_context(step)?;
            for file in files {
                write_file(&source.join(&file.name), file).with_context(step)?;
            }
        }
    }
    // Nothing in it: an `emptyDir`.
    let writable = mount.files.is_empty();
    Ok(mizzen_lab::Mount { source: source.to_path_buf(), target: mount.path.clone(), writable })
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

fn write_file(path: &Path, file: &MountedFile) -> io::Result<()> {
    make_directory(path.parent().unwrap_or(path))?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(&file.contents)?;
    // Whoever runs the workload owns the file, and Kubernetes lets the owner read whatever the mode says.
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode & 0o777 | 0o400))
}
