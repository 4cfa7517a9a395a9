//! When to look at what changed (pure): after a quiet moment, but not for ever later.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

#[cfg(test)]
mod tests;

/// So long nothing may have happened (design §6).
const QUIET: Duration = Duration::from_millis(10);
/// After so long the changes are taken as they are, be there still more to come.
const DELAY_MAX: Duration = Duration::from_millis(100);

/// What is waiting to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Debounce {
    /// When the first and the last event came.
    span: Option<(Instant, Instant)>,
    paths: BTreeSet<PathBuf>,
    /// Files that were written to and not closed yet: half a text is not worth a look before [`DELAY_MAX`].
    writing: BTreeSet<PathBuf>,
    all: bool,
}

/// What has changed since the last look.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Something at these paths.
    At(BTreeSet<PathBuf>),
    /// Events were lost: look at everything.
    Everywhere,
}

/// What an event says of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// Written to; the file may still be open.
    Going,
    /// Closed after writing.
    Done,
    /// Made, renamed, removed, or other than content.
    Other,
}

impl Debounce {
    pub(crate) fn event(&mut self, now: Instant, path: &Path, writing: Writing) {
        match writing {
            Writing::Going => self.writing.insert(path.to_owned()),
            Writing::Done | Writing::Other => self.writing.remove(path),
        };
        self.paths.insert(path.to_owned());
        self.extend(now);
    }

    /// Events were lost.
    pub(crate) fn lost(&mut self, now: Instant) {
        self.all = true;
        self.extend(now);
    }

    fn extend(&mut self, now: Instant) {
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
    }

    /// When to look, if there is anything to look at.
    pub(crate) fn due(&self) -> Option<Instant> {
        let (first, last) = self.span?;
        let latest = first + DELAY_MAX;
        Some(if self.writing.is_empty() { latest.min(last + QUIET) } else { latest })
    }

    /// What to look at now; forgets it.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Look> {
        if self.due()? > now {
            return None;
        }
        let Self { paths, all, .. } = std::mem::take(self);
        Some(if all { Look::Everywhere } else { Look::At(paths) })
    }
}
