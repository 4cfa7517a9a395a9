//! Which of many prefixes a path begins with, without looking at each: a sorted list with links to parents.
//!
//! All prefixes that a path begins with are parents of one another, and between the longest of them and the path itself
//! there is no entry that does not begin with it. So the last entry that is not greater than the path leads, from parent
//! to parent, through every prefix of the path. Costs one binary search and the depth of the nesting.

use std::cmp::Ordering;

use crate::text;

/// What may follow the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rest {
    Anything,
    /// The prefix ends at the end of a path segment.
    NewSegment,
    /// The prefix is the whole path.
    Nothing,
}

/// A route behind a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub(crate) position: usize,
    rest: Rest,
}

/// Prefixes of one kind of comparison.
#[derive(Debug, Default)]
pub(crate) struct PrefixIndex {
    ignore_case: bool,
    /// Sorted by prefix; each once.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Lower case if case is ignored.
    prefix: Box<[u8]>,
    /// The longest other entry that this one begins with.
    parent: Option<usize>,
    /// Sorted by position.
    candidates: Vec<Candidate>,
}

impl PrefixIndex {
    /// Builds the index over (prefix, what may follow, position).
    pub(crate) fn build(mut routes: Vec<(Box<[u8]>, Rest, usize)>, ignore_case: bool) -> Self {
        if ignore_case {
            for (prefix, ..) in &mut routes {
                prefix.make_ascii_lowercase();
            }
        }
        routes.sort_unstable();
        let mut entries: Vec<Entry> = Vec::new();
        for (prefix, rest, position) in routes {
            let candidate = Candidate { position, rest };
            if let Some(known) = entries.last_mut().filter(|entry| entry.prefix == prefix) {
                known.candidates.push(candidate);
            } else {
                let parent = parent(&entries, &prefix);
                entries.push(Entry { prefix, parent, candidates: vec![candidate] });
            }
        }
        for entry in &mut entries {
            entry.candidates.sort_unstable();
        }
        Self { ignore_case, entries }
    }

    /// The candidates of each prefix of `path`, longest prefix first; each list is sorted by position.
    pub(crate) fn matching<'a>(
        &'a self,
        path: &'a [u8],
    ) -> impl Iterator<Item = impl Iterator<Item = usize> + 'a> + 'a {
        let after = self.entries.partition_point(|entry| self.order(&entry.prefix, path) != Ordering::Greater);
        let start = self.climb(after.checked_sub(1), path);
        std::iter::successors(start, |entry| entry.parent.map(|parent| &self.entries[parent])).map(|entry| {
            let rest = &path[entry.prefix.len()..];
            entry.candidates.iter().filter(|candidate| candidate.fits(rest)).map(|candidate| candidate.position)
        })
    }

    /// The nearest entry from `at` upwards that `path` begins with; all its parents are prefixes of `path` too.
    fn climb(&self, mut at: Option<usize>, path: &[u8]) -> Option<&Entry> {
        while let Some(entry) = at.map(|at| &self.entries[at]) {
            if text::starts_with(path, &entry.prefix, self.ignore_case) {
                return Some(entry);
            }
            at = entry.parent;
        }
        None
    }

    fn order(&self, prefix: &[u8], path: &[u8]) -> Ordering {
        if self.ignore_case {
            prefix.iter().copied().cmp(path.iter().map(u8::to_ascii_lowercase))
        } else {
            prefix.cmp(path)
        }
    }
}

impl Candidate {
    fn fits(self, rest: &[u8]) -> bool {
        match self.rest {
            Rest::Anything => true,
            Rest::NewSegment => rest.first().is_none_or(|next| *next == b'/'),
            Rest::Nothing => rest.is_empty(),
        }
    }
}

fn parent(entries: &[Entry], prefix: &[u8]) -> Option<usize> {
    let mut at = entries.len().checked_sub(1);
    while let Some(entry) = at.map(|at| &entries[at]) {
        if prefix.starts_with(&entry.prefix) {
            break;
        }
        at = entry.parent;
    }
    at
}
