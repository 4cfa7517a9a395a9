//! The accepted resources of one type, and which of them publication has to look at.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{Applied, Rejection, Resource, Update};
use crate::wire::Result;

/// Last good resources by name, compiled to `T`.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    accepted: BTreeMap<Arc<str>, Accepted<T>>,
    /// Names whose accepted form may not be in force yet, with what they were last found to wait for.
    open: BTreeMap<Arc<str>, Option<String>>,
}

#[derive(Debug)]
struct Accepted<T> {
    version: Box<str>,
    body: Bytes,
    value: T,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { accepted: BTreeMap::new(), open: BTreeMap::new() }
    }
}

impl<T> Shelf<T> {
    pub(super) fn apply(&mut self, update: Update, compile: impl Fn(&Arc<str>, &[u8]) -> Result<T>) -> Applied {
        let mut applied = Applied::default();
        for resource in update.added {
            match self.accept(&resource, &compile) {
                Ok(()) => applied.accepted += 1,
                Err(refused) => {
                    applied.rejected.push(Rejection { name: resource.name, message: refused.to_string() });
                }
            }
        }
        for name in update.removed {
            if let Some((name, _)) = self.accepted.remove_entry(name.as_str()) {
                self.touch(&name);
            }
        }
        applied
    }

    /// Equal bytes are not compiled again, whatever the version says: a control plane that was restarted may count from 1
    /// again, or give a new version to what did not change.
    fn accept(&mut self, resource: &Resource, compile: impl Fn(&Arc<str>, &[u8]) -> Result<T>) -> Result<()> {
        if let Some(known) = self.accepted.get_mut(resource.name.as_str()).filter(|known| known.body == resource.body) {
            known.version = resource.version.as_str().into();
            return Ok(());
        }
        let known = self.accepted.get_key_value(resource.name.as_str());
        let name = known.map_or_else(|| resource.name.as_str().into(), |(name, _)| Arc::clone(name));
        let value = compile(&name, &resource.body)?;
        // A copy of its own: a slice would keep the whole response in memory.
        let body = Bytes::copy_from_slice(&resource.body);
        self.touch(&name);
        self.accepted.insert(name, Accepted { version: resource.version.as_str().into(), body, value });
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.accepted.get(name).map(|accepted| &accepted.value)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.accepted.contains_key(name)
    }

    /// Publication is to look at this name.
    pub(super) fn touch(&mut self, name: &Arc<str>) {
        self.open.insert(Arc::clone(name), None);
    }

    /// The names to look at, by name; those that are not brought into force are given back with [`Shelf::wait`].
    pub(super) fn take_open(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.open).into_keys().collect()
    }

    pub(super) fn wait(&mut self, name: Arc<str>, reason: String) {
        self.open.insert(name, Some(reason));
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = (&Arc<str>, &str)> {
        self.open.iter().filter_map(|(name, reason)| Some((name, reason.as_deref()?)))
    }

    pub(super) fn dump(&self) -> impl Iterator<Item = Resource> {
        self.accepted.iter().map(|(name, accepted)| Resource {
            name: name.to_string(),
            version: accepted.version.to_string(),
            body: accepted.body.clone(),
        })
    }
}
