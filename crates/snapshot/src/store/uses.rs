//! How often names are used.

use std::{collections::HashMap, sync::Arc};

/// Name → number of uses, above zero.
#[derive(Debug, Default)]
pub(super) struct Uses(HashMap<Arc<str>, usize>);

impl Uses {
    pub(super) fn add<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) {
        for name in names {
            *self.0.entry(Arc::clone(name)).or_default() += 1;
        }
    }

    /// Takes back what [`Uses::add`] was told.
    pub(super) fn release<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) {
        for name in names {
            match self.0.get_mut(name) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.0.remove(name);
                }
            }
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
