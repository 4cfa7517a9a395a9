//! Events of directories from the kernel (inotify), and which directories have to be polled instead.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use mizzen_api::{Finding, Severity};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

#[cfg(test)]
mod tests;

/// The kernel's limits, by what they count.
const WATCHES_SYSCTL: &str = "fs.inotify.max_user_watches";
const INSTANCES_SYSCTL: &str = "fs.inotify.max_user_instances";

/// Watches directories one by one; those that cannot be watched are named for polling.
pub(crate) struct Watcher {
    kernel: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    polled: BTreeSet<PathBuf>,
    /// Our own bound on watches; what is beyond it is polled.
    watches_max: usize,
    /// Why something is polled.
    notice: Option<Finding>,
}

impl Watcher {
    /// `events` is called on another thread for each event. If the kernel gives no watcher, all is polled.
    pub(crate) fn new(watches_max: usize, events: impl notify::EventHandler) -> Self {
        let (kernel, notice) = match notify::recommended_watcher(events) {
            Ok(kernel) => (Some(kernel), None),
            Err(error) => (None, Some(notice(&error, INSTANCES_SYSCTL))),
        };
        Self { kernel, watched: BTreeSet::new(), polled: BTreeSet::new(), watches_max, notice }
    }

    /// Watches a directory, not what is below it.
    pub(crate) fn watch(&mut self, directory: &Path) {
        if self.watched.contains(directory) {
            return;
        }
        if self.watched.len() < self.watches_max
            && let Some(kernel) = &mut self.kernel
        {
            match kernel.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.polled.remove(directory);
                    self.watched.insert(directory.to_owned());
                    return;
                }
                // Gone in between: its parent will tell.
                Err(error) if is_gone(&error) => {}
                Err(error) => self.notice = Some(notice(&error, WATCHES_SYSCTL)),
            }
        } else if self.kernel.is_some() {
            self.notice = Some(finding(format!(
                "more than {} directories: the others are looked at every few seconds only",
                self.watches_max
            )));
        }
        self.polled.insert(directory.to_owned());
    }

    /// Watches a directory that is none of ours, if that is possible.
    pub(crate) fn watch_beside(&mut self, directory: &Path) {
        if let Some(kernel) = &mut self.kernel
            && let Err(error) = kernel.watch(directory, RecursiveMode::NonRecursive)
        {
            tracing::debug!(directory = %directory.display(), %error, "not watched");
        }
    }

    pub(crate) fn unwatch(&mut self, directory: &Path) {
        self.polled.remove(directory);
        if self.watched.remove(directory)
            && let Some(kernel) = &mut self.kernel
        {
            // The kernel has dropped the watch already if the directory is gone.
            let _ = kernel.unwatch(directory);
        }
    }

    /// The directories without events.
    pub(crate) fn polled(&self) -> &BTreeSet<PathBuf> {
        &self.polled
    }

    /// What a user should know about how files are watched.
    pub(crate) fn notice(&self) -> Option<&Finding> {
        self.notice.as_ref().filter(|_| !self.polled.is_empty())
    }
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// The kernel refused: which setting it is, and what happens now. `sysctl` is the likely one if it did not say.
fn notice(error: &notify::Error, sysctl: &str) -> Finding {
    let limit = match &error.kind {
        ErrorKind::MaxFilesWatch => Some(WATCHES_SYSCTL),
        ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Some(WATCHES_SYSCTL),
        ErrorKind::Io(io) if io.raw_os_error() == Some(24) => Some(sysctl), // EMFILE
        _ => None,
    };
    let mut finding = finding(match limit {
        Some(name) => format!("the limit `{name}` is reached: files are looked at every few seconds only"),
        None => format!("files cannot be watched ({error}): they are looked at every few seconds only"),
    });
    finding.hint = limit.map(|name| format!("sudo sysctl {name}=524288"));
    finding
}

fn finding(message: String) -> Finding {
    Finding {
        severity: Severity::Warning,
        object: None,
        path: String::new(),
        file: Arc::from("."),
        line: 0,
        message,
        hint: None,
    }
}
