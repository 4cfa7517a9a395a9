//! What a client has asked for, of one kind: everything, everything under a prefix, or names.
//!
//! In: names of `resource_names_subscribe`/`_unsubscribe`. Out: whether a name is wanted.
//! `*` is everything; `80/*` is every name that starts with `80/` (the virtual hosts of route configuration 80).

use std::collections::BTreeSet;
use std::sync::Arc;

/// One subscription as it is written on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// All names with this prefix; the empty prefix is `*`.
    Prefix(Arc<str>),
    Name(Arc<str>),
}

impl Pattern {
    /// Reads a subscribed name. Only `*` and a trailing `/*` are patterns; any other `*` is part of a name.
    pub fn parse(text: &str) -> Self {
        if text == "*" {
            return Pattern::Prefix(Arc::from(""));
        }
        match text.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('/') => Pattern::Prefix(Arc::from(prefix)),
            _ => Pattern::Name(Arc::from(text)),
        }
    }

    pub fn covers(&self, name: &str) -> bool {
        match self {
            Pattern::Prefix(prefix) => name.starts_with(&**prefix),
            Pattern::Name(own) => &**own == name,
        }
    }
}

/// The patterns of one client and kind.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    prefixes: BTreeSet<Arc<str>>,
    names: BTreeSet<Arc<str>>,
}

impl Subscription {
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.names.is_empty()
    }

    pub fn len(&self) -> usize {
        self.prefixes.len() + self.names.len()
    }

    pub fn covers(&self, name: &str) -> bool {
        self.names.contains(name) || self.covered_by_prefix(name)
    }

    pub(crate) fn covered_by_prefix(&self, name: &str) -> bool {
        self.prefixes.iter().any(|prefix| name.starts_with(&**prefix))
    }

    /// Whether nothing subscribed so far has a name in common with `prefix`.
    pub(crate) fn is_disjoint(&self, prefix: &str) -> bool {
        let nested = |other: &str| other.starts_with(prefix) || prefix.starts_with(other);
        !self.prefixes.iter().any(|other| nested(other)) && !self.names.iter().any(|name| name.starts_with(prefix))
    }

    pub(crate) fn add(&mut self, pattern: Pattern) -> bool {
        match pattern {
            Pattern::Prefix(prefix) => self.prefixes.insert(prefix),
            Pattern::Name(name) => self.names.insert(name),
        }
    }

    pub(crate) fn remove(&mut self, pattern: &Pattern) -> bool {
        match pattern {
            Pattern::Prefix(prefix) => self.prefixes.remove(prefix),
            Pattern::Name(name) => self.names.remove(name),
        }
    }

    pub(crate) fn prefixes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.prefixes.iter()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }

    /// The names as they are written on the wire, patterns first.
    pub(crate) fn to_wire(&self) -> Vec<String> {
        let prefixes = self.prefixes.iter().map(|prefix| format!("{prefix}*"));
        prefixes.chain(self.names.iter().map(ToString::to_string)).collect()
    }
}
