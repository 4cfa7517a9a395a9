//! DNS names of many tables as one: a table may come or go, and costs what is in it.

use std::{collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use crate::{
    view::Names,
    wire::names::{NameEntry, Standing},
};

/// The tables in force, and what they say together. Where two have the same name, the better standing wins, then the
/// table whose own name sorts first.
#[derive(Debug, Default)]
pub(super) struct NameBook {
    tables: HashMap<Arc<str>, Arc<[NameEntry]>>,
    /// Name → who has an entry for it, the winner first.
    claims: HashMap<Box<str>, SmallVec<[Claim; 1]>>,
    names: Names,
}

/// An entry: how it stands, in which table, and where there.
type Claim = (Standing, Arc<str>, usize);

impl NameBook {
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Puts `new` in the place of what this table said before; `None` removes it.
    pub(super) fn replace(&mut self, table: &Arc<str>, new: Option<&Arc<[NameEntry]>>) {
        let old = match new {
            Some(new) => self.tables.insert(Arc::clone(table), Arc::clone(new)),
            None => self.tables.remove(table),
        };
        for entry in old.iter().flat_map(|old| old.iter()) {
            if let Some(claims) = self.claims.get_mut(&entry.name) {
                claims.retain(|claim| claim.1 != *table);
            }
        }
        for (index, entry) in new.into_iter().flat_map(|new| new.iter().enumerate()) {
            let claim = (entry.standing, Arc::clone(table), index);
            let claims = self.claims.entry(entry.name.clone()).or_default();
            let at = claims.partition_point(|known| *known < claim);
            claims.insert(at, claim);
        }
        for entry in old.iter().chain(new).flat_map(|table| table.iter()) {
            self.settle(&entry.name);
        }
    }

    /// Writes down what the winner says of this name.
    fn settle(&mut self, name: &str) {
        let (map, key) = match name.strip_prefix("*.") {
            Some(suffix) => (&mut self.names.wildcards, suffix),
            None => (&mut self.names.addresses, name),
        };
        let winner = self.claims.get(name).and_then(|claims| claims.first());
        let winner = winner.and_then(|(_, table, index)| self.tables.get(table)?.get(*index));
        if let Some(entry) = winner {
            map.insert(key.into(), entry.addresses.clone());
        } else {
            map.remove(key);
            self.claims.remove(name);
        }
    }
}
