//! Where a mesh lives on this machine.
//!
//! ```text
//! ${XDG_STATE_HOME:-~/.local/state}/mizzen/ID/        ca/ logs/ files/ lock      (kept between runs)
//! ${XDG_RUNTIME_DIR}/mizzen/ID/                       up.sock mizzend.sock N.sock (gone after a run)
//! /tmp/mizzen-UID/ID/                                  where XDG_RUNTIME_DIR is unset
//! ```
//! `ID` is the directory's name and eight hex digits of the SHA-256 of its canonical path, so that two meshes of two
//! directories run side by side.
//! Source of the paths: XDG Base Directory Specification.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

/// Longest `sun_path` of `unix(7)`, without its closing zero.
const SOCKET_PATH_MAX: usize = 107;
/// Characters of the directory's name that are kept in `ID`.
const NAME_MAX: usize = 32;

/// The directories under which all meshes of a user live.
#[derive(Debug, Clone)]
pub(crate) struct Homes {
    state: PathBuf,
    runtime: PathBuf,
}

impl Homes {
    /// From the environment of the process.
    pub(crate) fn of_user() -> Result<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = match absolute("XDG_STATE_HOME") {
            Some(state) => state,
            None => absolute("HOME").context("neither XDG_STATE_HOME nor HOME is set")?.join(".local/state"),
        };
        let runtime = match absolute("XDG_RUNTIME_DIR") {
            Some(runtime) => runtime.join("mizzen"),
            None => PathBuf::from(format!("/tmp/mizzen-{}", rustix::process::geteuid().as_raw())),
        };
        Ok(Self { state: state.join("mizzen"), runtime })
    }

    /// The sockets of all meshes that run, or that died without cleaning up.
    pub(crate) fn control_sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.runtime).into_iter().flatten().flatten();
        let mut sockets: Vec<PathBuf> = entries.map(|entry| entry.path().join("up.sock")).collect();
        sockets.retain(|socket| socket.exists());
        sockets.sort();
        sockets
    }
}

/// The place of one mesh.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Canonical directory with the user's YAML.
    pub(crate) directory: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) runtime: PathBuf,
    /// Of all meshes.
    runtime_home: PathBuf,
    state_home: PathBuf,
}

impl Place {
    /// Creates nothing. Fails if the directory does not exist, or if its socket would have too long a path.
    pub(crate) fn of(directory: &Path, homes: &Homes) -> Result<Self> {
        let directory = fs::canonicalize(directory).with_context(|| directory.display().to_string())?;
        ensure!(directory.is_dir(), "{} is not a directory", directory.display());
        let id = id(&directory);
        let place = Self {
            state: homes.state.join(&id),
            runtime: homes.runtime.join(&id),
            runtime_home: homes.runtime.clone(),
            state_home: homes.state.clone(),
            directory,
        };
        let socket = place.mizzend_socket();
        ensure!(
            socket.as_os_str().len() <= SOCKET_PATH_MAX,
            "the path of the control socket is too long ({}): set XDG_RUNTIME_DIR to a shorter one",
            socket.display()
        );
        Ok(place)
    }

    /// Makes both directories, readable by their owner only. Fails if another user holds the runtime directory's name.
    pub(crate) fn create(&self) -> Result<()> {
        for path in [&self.runtime_home, &self.runtime, &self.state, &self.logs(), &self.files()] {
            create_private(path)?;
        }
        Ok(())
    }

    /// Removes the sockets. What is missing already is no error.
    pub(crate) fn clear_runtime(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.runtime) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What no workload may see: keys, logs and sockets of all meshes of the user.
    pub(crate) fn masked(&self) -> Vec<PathBuf> {
        vec![self.state_home.clone(), self.runtime_home.clone()]
    }

    pub(crate) fn up_socket(&self) -> PathBuf {
        self.runtime.join("up.sock")
    }

    pub(crate) fn mizzend_socket(&self) -> PathBuf {
        self.runtime.join("mizzend.sock")
    }

    /// Admin socket of the proxy of the replica with this number.
    pub(crate) fn proxy_socket(&self, number: u64) -> PathBuf {
        self.runtime.join(format!("{number}.sock"))
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// Contents of ConfigMaps and Secrets that workloads mount.
    pub(crate) fn files(&self) -> PathBuf {
        self.state.join("files")
    }
}

fn id(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let keep = |letter: char| if letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.') { letter } else { '_' };
    let mut id: String = name.chars().take(NAME_MAX).map(keep).collect();
    id.push('-');
    for byte in &Sha256::digest(directory.as_os_str().as_bytes())[..4] {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// A directory of mode 0700 that is ours; its parents are made as they come.
fn create_private(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.with_context(|| format!("making {}", path.display()))?,
    }
    let meta = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    ensure!(
        meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o7777 == 0o700,
        "{} must be a directory of yours that nobody else can enter (mode 0700)",
        path.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests;
