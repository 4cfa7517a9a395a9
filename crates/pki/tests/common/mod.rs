//! An authority in a directory of its own, and certificates from it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mizzen_pki::{Authority, KeyAndCsr, SpiffeId, Svid, store};
use rustls_pki_types::UnixTime;

/// A directory that is gone with its value.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mizzen-pki-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // What is left over is in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// The time of all tests: far enough from the epoch for backdating.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn authority(dir: &Dir) -> Authority {
    store::load_or_create(dir.path(), "td", at(NOW)).expect("an authority")
}

pub(crate) fn id(account: &str) -> SpiffeId {
    SpiffeId::workload("td", "ns", account).expect("a valid id")
}

pub(crate) fn svid(authority: &Authority, account: &str, ttl: u64) -> Svid {
    let request = KeyAndCsr::generate(&id(account)).expect("a request");
    let issued = authority.issue(&request.csr, &id(account), Some(Duration::from_secs(ttl)), at(NOW)).expect("signed");
    Svid::assemble_for(&id(account), request.key, &issued.into_wire(), at(NOW)).expect("usable")
}
