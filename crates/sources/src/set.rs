//! One generation of all objects.

use std::sync::Arc;

use imbl::{OrdMap, Vector};
use mizzen_api::{Finding, Kind, Object, ObjectId};

/// All objects of a generation. An unchanged object is the same `Arc` as in the generation before; a changed one shares the
/// unchanged parts of its content.
#[derive(Debug, Clone, Default)]
pub struct ObjectSet {
    /// Counts up from 1; 0 is the empty set before the first reading.
    pub generation: u64,
    pub objects: OrdMap<ObjectId, Arc<Object>>,
    /// What there is to say about all sources now, by file and line.
    pub findings: Arc<[Finding]>,
    /// Documents and files that are not ours.
    pub not_used: Arc<[Unused]>,
    /// What the last generations changed, oldest first, so that a reader who skipped some can catch up; see
    /// [`ObjectSet::changes_since`].
    pub changes: Vector<Arc<Changed>>,
}

/// What one generation changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    pub generation: u64,
    /// The files that were read anew or are gone, by name.
    pub files: Vec<Arc<str>>,
    /// The objects that came, went, or have other content. A comment changes none.
    pub objects: Vec<ObjectId>,
}

/// A document that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    pub file: Arc<str>,
    /// From 1; 0 if it is about the whole file.
    pub line: u32,
    pub what: String,
}

impl ObjectSet {
    /// An object by its id.
    pub fn get(&self, id: &ObjectId) -> Option<&Arc<Object>> {
        self.objects.get(id)
    }

    /// The objects of a kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.objects
            .range(ObjectId::new(kind, "", "")..)
            .map(|(_, object)| object)
            .take_while(move |object| object.id.kind == kind)
    }

    /// What came after `generation`; `None` if that is so long ago that it was forgotten: then compare the sets.
    pub fn changes_since(&self, generation: u64) -> Option<impl Iterator<Item = &Arc<Changed>>> {
        let oldest = self.changes.front().map_or(self.generation, |changed| changed.generation - 1);
        (generation >= oldest).then(|| self.changes.iter().filter(move |changed| changed.generation > generation))
    }
}
