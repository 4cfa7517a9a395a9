//! Labels and the one question asked of them: does this set satisfy that selector?
//!
//! In: the label maps of objects. Out: a small shared value that compares by content and clones for free.

use std::collections::BTreeMap;
use std::sync::Arc;

/// An immutable set of `key=value` labels; also a selector, which is nothing but labels that must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<BTreeMap<Arc<str>, Arc<str>>>);

impl Labels {
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.0.get(key)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter()
    }

    /// True if every label of `selector` is here with the same value. The empty selector is satisfied by everything;
    /// where an API means "nothing" by an absent selector, the caller holds an `Option`.
    pub fn satisfy(&self, selector: &Labels) -> bool {
        selector.0.iter().all(|(key, value)| self.0.get(key) == Some(value))
    }

    /// The labels whose keys `keep` holds: what a scope may depend on.
    #[must_use]
    pub fn restricted_to(&self, keep: impl Fn(&str) -> bool) -> Labels {
        self.iter().filter(|(key, _)| keep(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Labels(Arc::new(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()))
    }
}
