//! What one scope should hold: named, versioned, encoded resources by kind, and the generation they belong to.
//!
//! In: [`Resource`]s. Out: persistent maps, so that the difference of two generations costs what changed, and a cold
//! client's responses, encoded once for all clients that start from the same set.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::encode::{self, Chunk};
use crate::kind::{KINDS, Kind};

/// Encoded parts of first transfers kept per set; further ones are encoded for each client.
const COLD_CHUNKS_MAX: usize = 1024;

/// Hash of a resource's bytes. On the wire: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

impl Version {
    /// Reads what [`Version`] displays. `None` for another server's version.
    pub fn parse(text: &str) -> Option<Self> {
        let ours = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !ours {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Version)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One resource: its name, the hash of its bytes, and the encoded message (the `value` of its `Any`).
#[derive(Clone, Debug)]
pub struct Resource {
    pub name: Arc<str>,
    pub version: Version,
    pub body: Bytes,
}

/// Version and bytes of a resource in a [`Set`]. Equal versions are equal bytes.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) version: Version,
    pub(crate) body: Bytes,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

/// A part of a first transfer: what it is of, after which name it begins, how large it may be.
type ColdKey = (Arc<str>, Option<Arc<str>>, usize);

/// The resources of one kind. Immutable; a successor shares what did not change.
#[derive(Debug)]
pub struct Set {
    kind: Kind,
    entries: OrdMap<Arc<str>, Entry>,
    /// Parts of first transfers, alive as long as a client is being sent them.
    cold: Mutex<HashMap<ColdKey, Weak<Chunk>>>,
}

impl Set {
    pub fn empty(kind: Kind) -> Self {
        Self::with(kind, OrdMap::new())
    }

    fn with(kind: Kind, entries: OrdMap<Arc<str>, Entry>) -> Self {
        Self { kind, entries, cold: Mutex::new(HashMap::new()) }
    }

    /// A set of exactly these resources (the last of a name wins), sharing with `self` whatever is equal.
    /// Returns `self` when nothing changed.
    pub fn replaced(self: &Arc<Self>, resources: impl IntoIterator<Item = Resource>) -> Arc<Self> {
        let mut entries = self.entries.clone();
        let (mut kept, mut changed) = (0_usize, false);
        let mut names = std::collections::HashSet::new();
        for resource in resources {
            if !names.insert(resource.name.clone()) {
                continue;
            }
            let entry = Entry { version: resource.version, body: resource.body };
            match entries.get(&resource.name) {
                Some(old) => {
                    kept += 1;
                    if *old == entry {
                        continue;
                    }
                }
                None => kept += 1,
            }
            changed = true;
            entries.insert(resource.name, entry);
        }
        if entries.len() > kept {
            changed = true;
            let gone = self.entries.keys().filter(|name| !names.contains(*name));
            gone.for_each(|name| drop(entries.remove(name)));
        }
        if changed { Arc::new(Self::with(self.kind, entries)) } else { self.clone() }
    }

    /// A set with these resources inserted and these names gone. Returns `self` when nothing changed.
    pub fn edited<'a>(
        self: &Arc<Self>,
        changed: impl IntoIterator<Item = Resource>,
        removed: impl IntoIterator<Item = &'a str>,
    ) -> Arc<Self> {
        let mut entries = self.entries.clone();
        let mut differs = false;
        for Resource { name, version, body } in changed {
            let entry = Entry { version, body };
            if entries.get(&name) != Some(&entry) {
                entries.insert(name, entry);
                differs = true;
            }
        }
        for name in removed {
            differs |= entries.remove(name).is_some();
        }
        if differs { Arc::new(Self::with(self.kind, entries)) } else { self.clone() }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn version(&self, name: &str) -> Option<Version> {
        self.entries.get(name).map(|entry| entry.version)
    }

    /// Names, versions and bytes in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = Resource> + '_ {
        self.entries.iter().map(|(name, entry)| Resource {
            name: name.clone(),
            version: entry.version,
            body: entry.body.clone(),
        })
    }

    pub(crate) fn entry(&self, name: &str) -> Option<(&Arc<str>, &Entry)> {
        self.entries.get_key_value(name)
    }

    /// Entries whose names start with `prefix`, in the order of names; those after `after` only.
    pub(crate) fn under<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Entry)> {
        let first = after.map_or(Bound::Included(prefix), Bound::Excluded);
        self.entries.range::<_, str>((first, Bound::Unbounded)).take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// Names that differ between `self` and its successor, with the version in `self`.
    pub(crate) fn difference(&self, next: &Self) -> Vec<(Arc<str>, Option<Version>)> {
        self.entries
            .diff(&next.entries)
            .map(|item| match item {
                DiffItem::Add(name, _) => (name.clone(), None),
                DiffItem::Update { old: (name, entry), .. } | DiffItem::Remove(name, entry) => {
                    (name.clone(), Some(entry.version))
                }
            })
            .collect()
    }

    /// The part of a first transfer of everything under `prefix` that follows after a name, in a message of at most
    /// `bytes_max`. It is shared by the clients that need it at the same time.
    pub(crate) fn chunk(&self, prefix: &Arc<str>, after: Option<&Arc<str>>, bytes_max: usize) -> Arc<Chunk> {
        let key = (prefix.clone(), after.cloned(), bytes_max);
        // A panic while the lock is held leaves at worst a missing cache entry, so poisoning means nothing.
        let mut cache = self.cold.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = cache.get(&key).and_then(Weak::upgrade) {
            return chunk;
        }
        let entries = self.under(prefix, after.map(|name| &**name));
        let chunk = Arc::new(encode::first_chunk(self.kind, bytes_max, entries));
        if cache.len() >= COLD_CHUNKS_MAX {
            cache.retain(|_, chunk| chunk.strong_count() > 0);
        }
        if cache.len() < COLD_CHUNKS_MAX {
            cache.insert(key, Arc::downgrade(&chunk));
        }
        chunk
    }
}

/// Everything one scope should hold, and the number of the world it was compiled from. Numbers only grow.
#[derive(Clone, Debug)]
pub struct Generation {
    pub number: u64,
    sets: [Arc<Set>; KINDS.len()],
}

impl Generation {
    pub fn empty(number: u64) -> Self {
        Self { number, sets: KINDS.map(|kind| Arc::new(Set::empty(kind))) }
    }

    /// The next generation; the sets are those of `self` until they are replaced.
    #[must_use]
    pub fn next(&self, number: u64) -> Self {
        Self { number, sets: self.sets.clone() }
    }

    pub fn set(&self, kind: Kind) -> &Arc<Set> {
        &self.sets[kind.index()]
    }

    /// Puts a set in its kind's place.
    pub fn put(&mut self, set: Arc<Set>) {
        let index = set.kind().index();
        self.sets[index] = set;
    }
}
